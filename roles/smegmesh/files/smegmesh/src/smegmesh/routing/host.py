"""All meshes of a host together: from what each offers to allowed IPs, own announcements, kernel tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from smegmesh.crdt.entry import BridgedRoute
from smegmesh.identity.address import mesh_prefix
from smegmesh.routing.choices import Choice, Choices, Joined, advertise, bridged, choose
from smegmesh.routing.offers import DEFAULT, Destination
from smegmesh.routing.tables import Forwarding, HostPlan, Route, Rule

# Tables of the agent's own; that of a mesh has the number of its UDP port added.
MESH_TABLES = 8_700_000
BRIDGED_TABLE = 8_770_000  # other meshes
EXIT_TABLE = 8_770_001  # accepted prefixes
DEFAULT_TABLE = 8_770_002  # an accepted default route
MAIN_TABLE = 254
_FROM_MESH, _OF_MESH, _BRIDGED, _EXITS, _MAIN, _DEFAULT = range(8700, 8706)  # priorities of rules


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mesh is on this host: its interface, that one's port, the own address, and how it routes."""

    device: str
    port: int
    address: IPv6Address
    joined: Joined
    masquerade: bool = True


@dataclass(frozen=True, slots=True)
class Routing:
    """What follows for this host, by mesh id where that is the key.

    `best`: the ways to everything outside a mesh. `sent`: to what of that this host sends, for itself or for
    clients that it carries. `allowed`: what a member (node key) carries beside its own address. `announced`: what
    this node tells of its other meshes. `used`: exits whose tunnels are to be probed; `exits`: all that there are.
    """

    best: Mapping[str, Choices] = field(default_factory=dict)
    sent: Mapping[str, frozenset[Destination]] = field(default_factory=dict)
    allowed: Mapping[str, Mapping[bytes, frozenset[IPv6Network]]] = field(default_factory=dict)
    announced: Mapping[str, tuple[BridgedRoute, ...]] = field(default_factory=dict)
    used: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    exits: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    plan: HostPlan = field(default_factory=HostPlan)


def make_routing(own: bytes, places: Mapping[str, Place]) -> Routing:
    """The routing of a host that is in these meshes. O(meshes² x destinations)."""
    meshes = {mesh: place.joined for mesh, place in places.items()}
    best = choose(own, meshes)
    sent = {mesh: frozenset(_sent(meshes[mesh], best[mesh])) for mesh in places}
    return Routing(
        best=best,
        sent=sent,
        allowed={mesh: _allowed(own, best[mesh], sent[mesh]) for mesh in places},
        announced={mesh: advertise(mesh, meshes, best) for mesh in places},
        used={mesh: _used_exits(own, best[mesh], sent[mesh]) for mesh in places},
        exits={mesh: frozenset().union(*joined.offers.exits.values()) for mesh, joined in meshes.items()},
        plan=_host_plan(own, places, best, sent),
    )


def network_of(destination: Destination) -> IPv6Network:
    """The prefix of a destination."""
    return mesh_prefix(destination) if isinstance(destination, str) else destination


def _sent(joined: Joined, choices: Choices) -> Iterator[Destination]:
    carried = joined.offers.carried
    for destination, choice in choices.items():
        wanted = destination in joined.accepted or any(destination in accepted for accepted in carried.values())
        if wanted or choice.via in carried:
            yield destination


def _allowed(own: bytes, choices: Choices, sent: Set[Destination]) -> dict[bytes, frozenset[IPv6Network]]:
    carried: dict[bytes, set[IPv6Network]] = {}
    for destination in sent:
        via = choices[destination].via
        if via != own:
            carried.setdefault(via, set()).add(network_of(destination))
    return {key: frozenset(networks) for key, networks in carried.items()}


def _used_exits(own: bytes, choices: Choices, sent: Set[Destination]) -> frozenset[bytes]:
    """Exits of the mesh itself; behind a bridge they are the bridge's to watch."""
    return frozenset(
        choice.via
        for destination in sent
        if isinstance(destination, IPv6Network) and not (choice := choices[destination]).path and choice.via != own
    )


def _host_plan(
    own: bytes, places: Mapping[str, Place], best: Mapping[str, Choices], sent: Mapping[str, Set[Destination]]
) -> HostPlan:
    routes: dict[tuple[int, IPv6Network], Route] = {}
    rules: set[Rule] = set()
    forwarding: dict[str, Forwarding] = {}
    for mesh, place in places.items():
        table = MESH_TABLES + place.port
        of_mesh = dict(_mesh_table(own, mesh, places, best, sent[mesh]))
        routes |= {(table, network): route for network, route in of_mesh.items()}
        forwarding[place.device] = _forwarding(mesh, places, of_mesh)
        rules.add(Rule(_FROM_MESH, table, device=place.device))
        rules.add(Rule(_OF_MESH, table, source=place.address))
    routes |= _own_tables(own, places, best)
    rules |= _own_rules({table for table, _network in routes})
    return HostPlan(routes, frozenset(rules), forwarding)


def _mesh_table(
    own: bytes, mesh: str, places: Mapping[str, Place], best: Mapping[str, Choices], sent: Set[Destination]
) -> Iterator[tuple[IPv6Network, Route]]:
    """Where what comes from a mesh, or from the own address in it, goes."""
    yield DEFAULT, Route(None)
    yield mesh_prefix(mesh), Route(places[mesh].device)
    for destination, choice in best[mesh].items():
        if choice.via == own or destination in sent:
            yield network_of(destination), _route(own, mesh, destination, choice, places, best)


def _route(
    own: bytes,
    mesh: str,
    destination: Destination,
    choice: Choice,
    places: Mapping[str, Place],
    best: Mapping[str, Choices],
) -> Route:
    """Into which interface a way out of a mesh leads: that of the mesh, or the next one's where this is the bridge."""
    if choice.via != own:
        return Route(places[mesh].device)
    if destination in places[mesh].joined.behind:
        return Route(places[mesh].device)
    if not choice.path:
        return Route(None, elsewhere=True)
    following = choice.path[0]
    if following == destination:
        return Route(places[following].device)
    return _route(own, following, destination, best[following][destination], places, best)


def _own_tables(
    own: bytes, places: Mapping[str, Place], best: Mapping[str, Choices]
) -> dict[tuple[int, IPv6Network], Route]:
    """Where this host's own packets go: to meshes it is not in, and to prefixes that it accepts."""
    found: dict[Destination, tuple[Choice, str]] = {}
    served = {prefix for place in places.values() for prefix in place.joined.advertised}
    for mesh, choices in sorted(best.items()):
        for destination, choice in choices.items():
            if destination in places or destination in served or destination not in places[mesh].joined.accepted:
                continue
            if destination not in found or choice.cost < found[destination][0].cost:
                found[destination] = choice, mesh
    routes = {}
    for destination, (_choice, mesh) in found.items():
        # Where this node is the bridge itself, the way out of the next mesh is shorter: that was taken.
        route = Route(places[mesh].device, source=places[mesh].address)
        routes[_own_table(destination), network_of(destination)] = route
    return routes


def _own_table(destination: Destination) -> int:
    if isinstance(destination, str):
        return BRIDGED_TABLE
    return DEFAULT_TABLE if destination == DEFAULT else EXIT_TABLE


def _own_rules(tables: set[int]) -> set[Rule]:
    """Only what has routes is looked up; of the main table all but its default route comes before ours."""
    rules = {
        BRIDGED_TABLE: {Rule(_BRIDGED, BRIDGED_TABLE)},
        EXIT_TABLE: {Rule(_EXITS, EXIT_TABLE, unmarked=True)},
        DEFAULT_TABLE: {
            Rule(_MAIN, MAIN_TABLE, suppress=0),
            Rule(_DEFAULT, DEFAULT_TABLE, unmarked=True),
        },
    }
    return {rule for table, those in rules.items() if table in tables for rule in those}


def _forwarding(mesh: str, places: Mapping[str, Place], table: Mapping[IPv6Network, Route]) -> Forwarding:
    """What goes out by a mesh comes in where its answer would go: else it may go round between two bridges.

    A host that is told of a lost path late can be sent, by one mesh, what it has sent on by another.
    """
    place = places[mesh]
    others = [places[other] for other in bridged(mesh, {name: each.joined for name, each in places.items()})]
    # What comes through a bridge of this host to its own exit leaves as what comes from the exit's mesh does.
    prefixes = {prefix: other.masquerade for other in others for prefix in other.joined.advertised}
    prefixes |= dict.fromkeys(place.joined.advertised, place.masquerade)
    sources = {network: route.device for network, route in table.items()}
    return Forwarding(frozenset(other.device for other in others), prefixes, sources)
