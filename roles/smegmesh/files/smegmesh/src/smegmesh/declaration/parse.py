"""One document -> one value, with what a schema cannot say checked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from smegmesh.crdt.entry import Role
from smegmesh.declaration.choose import default_interface
from smegmesh.declaration.document import Document, parse_document, read_text
from smegmesh.declaration.errors import DeclarationError
from smegmesh.declaration.schema import check_schema
from smegmesh.declaration.values import (
    HEALTH_INTERVAL,
    HEALTH_MISSES,
    LINK_PORT,
    AgentSettings,
    Bootstrap,
    Declaration,
    DnsSettings,
    Health,
    Hook,
    HostPort,
    Prefix,
    StaticPeer,
)
from smegmesh.identity.address import check_mesh_id, mesh_prefix
from smegmesh.identity.errors import split_fix
from smegmesh.identity.grant import check_node_name
from smegmesh.identity.keys import decode_key

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
_MAX_DESCRIPTION = 255
_ALL = "all"  # of accept_routes
_DEFAULT_ROUTE = IPv6Network("::/0")
_NOWHERE = {  # what no exit leads to (RFC 4291, 2.4)
    "unspecified": IPv6Network("::/128"),
    "loopback": IPv6Network("::1/128"),
    "link-local": IPv6Network("fe80::/10"),
    "multicast": IPv6Network("ff00::/8"),
}
_PLAIN = (
    "authority",
    "endpoint_discovery",
    "port",
    "alias",
    "description",
    "keepalive",
    "bridge",
    "masquerade",
    "accept_default",
    "mtu",
)


def load_agent(path: Path) -> AgentSettings:
    """Read agent.yml; DeclarationError for anything wrong."""
    document = parse_document(str(path), read_text(path))
    data = check_schema(document, "agent")
    grouped = ("api", "metrics", "firewall", "join")
    plain = {key: value for key, value in data.items() if key not in (*grouped, "dns")}
    within = {f"{group}_{key}": value for group in grouped for key, value in data.get(group, {}).items()}
    within["firewall_chains"] = tuple(within.get("firewall_chains", ()))
    names = DnsSettings(**data["dns"]) if "dns" in data else None
    settings = AgentSettings(**plain, **within, dns=names)
    try:
        check_node_name(settings.node_name)
    except ValueError as error:
        raise _from_identity(document, "node_name", error) from None
    try:
        ip_address(settings.listen)
    except ValueError:
        what = f"`{settings.listen}` is not an IP address"
        raise DeclarationError(
            document.file, "listen", what, "write an address of this host, or `::` for all"
        ) from None
    return settings


def parse_declaration(document: Document) -> Declaration:
    """Check one declaration by itself; DeclarationError for its first fault."""
    data = check_schema(document, "declaration")
    try:
        mesh = check_mesh_id(data["mesh"])
    except ValueError as error:
        raise _from_identity(document, "mesh", error) from None
    role = Role(data["role"])
    _check_role(document, role, data)
    check_description(document, data)
    endpoint = _host_port(document, "endpoint", data["endpoint"]) if "endpoint" in data else None
    accepted = data.get("accept_routes", [])
    advertised = parse_advertised(document, mesh, data.get("advertise", []))
    static_peers = _static_peers(document, mesh, data.get("static_peers", {}), advertised)
    accept_all = accepted == _ALL
    return Declaration(
        file=document.file,
        owner=data["owner"],
        mesh=mesh,
        role=role,
        interface=data.get("interface") or default_interface(mesh),
        endpoint=endpoint,
        bootstrap=_bootstrap(document, data.get("bootstrap", [])),
        advertise=(*advertised, *(prefix for peer in static_peers for prefix in peer.allowed_ips)),
        health=_health(document, mesh, data),
        accept_routes=() if accept_all else _accepted(document, accepted),
        accept_all=accept_all,
        static_peers=static_peers,
        pre_up=_hook(document, "pre_up", data),
        post_up=_hook(document, "post_up", data),
        pre_down=_hook(document, "pre_down", data),
        post_down=_hook(document, "post_down", data),
        **{key: data[key] for key in _PLAIN if key in data},
    )


def check_description(document: Document, data: Mapping[str, Any]) -> None:
    """What a schema cannot say of a document's key `description`; DeclarationError if it is too long."""
    if len(data.get("description", "").encode()) > _MAX_DESCRIPTION:
        what = f"is longer than {_MAX_DESCRIPTION} bytes in UTF-8"
        raise DeclarationError(document.file, "description", what, "shorten it")


def _from_identity(document: Document, where: str, error: ValueError) -> DeclarationError:
    return DeclarationError(document.file, where, *split_fix(error))


def _check_role(document: Document, role: Role, data: Mapping[str, Any]) -> None:
    discovery = data.get("endpoint_discovery", "static")
    if role is Role.PEER and discovery == "static" and "endpoint" not in data:
        what = "a peer needs an endpoint, the address at which other hosts reach it"
        fix = "add for example `endpoint: 203.0.113.7`, or `endpoint_discovery: observed`, or make it `role: client`"
        raise DeclarationError(document.file, "endpoint", what, fix)
    if role is Role.CLIENT and "endpoint" in data:
        what = "a client has no endpoint: others reach it through its home peer"
        raise DeclarationError(document.file, "endpoint", what, "take it out, or make it `role: peer`")
    if role is Role.CLIENT and not data.get("bootstrap"):
        what = f"mesh {data['mesh']} has no peer that this client could use as its home"
        fix = "name at least one peer, for example `bootstrap: [{name: a1, address: 198.51.100.1:4000}]`"
        raise DeclarationError(document.file, "bootstrap", what, fix)
    if role is Role.CLIENT and data.get("bridge"):
        what = "a client cannot be a bridge: bridges forward for others"
        raise DeclarationError(document.file, "bridge", what, "make it `role: peer` or `bridge: false`")
    if role is Role.CLIENT and data.get("static_peers"):
        what = "a client carries no static peers: all it sends goes through its home"
        raise DeclarationError(document.file, "static_peers", what, "declare them on a peer")


def _hook(document: Document, hook: Hook, data: Mapping[str, Any]) -> tuple[str, ...]:
    files = data.get(hook, [])
    for index, file in enumerate(files):
        if not file.startswith("/") or file.endswith("/"):
            fix = f"write where the file is, from the root on, for example /etc/smegmesh/hooks/{hook.replace('_', '-')}"
            raise DeclarationError(
                document.file, f"{hook}[{index}]", f"`{file}` is not an absolute path of a file", fix
            )
    return tuple(files)


def _bootstrap(document: Document, items: Iterable[Mapping[str, str]]) -> tuple[Bootstrap, ...]:
    return tuple(
        Bootstrap(item["name"], _host_port(document, f"bootstrap[{index}].address", item["address"]).text(LINK_PORT))
        for index, item in enumerate(items)
    )


def _static_peers(
    document: Document, mesh: str, items: Mapping[str, Mapping[str, Any]], advertised: Iterable[Prefix]
) -> tuple[StaticPeer, ...]:
    peers: list[StaticPeer] = []
    owners = dict.fromkeys(advertised, "`advertise`")
    for name, item in sorted(items.items()):
        where = f"static_peers.{name}"
        try:
            key = decode_key(item["public_key"])
        except ValueError as error:
            raise _from_identity(document, f"{where}.public_key", error) from None
        twin = next((peer.name for peer in peers if peer.public_key == key), None)
        if twin is not None:
            what = f"is the key of static peer {twin} too, and an address has one owner"
            raise DeclarationError(document.file, f"{where}.public_key", what, "give each its own key")
        endpoint = _host_port(document, f"{where}.endpoint", item["endpoint"]) if "endpoint" in item else None
        behind = _behind(document, mesh, f"{where}.allowed_ips", item.get("allowed_ips", []), owners)
        owners |= dict.fromkeys(behind, f"static peer {name}")
        has_key = item.get("preshared_key", False)
        peers.append(StaticPeer(name, key, endpoint, item.get("keepalive", 0), has_key, behind))
    return tuple(peers)


def _behind(
    document: Document, mesh: str, where: str, items: Iterable[str], owners: Mapping[Prefix, str]
) -> tuple[Prefix, ...]:
    """The prefixes behind a static peer; `owners` says whose those before are, none of which they may overlap."""
    prefixes = parse_advertised(document, mesh, items, where)
    for index, prefix in enumerate(prefixes):
        if prefix == _DEFAULT_ROUTE:
            what = "`::/0` would lead all that this host sends to a static peer"
            raise DeclarationError(document.file, f"{where}[{index}]", what, "name the networks behind it")
        taken = next((other for other in owners if other != _DEFAULT_ROUTE and other.overlaps(prefix)), None)
        if taken is not None:
            what = f"`{prefix}` overlaps {taken} of {owners[taken]}, and an address has one owner"
            raise DeclarationError(document.file, f"{where}[{index}]", what, "let one of them have it")
    return prefixes


def _host_port(document: Document, where: str, text: str) -> HostPort:
    parsed = parse_host_port(text)
    if parsed is not None:
        return parsed
    fix = "write an IP address or DNS name, with or without a port: 203.0.113.7, 203.0.113.7:51820, [2001:db8::7]:51820"
    raise DeclarationError(document.file, where, f"`{text}` is not host or host:port", fix)


def parse_host_port(text: str) -> HostPort | None:
    """`host`, `host:port`, `v6`, `[v6]` or `[v6]:port`; None for anything else, a host nobody can dial included."""
    bracket = re.fullmatch(r"\[([^\[\]]*)\](?::([0-9]{1,5}))?", text, re.ASCII)
    if bracket:
        host, port = bracket.groups()
        usable = ":" in host and _is_address(host)
    elif text.count(":") > 1:
        host, port = text, None
        usable = _is_address(host)
    else:
        host, colon, digits = text.partition(":")
        port = digits if colon else None
        usable = (_is_address(host) if _looks_numeric(host) else bool(_HOST_NAME.fullmatch(host))) and (
            not colon or bool(re.fullmatch(r"[0-9]{1,5}", digits, re.ASCII))
        )
    if not usable or (port is not None and not 0 < int(port) < 65536):
        return None
    return HostPort(host, int(port) if port is not None else None)


def _looks_numeric(host: str) -> bool:
    return bool(re.fullmatch(r"[0-9.]+", host))


def _is_address(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    scoped = isinstance(address, IPv6Address) and address.scope_id is not None
    return not (address.is_unspecified or address.is_multicast or scoped)


def parse_advertised(
    document: Document, mesh: str, items: Iterable[str], where: str = "advertise"
) -> tuple[Prefix, ...]:
    """The prefixes of a document's key `advertise`; DeclarationError for one that no exit of the mesh leads to."""
    prefixes = _prefixes(document, where, items)
    for index, prefix in enumerate(prefixes):
        inside = _not_outside(mesh, prefix)
        if inside is not None:
            fix = "name a network that this host forwards to, for example 2001:db8:10::/48"
            raise DeclarationError(document.file, f"{where}[{index}]", f"`{prefix}` is {inside}", fix)
    return prefixes


def _accepted(document: Document, items: Iterable[str]) -> tuple[Prefix, ...]:
    prefixes = _prefixes(document, "accept_routes", items)
    if _DEFAULT_ROUTE in prefixes:
        where = f"accept_routes[{prefixes.index(_DEFAULT_ROUTE)}]"
        what = f"`{_DEFAULT_ROUTE}` is the default route, which is accepted by a key of its own"
        raise DeclarationError(document.file, where, what, "take it out and say `accept_default: true`")
    return prefixes


def _not_outside(mesh: str, prefix: IPv6Network) -> str | None:
    """What a prefix is that lies in no network outside the overlay; None if it may lie in one."""
    if prefix.subnet_of(mesh_prefix(mesh)):
        return f"in the prefix of mesh {mesh} itself ({mesh_prefix(mesh)})"
    return next((f"{name}: no network outside" for name, range_ in _NOWHERE.items() if prefix.subnet_of(range_)), None)


def _health(document: Document, mesh: str, data: Mapping[str, Any]) -> Health | None:
    if "health" not in data:
        return None
    if not data.get("advertise"):
        what = "this node advertises nothing that could be withdrawn"
        raise DeclarationError(document.file, "health", what, "add `advertise`, or take `health` out")
    given = data["health"]
    target = _target(document, mesh, given["target"])
    interval = float(given.get("interval", HEALTH_INTERVAL))
    if math.isnan(interval):  # which is neither below nor above any limit
        what = "`.nan` is no number of seconds"
        raise DeclarationError(document.file, "health.interval", what, "write a number from 0.2 to 60")
    return Health(target, interval, int(given.get("misses", HEALTH_MISSES)))


def _target(document: Document, mesh: str, text: str) -> IPv6Address:
    where, fix = "health.target", "write an address that answers pings behind this exit, for example 2001:db8:10::1"
    try:
        target = IPv6Address(text)
    except ValueError:
        raise DeclarationError(document.file, where, f"`{text}` is not an IPv6 address", fix) from None
    if target.scope_id is not None:
        raise DeclarationError(document.file, where, f"`{text}` names an interface", fix)
    inside = _not_outside(mesh, IPv6Network(target))
    if inside is not None:
        raise DeclarationError(document.file, where, f"`{text}` is {inside}", fix)
    return target


def _prefixes(document: Document, where: str, items: Iterable[str]) -> tuple[Prefix, ...]:
    prefixes: list[Prefix] = []
    for index, text in enumerate(items):
        prefix = _prefix(document, f"{where}[{index}]", text)
        if prefix in prefixes:
            raise DeclarationError(document.file, f"{where}[{index}]", f"`{text}` is there twice", "keep one of them")
        prefixes.append(prefix)
    return tuple(prefixes)


def _prefix(document: Document, where: str, text: str) -> Prefix:
    fix = "write an address and a length, for example 2001:db8:10::/48"
    if "%" in text:
        raise DeclarationError(document.file, where, f"`{text}` names an interface", fix)
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise DeclarationError(document.file, where, f"`{text}` is not a prefix", fix) from None
    if isinstance(meant, IPv4Network):
        what = f"`{text}` is an IPv4 prefix, and the overlay is IPv6 only"
        raise DeclarationError(document.file, where, what, "take it out; IPv4 networks are reached outside the mesh")
    try:
        return IPv6Network(text)
    except ValueError:
        what = f"`{text}` has bits set after its length"
        raise DeclarationError(document.file, where, what, f"did you mean `{meant}`?") from None
