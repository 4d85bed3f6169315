"""Which way a node takes to everything outside a mesh: its own shortest path first, path vectors of others.

Path-vector routing (RFC 1322, RFC 4271) between meshes: a bridge tells in each of its meshes what it reaches
through the others, with the meshes on the way. A path that holds the mesh itself is dropped, so a route that is
gone is not counted to infinity.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from ipaddress import IPv6Network

from smegmesh.crdt.entry import MAX_PATH, BridgedRoute
from smegmesh.crdt.entry_codec import MAX_ROUTES
from smegmesh.identity.grant import ANY_MESH
from smegmesh.routing.offers import Accepted, Destination, Offers, is_within_mesh, overlay_of
from smegmesh.routing.paths import NOTHING, Cost, Path, path_cost, preferred_exit, step


@dataclass(frozen=True, slots=True)
class Choice:
    """The way out of a mesh to a destination: the meshes on it, and the member (node key) it begins with.

    It begins with the own node where that is the bridge; with an empty path, where it is the exit.
    """

    cost: Cost
    path: Path
    via: bytes


Choices = Mapping[Destination, Choice]

_ROUTE_SIZE = 8  # bytes of an encoded route beside its texts, at most
_ROUTES_SIZE = 16 * 1024  # bytes of all routes of an entry


@dataclass(frozen=True, slots=True)
class Joined:
    """A mesh that this node is in. `bridge`: it forwards between this one and others of which that is true, too.

    `granted` are the meshes that its certificate of this one lets it bridge, `*` for all. `advertised` are the
    prefixes it is itself an exit to, `behind` those of them that are behind its static peers in the mesh itself;
    `unreachable` the nodes that it alone cannot reach.
    """

    offers: Offers = field(default_factory=Offers)
    bridge: bool = False
    granted: frozenset[str] = frozenset({ANY_MESH})
    accepted: Accepted = field(default_factory=Accepted)
    advertised: frozenset[IPv6Network] = frozenset()
    unreachable: Set[bytes] = frozenset()
    behind: frozenset[IPv6Network] = frozenset()


def choose(own: bytes, meshes: Mapping[str, Joined]) -> dict[str, Choices]:
    """The way out of each mesh to each destination, for a node that is in all of these.

    Between its own meshes it need not wait to be told: what is reached from one is reached from the others in the
    same moment, where it is the active bridge. Bellman and Ford's relaxation, over its own meshes only.
    """
    heard = (path for joined in meshes.values() for paths in joined.offers.paths.values() for path in paths.values())
    overlay = overlay_of(meshes, heard)
    told = {mesh: _told(own, mesh, joined, overlay) for mesh, joined in meshes.items()}
    best = told
    for _round in meshes:
        extended = {mesh: _with_own(own, mesh, meshes, told[mesh], best) for mesh in meshes}
        if extended == best:
            break
        best = extended
    return dict(best)


def advertise(mesh: str, meshes: Mapping[str, Joined], best: Mapping[str, Choices]) -> tuple[BridgedRoute, ...]:
    """What this node tells in a mesh about what it reaches through the others, the nearest first.

    It names every mesh that it bridges, active there or not: who is active follows from who could be. Where there is
    not room for all, each member that it heard of them by gets its share: nobody can crowd out the others.
    """
    own = bridged(mesh, meshes)
    direct = [BridgedRoute((other,)) for other in sorted(own, key=lambda other: path_cost(mesh, (other,)))]
    ranked: dict[bytes, int] = {}
    further: list[tuple[int, Cost, BridgedRoute]] = []
    reached = [each for each in _extended(mesh, own, meshes, best) if each[0] not in own]
    for destination, choice in sorted(reached, key=lambda each: (each[1].cost, str(each[0]))):
        rank = ranked[choice.via] = ranked.get(choice.via, 0) + 1
        prefix = str(destination) if isinstance(destination, IPv6Network) else None
        further.append((rank, choice.cost, BridgedRoute(choice.path, prefix)))
    told = _fitting([*direct, *(route for _rank, _cost, route in sorted(further, key=lambda each: each[:2]))])
    return tuple(sorted(told, key=lambda route: (path_cost(mesh, route.path), route.prefix or "")))


def _fitting(routes: Iterable[BridgedRoute]) -> list[BridgedRoute]:
    """As many of the first as an entry takes, with room for all else that it says."""
    fitting: list[BridgedRoute] = []
    size = 0
    for route in routes:
        size += _ROUTE_SIZE + len(route.prefix or "") + sum(2 + len(mesh) for mesh in route.path)
        if len(fitting) == MAX_ROUTES or size > _ROUTES_SIZE:
            break
        fitting.append(route)
    return fitting


def _told(own: bytes, mesh: str, joined: Joined, overlay: Set[IPv6Network]) -> dict[Destination, Choice]:
    """The best of what others offer in a mesh; nothing that lies within another mesh of this host."""
    offers = joined.offers
    found: dict[Destination, Choice] = {}
    for following, bridge in offers.bridges.items():
        if bridge == own:
            continue
        for destination, path in offers.paths[bridge].items():
            outside = not isinstance(destination, IPv6Network) or not is_within_mesh(destination, overlay)
            if path[0] == following and outside:
                _take(found, destination, Choice(path_cost(mesh, path), path, bridge))
    usable_prefixes = [prefix for prefix in offers.exits if not is_within_mesh(prefix, overlay)]
    reached = {prefix: _reached(own, joined, prefix) for prefix in usable_prefixes}
    for prefix in usable_prefixes:
        exits = offers.exits[prefix]
        others = exits.keys() - {own}
        usable = reached[prefix] or (frozenset() if _is_covered(joined, prefix, reached) else others)
        if usable:
            receiver = own if all(exits.values()) else None
            _take(found, prefix, Choice(NOTHING, (), preferred_exit(receiver, prefix, usable)))
    for prefix in joined.advertised:
        found[prefix] = Choice(NOTHING, (), own)
    return found


def _reached(own: bytes, joined: Joined, prefix: IPv6Network) -> Set[bytes]:
    """The exits to a prefix that this node can reach."""
    offers = joined.offers
    others = offers.exits[prefix].keys() - {own}
    # Whoever chose a client of this node sends here, so that goes before all others.
    return others & offers.carried.keys() or others - joined.unreachable


def _is_covered(joined: Joined, prefix: IPv6Network, reached: Mapping[IPv6Network, Set[bytes]]) -> bool:
    """Whether who wants a prefix none of whose exits is reached gets there by a wider one."""
    wanting = [each for each in (joined.accepted, *joined.offers.carried.values()) if prefix in each]
    wider = [other for other in reached if (reached[other] or other in joined.advertised) and _is_within(prefix, other)]
    return bool(wider) and all(any(other in each for other in wider) for each in wanting)


def _is_within(prefix: IPv6Network, other: IPv6Network) -> bool:
    return prefix != other and prefix.subnet_of(other)


def _with_own(
    own: bytes,
    mesh: str,
    meshes: Mapping[str, Joined],
    told: Mapping[Destination, Choice],
    best: Mapping[str, Choices],
) -> dict[Destination, Choice]:
    """The same with what this node reaches through its other meshes, where it is the active bridge."""
    bridges = meshes[mesh].offers.bridges
    active = [other for other in bridged(mesh, meshes) if bridges.get(other) == own]
    found = dict(told)
    for other in active:
        _take(found, other, Choice(path_cost(mesh, (other,)), (other,), own))
    for destination, choice in _extended(mesh, active, meshes, best):
        _take(found, destination, Choice(choice.cost, choice.path, own))
    return found


def _extended(
    mesh: str, others: Collection[str], meshes: Mapping[str, Joined], best: Mapping[str, Choices]
) -> Iterator[tuple[Destination, Choice]]:
    """What is reached from a mesh by first going to others; each destination once, by the shortest way."""
    found: dict[Destination, Choice] = {}
    for other in others:
        for destination, choice in best[other].items():
            if destination == mesh or mesh in choice.path or len(choice.path) >= MAX_PATH:
                continue
            if destination in meshes[other].accepted or destination in meshes[other].advertised:
                way = Choice(step(mesh, other, choice.cost), (other, *choice.path), choice.via)
                _take(found, destination, way)
    yield from found.items()


def bridged(mesh: str, meshes: Mapping[str, Joined]) -> list[str]:
    """The meshes between which and this one a node bridges, as both of its certificates grant."""
    here = meshes[mesh]
    return sorted(
        other
        for other, there in meshes.items()
        if other != mesh and here.bridge and there.bridge
        if _grants(here, other) and _grants(there, mesh)
    )


def _grants(joined: Joined, mesh: str) -> bool:
    return mesh in joined.granted or ANY_MESH in joined.granted


def _take(found: dict[Destination, Choice], destination: Destination, choice: Choice) -> None:
    before = found.get(destination)
    if before is None or (choice.cost, choice.via) < (before.cost, before.via):
        found[destination] = choice
