"""What the members of a mesh offer to carry: bridges, what is behind them, exits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from ipaddress import IPv6Network, ip_network

from smegmesh.crdt.entry import ACCEPT_ALL, MAX_PATH, Entry, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import mesh_prefix
from smegmesh.routing.paths import Path, active_bridge, path_cost

Destination = str | IPv6Network  # a mesh by its id, or a prefix outside the overlay
DEFAULT = IPv6Network("::/0")
MESH_LENGTH = 64  # bits of a mesh's prefix


@dataclass(frozen=True, slots=True)
class Accepted:
    """Which advertised prefixes somebody takes: those within `prefixes`, or all; `::/0` apart from them."""

    prefixes: tuple[IPv6Network, ...] = ()
    every: bool = False
    default: bool = False

    def __contains__(self, prefix: object) -> bool:
        if not isinstance(prefix, IPv6Network):
            return True  # a mesh
        if prefix == DEFAULT:
            return self.default
        return self.every or any(prefix.subnet_of(accepted) for accepted in self.prefixes)


@dataclass(frozen=True, slots=True)
class Offers:
    """What may be used in a mesh, of members that are not down.

    `bridges`: the active bridge to each next mesh. `paths`: what each bridge reaches. `exits`: by prefix, each
    with whether it masquerades. `carried`: the clients that this node carries, with what each wants. `refused`:
    why something that a member advertises is not used. All nodes are node keys.
    """

    bridges: Mapping[str, bytes] = field(default_factory=dict)
    paths: Mapping[bytes, Mapping[Destination, Path]] = field(default_factory=dict)
    exits: Mapping[IPv6Network, Mapping[bytes, bool]] = field(default_factory=dict)
    carried: Mapping[bytes, Accepted] = field(default_factory=dict)
    refused: Mapping[bytes, str] = field(default_factory=dict)


def offers_anything(entry: Entry) -> bool:
    """Whether a member matters here."""
    return bool(entry.bridge or entry.advertise or entry.accept)


def make_offers(view: View, keys: Iterable[bytes]) -> Offers:
    """The offers of a mesh; `keys` are the members of whose entries `offers_anything` is true, at least."""
    members = [member for key in keys if (member := view.members.get(key)) is not None]
    usable = [member for member in members if member.liveness is not Liveness.DOWN]
    bridges = [member for member in usable if member.entry.bridge and member.entry.role is Role.PEER]
    overlay = overlay_of({view.mesh_id}, (route.path for member in bridges for route in member.entry.routes))
    exits, refused = _exits(view, usable, overlay)
    paths = {member.node_key: _paths(view.mesh_id, member, overlay, refused) for member in bridges}
    return Offers(
        _active(view.mesh_id, paths),
        paths,
        exits,
        {member.node_key: accepted_of(member.entry.accept) for member in usable if _is_carried(view, member)},
        refused,
    )


def accepted_of(prefixes: Iterable[str]) -> Accepted:
    """What an entry's `accept` says."""
    texts = set(prefixes)
    networks = [network for text in texts - {ACCEPT_ALL} if isinstance(network := ip_network(text), IPv6Network)]
    return Accepted(tuple(n for n in networks if n != DEFAULT), ACCEPT_ALL in texts, DEFAULT in networks)


def carrier(view: View, key: bytes) -> bytes | None:
    """The WireGuard peer by which a member is reached: itself, or the home of a client; None for a stranded client."""
    member = view.members.get(key)
    if member is None or member.entry.role is Role.PEER:
        return None if member is None else key
    home = view.home_of(key)
    if home is None or (peer := view.members.get(home)) is None or peer.entry.role is not Role.PEER:
        return None
    return key if home == view.node_key else home


def overlay_of(meshes: Iterable[str], paths: Iterable[Path]) -> frozenset[IPv6Network]:
    """The prefixes of these meshes, and of all that are heard of on paths."""
    return frozenset(mesh_prefix(mesh) for mesh in {*meshes, *(mesh for path in paths for mesh in path)})


def is_within_mesh(prefix: IPv6Network, overlay: Set[IPv6Network]) -> bool:
    """Whether a prefix is, or lies within, one of the meshes of an overlay (each a /64)."""
    return prefix.prefixlen >= MESH_LENGTH and prefix.supernet(new_prefix=MESH_LENGTH) in overlay


def _paths(
    mesh_id: str, member: Member, overlay: Set[IPv6Network], refused: dict[bytes, str]
) -> dict[Destination, Path]:
    """What a bridge reaches: the shortest of the paths that it names to each destination."""
    found: dict[Destination, Path] = {}
    for route in member.entry.routes:
        destination = _destination(route.path, route.prefix)
        if destination is None or mesh_id in route.path or len(route.path) > MAX_PATH:
            continue
        if isinstance(destination, IPv6Network) and is_within_mesh(destination, overlay):
            refused[member.node_key] = f"{member.entry.name} names a way to {destination}, which lies within a mesh"
            continue
        before = found.get(destination)
        if before is None or path_cost(mesh_id, route.path) < path_cost(mesh_id, before):
            found[destination] = route.path
    return found


def _destination(path: Path, prefix: str | None) -> Destination | None:
    if prefix is None:
        return path[-1]
    network = ip_network(prefix)
    return network if isinstance(network, IPv6Network) else None


def _active(mesh_id: str, paths: Mapping[bytes, Mapping[Destination, Path]]) -> dict[str, bytes]:
    candidates: dict[str, list[bytes]] = {}
    for key, reached in paths.items():
        for destination, path in reached.items():
            if path == (destination,):
                candidates.setdefault(path[0], []).append(key)
    return {other: active_bridge(mesh_id, other, keys) for other, keys in candidates.items()}


def _exits(
    view: View, members: Iterable[Member], overlay: Set[IPv6Network]
) -> tuple[dict[IPv6Network, dict[bytes, bool]], dict[bytes, str]]:
    exits: dict[IPv6Network, dict[bytes, bool]] = {}
    refused: dict[bytes, str] = {}
    for member in members:
        for network in _networks(member.entry.advertise):
            if is_within_mesh(network, overlay):
                refused[member.node_key] = f"{member.entry.name} advertises {network}, which lies within a mesh"
            elif carrier(view, member.node_key) is not None:
                exits.setdefault(network, {})[member.node_key] = member.entry.masquerade
    return exits, refused


def _networks(prefixes: Iterable[str]) -> Iterator[IPv6Network]:
    for text in prefixes:
        network = ip_network(text)
        if isinstance(network, IPv6Network):  # the overlay carries nothing else
            yield network


def _is_carried(view: View, member: Member) -> bool:
    own = view.members.get(view.node_key)
    is_client = member.entry.role is Role.CLIENT and own is not None and own.entry.role is Role.PEER
    return is_client and carrier(view, member.node_key) == member.node_key
