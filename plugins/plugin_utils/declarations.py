# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the inventory to the declarations of one host: a pure function.

A host is in a mesh if it is in one of the mesh's groups. What it is there is merged
from the mesh's C(settings), its matching C(groups) in their order, and the host's own
C(smegmesh_overrides). A later scalar wins (and is reported), lists unite.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t
from collections.abc import Callable, Mapping, Sequence

BOOTSTRAP_PEERS = 3
DEFAULT_LINK_PORT = 4000
ROLES = ("peer", "client")
# Groups that the inventory plugin makes of a live mesh: whom a mesh has cannot be what says whom it should have.
LIVE_GROUPS = "smegmesh_live_"

# What a declaration may say, and the type of it; the agent's schema has the last word on values.
SETTINGS: dict[str, type] = {
    "role": str,
    "authority": str,
    "endpoint": str,
    "endpoint_discovery": str,
    "port": int,
    "interface": str,
    "bootstrap": list,
    "alias": str,
    "description": str,
    "keepalive": int,
    "bridge": bool,
    "advertise": list,
    "masquerade": bool,
    "health": dict,
    "accept_routes": list,
    "accept_default": bool,
    "static_peers": dict,
    "mtu": int,
    "pre_up": list,
    "post_up": list,
    "pre_down": list,
    "post_down": list,
}
_TYPE_NAMES = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a mapping"}
# The one word that may stand for a list; it holds whatever it is united with.
_WORDS = {"accept_routes": "all"}

HostVars = Callable[[str], Mapping[str, t.Any]]


class DeclarationProblems(ValueError):
    """Everything that is wrong with the inventory, found at once; each item says where and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What the merge may look at: nothing but inventory variables and groups.

    C(meshes) is C(smegmesh_meshes); C(groups) is group -> hosts, both in inventory order;
    C(host_vars) gives a host's inventory variables and is asked only for hosts that matter. C(check_mesh_id) and
    C(node_address) (of a mesh id and a public key in base64) are the agent's own; they raise ValueError.
    """

    meshes: Mapping[str, t.Any]
    groups: Mapping[str, Sequence[str]]
    host_vars: HostVars
    check_mesh_id: Callable[[str], str]
    node_address: Callable[[str, t.Any], str]


@dataclasses.dataclass(frozen=True)
class HostPlan:
    """What one host is to be: its declarations, the grants for its certificates, and replaced settings."""

    declarations: list[dict[str, t.Any]]
    certificates: list[dict[str, t.Any]]
    replaced: list[str]


def plan_host(inventory: Inventory, host: str) -> HostPlan:
    """The declarations and certificate grants of C(host), meshes in the order of the inventory.

    Raises DeclarationProblems with all problems that concern this host or the meshes themselves.
    """
    problems = _check_meshes(inventory)
    if problems:
        raise DeclarationProblems(problems)
    replaced: list[str] = []
    declarations = []
    overrides = _overrides(inventory, host, problems)
    for mesh_id in inventory.meshes:
        if host in _members(inventory, mesh_id):
            merged = _merge(inventory, mesh_id, host, overrides.get(mesh_id) or {}, replaced, problems)
            declarations.append(_declaration(inventory, mesh_id, host, merged, problems))
        elif mesh_id in overrides:
            problems.append(
                f"smegmesh_overrides of host {host}: it is not in mesh {mesh_id}: "
                f"add it to one of {_list(_groups_of(inventory, mesh_id))} or remove the override"
            )
    if declarations:
        _link_port(inventory.host_vars(host), host)
        _check_listen(inventory.host_vars(host), host)
    problems.extend(_port_clashes(host, declarations))
    static = _static_addresses(inventory, host, declarations, problems)
    if problems:
        raise DeclarationProblems(problems)
    return HostPlan(declarations, _certificates(declarations, static), replaced)


def declared(groups: Mapping[str, Sequence[str]], meshes_of: Callable[[str], t.Any]) -> dict[str, list[str]]:
    """Mesh id -> the hosts that are to be in it, in inventory order; what is malformed is left to plan_host.

    C(groups) is group -> hosts; C(meshes_of) gives a host's own C(smegmesh_meshes).
    """
    members = {group: frozenset(hosts) for group, hosts in groups.items()}
    found: dict[str, list[str]] = {}
    for host in groups.get("all", ()):
        for mesh_id, mesh in _mapping(meshes_of(host)).items():
            if any(host in members.get(group, ()) for group in _mapping(_mapping(mesh).get("groups"))):
                found.setdefault(mesh_id, []).append(host)
    return found


def authorities(meshes: Mapping[str, t.Any]) -> list[str]:
    """The names of all authorities that the meshes use, sorted; what is malformed is left to plan_host."""
    names = set()
    for mesh in meshes.values():
        mesh = mesh if isinstance(mesh, Mapping) else {}
        layers = [mesh.get("settings"), *_mapping(mesh.get("groups")).values()]
        said = [_mapping(layer).get("authority") for layer in layers]
        names.update(str(name) for name in said if name)
        if not _mapping(mesh.get("settings")).get("authority"):
            names.add("default")
    return sorted(names)


# --- the meshes as a whole ------------------------------------------------------------------------


def _check_meshes(inventory: Inventory) -> list[str]:
    """Problems of smegmesh_meshes itself, which concern every host alike."""
    if not isinstance(inventory.meshes, Mapping):
        return ["smegmesh_meshes: must map each mesh id to its groups and settings"]
    problems: list[str] = []
    for mesh_id, mesh in inventory.meshes.items():
        where = f"smegmesh_meshes.{mesh_id}"
        try:
            inventory.check_mesh_id(mesh_id)
        except ValueError as error:
            problems.append(f"smegmesh_meshes: {error}")
        if not isinstance(mesh, Mapping):
            problems.append(f"{where}: must hold 'groups' and, if wanted, 'settings'")
            continue
        problems.extend(
            f"{where}: unknown key {key!r}: use 'groups' or 'settings'"
            for key in mesh
            if key not in ("groups", "settings")
        )
        problems.extend(_check_layer(f"{where}.settings", mesh.get("settings")))
        if _mapping(mesh.get("settings")).get("static_peers"):
            problems.append(_of_several(f"{where}.settings"))
        problems.extend(_check_groups(inventory, f"{where}.groups", mesh.get("groups")))
    return problems


def _check_groups(inventory: Inventory, where: str, groups: t.Any) -> list[str]:
    if not isinstance(groups, Mapping) or not groups:
        return [f"{where}: must map at least one inventory group to its settings, such as {{web: {{role: peer}}}}"]
    problems = []
    for group, layer in groups.items():
        if str(group).startswith(LIVE_GROUPS):
            problems.append(
                f"{where}: group {group!r} holds who is in a live mesh, not who should be: "
                "use a group of the inventory itself"
            )
        elif group not in inventory.groups:
            problems.append(f"{where}: the inventory has no group {group!r}: correct the name or create the group")
        elif len(inventory.groups[group]) > 1 and _mapping(layer).get("static_peers"):
            problems.append(_of_several(f"{where}.{group}"))
        problems.extend(_check_layer(f"{where}.{group}", layer))
    return problems


def _of_several(where: str) -> str:
    return (
        f"{where}.static_peers: several hosts would declare the same static peers, and each has one: "
        "move them to smegmesh_overrides of the host that carries them"
    )


def _check_layer(where: str, layer: t.Any) -> list[str]:
    """Problems of one layer of settings; values are checked for type, the rest is the agent's."""
    if layer is None:
        return []
    if not isinstance(layer, Mapping):
        return [f"{where}: must be a mapping of settings such as {{role: peer}}"]
    problems = []
    for key, value in layer.items():
        if key not in SETTINGS:
            problems.append(f"{where}: unknown key {key!r}: use one of {_list(SETTINGS)}")
        elif not _is_type(value, SETTINGS[key]) and not _is_word(key, value):
            word = f" or the word {_WORDS[key]!r}" if key in _WORDS else ""
            problems.append(f"{where}.{key}: must be {_TYPE_NAMES[SETTINGS[key]]}{word}, not {value!r}")
    if layer.get("role", "peer") not in ROLES and isinstance(layer.get("role"), str):
        problems.append(f"{where}.role: must be 'peer' or 'client', not {layer['role']!r}")
    problems.extend(_check_prefixes(f"{where}.advertise", layer.get("advertise")))
    for name, peer in _mapping(layer.get("static_peers")).items():
        problems.extend(_check_prefixes(f"{where}.static_peers.{name}.allowed_ips", _mapping(peer).get("allowed_ips")))
    return problems


def _check_prefixes(where: str, prefixes: t.Any) -> list[str]:
    """They go into certificates; whether text is a prefix, and a list a list, is not said here."""
    items = prefixes if _is_type(prefixes, list) else []
    return [
        f"{where}[{index}]: must be an IPv6 prefix such as 2001:db8:10::/48, not {item!r}"
        for index, item in enumerate(items)
        if not isinstance(item, str)
    ]


def _is_type(value: t.Any, wanted: type) -> bool:
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted is list:
        return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if wanted is dict:
        return isinstance(value, Mapping)
    return isinstance(value, wanted)


def _is_word(key: str, value: t.Any) -> bool:
    return isinstance(value, str) and value == _WORDS.get(key)


# --- one host in one mesh -------------------------------------------------------------------------


def _overrides(inventory: Inventory, host: str, problems: list[str]) -> Mapping[str, t.Any]:
    """The host's own settings by mesh, as far as they are sound."""
    where = f"smegmesh_overrides of host {host}"
    overrides = inventory.host_vars(host).get("smegmesh_overrides") or {}
    if not isinstance(overrides, Mapping):
        problems.append(f"{where}: must map mesh ids to settings")
        return {}
    sound = {}
    for mesh_id, layer in overrides.items():
        if mesh_id not in inventory.meshes:
            problems.append(
                f"{where}: there is no mesh {mesh_id!r} in smegmesh_meshes: use one of {_list(inventory.meshes)}"
            )
            continue
        found = _check_layer(f"{where}: {mesh_id}", layer)
        problems.extend(found)
        sound[mesh_id] = {} if found else layer
    return sound


def _merge(
    inventory: Inventory,
    mesh_id: str,
    host: str,
    override: Mapping[str, t.Any],
    replaced: list[str],
    problems: list[str],
) -> dict[str, t.Any]:
    """All layers of C(host) in the mesh, laid over one another."""
    mesh = inventory.meshes[mesh_id]
    layers = [("settings", mesh.get("settings"))]
    layers += [(f"group {group}", layer) for group, layer in mesh["groups"].items() if host in inventory.groups[group]]
    layers.append(("smegmesh_overrides", override))
    merged: dict[str, t.Any] = {}
    source: dict[str, str] = {}
    for name, layer in layers:
        for key, value in (layer or {}).items():
            if _is_word(key, value) or _is_word(key, merged.get(key)):
                merged[key] = _WORDS[key]
                continue
            if isinstance(value, (list, tuple)):
                merged[key] = merged.get(key, []) + [item for item in value if item not in merged.get(key, [])]
                continue
            if key in merged and merged[key] != value:
                replaced.append(
                    f"host {host}, mesh {mesh_id}: "
                    f"{key} {merged[key]!r} of {source[key]} gives way to {value!r} of {name}"
                )
            merged[key] = value
            source[key] = name
    if "role" not in merged:
        problems.append(
            f"host {host}, mesh {mesh_id}: no role is said: write role: peer or role: client "
            f"in smegmesh_meshes.{mesh_id}.settings or in one of its groups"
        )
    return merged


def _declaration(
    inventory: Inventory, mesh_id: str, host: str, merged: dict[str, t.Any], problems: list[str]
) -> dict[str, t.Any]:
    """The declaration of C(host) in the mesh, with what the inventory implies filled in."""
    declaration = {"mesh": mesh_id, "authority": "default", **merged}
    role = merged.get("role")
    if role == "peer":
        endpoint = _declared_endpoint(inventory.host_vars(host), host, merged)
        if endpoint is not None:
            declaration["endpoint"] = endpoint
    elif "endpoint" in merged:
        problems.append(f"host {host}, mesh {mesh_id}: a client has no endpoint: remove it, or make the host a peer")
    if "bootstrap" in merged:
        declaration["bootstrap"] = [
            _bootstrap_item(inventory, mesh_id, host, item, problems) for item in merged["bootstrap"]
        ]
    else:
        declaration["bootstrap"] = default_bootstrap(inventory, mesh_id)
    if role == "client" and not declaration["bootstrap"]:
        problems.append(
            f"host {host}, mesh {mesh_id}: a client needs a peer and the mesh has none: "
            f"put a host with role: peer into one of {_list(_groups_of(inventory, mesh_id))}, or set bootstrap"
        )
    return declaration


def _port_clashes(host: str, declarations: Sequence[Mapping[str, t.Any]]) -> list[str]:
    problems = []
    for key, what in (("port", "port"), ("interface", "interface")):
        taken: dict[t.Any, str] = {}
        for declaration in declarations:
            value = declaration.get(key)
            if value is not None and value in taken:
                problems.append(
                    f"host {host}: meshes {taken[value]} and {declaration['mesh']} both use {what} {value}: "
                    f"give each its own, or leave {key} out and the agent chooses"
                )
            taken.setdefault(value, declaration["mesh"])
    return problems


def _static_addresses(
    inventory: Inventory, host: str, declarations: Sequence[Mapping[str, t.Any]], problems: list[str]
) -> dict[str, list[str]]:
    """What the host carries for static peers, by mesh id: their addresses, as prefixes, and what is behind them."""
    addresses: dict[str, list[str]] = {}
    for declaration in declarations:
        mesh_id = declaration["mesh"]
        for name, peer in _mapping(declaration.get("static_peers")).items():
            try:
                address = inventory.node_address(mesh_id, _mapping(peer).get("public_key"))
            except ValueError as error:
                problems.append(f"host {host}, mesh {mesh_id}: public_key of static peer {name!r}: {error}")
            else:
                behind = _mapping(peer).get("allowed_ips")
                behind = behind if _is_type(behind, list) else []  # the agent's schema has its word on the rest
                addresses.setdefault(mesh_id, []).extend([f"{address}/128", *behind])
    return addresses


def _certificates(
    declarations: Sequence[Mapping[str, t.Any]], static: Mapping[str, Sequence[str]]
) -> list[dict[str, t.Any]]:
    """One certificate for each authority: what the host may join, bridge, advertise, and carry."""
    bridged = sorted(declaration["mesh"] for declaration in declarations if declaration.get("bridge"))
    by_authority: dict[str, list[Mapping[str, t.Any]]] = {}
    for declaration in declarations:
        by_authority.setdefault(declaration["authority"], []).append(declaration)
    return [
        {
            "authority": authority,
            "meshes": sorted(declaration["mesh"] for declaration in own),
            "bridges": bridged if any(declaration.get("bridge") for declaration in own) else [],
            "prefixes": sorted(
                {
                    prefix
                    for declaration in own
                    for prefix in [*declaration.get("advertise", []), *static.get(declaration["mesh"], [])]
                }
            ),
        }
        for authority, own in sorted(by_authority.items())
    ]


# --- whom to dial first ---------------------------------------------------------------------------


def default_bootstrap(inventory: Inventory, mesh_id: str) -> list[dict[str, str]]:
    """The first three peers of the mesh in inventory order, from inventory variables alone.

    A host that is added later in the inventory changes nobody's list.
    """
    found: list[dict[str, str]] = []
    for member in _members(inventory, mesh_id):
        overrides = _mapping(_mapping(inventory.host_vars(member).get("smegmesh_overrides")).get(mesh_id))
        merged = _merge(inventory, mesh_id, member, overrides, [], [])
        if merged.get("role") == "peer":
            found.append({"name": member, "address": _link_address(inventory, member, merged.get("endpoint"))})
        if len(found) == BOOTSTRAP_PEERS:
            break
    return found


def _bootstrap_item(
    inventory: Inventory, mesh_id: str, host: str, item: t.Any, problems: list[str]
) -> dict[str, t.Any]:
    """A written bootstrap entry: a mapping as the agent knows it, the name of a host, or an address."""
    if isinstance(item, Mapping) and set(item) == {"name", "address"}:
        return dict(item)
    if not isinstance(item, str) or not item:
        problems.append(
            f"host {host}, mesh {mesh_id}: bootstrap entry {item!r}: "
            "write the name of a host, an address, or {name: NAME, address: ADDRESS:PORT}"
        )
        return {}
    if item in inventory.groups.get("all", ()):
        overrides = _mapping(_mapping(inventory.host_vars(item).get("smegmesh_overrides")).get(mesh_id))
        return {"name": item, "address": _link_address(inventory, item, overrides.get("endpoint"))}
    address, port = split_endpoint(item)
    return {"name": item, "address": join_endpoint(address, port or DEFAULT_LINK_PORT)}


def _declared_endpoint(variables: Mapping[str, t.Any], host: str, merged: Mapping[str, t.Any]) -> str | None:
    """What a peer's declaration says of its endpoint: where the agents find it, nothing that was not meant as one."""
    if "endpoint" in merged:
        return merged["endpoint"]
    if merged.get("endpoint_discovery", "static") == "static":
        return _own_endpoint(variables, host)
    return str(variables["smegmesh_endpoint"]) if variables.get("smegmesh_endpoint") else None


def _own_endpoint(variables: Mapping[str, t.Any], host: str) -> str:
    return str(variables.get("smegmesh_endpoint") or variables.get("ansible_host") or host)


def _link_address(inventory: Inventory, host: str, endpoint: str | None) -> str:
    variables = inventory.host_vars(host)
    address = split_endpoint(endpoint or _own_endpoint(variables, host))[0]
    return join_endpoint(address, _link_port(variables, host))


def _link_port(variables: Mapping[str, t.Any], host: str) -> int:
    """The TCP port of the host's links; a template may have made text of the number."""
    port = str(variables.get("smegmesh_link_port") or DEFAULT_LINK_PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise DeclarationProblems([f"smegmesh_link_port of host {host}: must be a port from 1 to 65535, not {port!r}"])
    return int(port)


def _check_listen(variables: Mapping[str, t.Any], host: str) -> None:
    """An agent that is restarted with an address it cannot listen on would not come back."""
    listen = str(variables.get("smegmesh_listen") or "::")
    try:
        ipaddress.ip_address(listen)
    except ValueError:
        raise DeclarationProblems([f"smegmesh_listen of host {host}: must be an IP address, not {listen!r}"]) from None


def split_endpoint(endpoint: str) -> tuple[str, int | None]:
    """Host and port of C(host), C(host:port), C([v6]:port) or a bare IPv6 address."""
    if endpoint.startswith("["):
        host, bracket, rest = endpoint[1:].partition("]")
        port = rest[1:] if bracket and rest.startswith(":") else ""
    elif endpoint.count(":") == 1:
        host, _colon, port = endpoint.partition(":")
    else:
        host, port = endpoint, ""
    return host, int(port) if port.isdigit() else None


def join_endpoint(host: str, port: int) -> str:
    """C(host:port), an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# --- small things ---------------------------------------------------------------------------------


def _members(inventory: Inventory, mesh_id: str) -> list[str]:
    """The hosts of the mesh in inventory order."""
    mentioned = {host for group in _groups_of(inventory, mesh_id) for host in inventory.groups[group]}
    return [host for host in inventory.groups["all"] if host in mentioned]


def _groups_of(inventory: Inventory, mesh_id: str) -> list[str]:
    return list(inventory.meshes[mesh_id]["groups"])


def _mapping(value: t.Any) -> Mapping[str, t.Any]:
    return value if isinstance(value, Mapping) else {}


def _list(names: t.Iterable[str]) -> str:
    return ", ".join(str(name) for name in names) or "none"
