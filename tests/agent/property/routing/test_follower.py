"""The follower, view by view, against the definition: the routing of the last views made from scratch."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.crdt.entry import BridgedRoute, Entry, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.routing.choices import Joined
from smegmesh.routing.follow import Follower
from smegmesh.routing.host import Place, Routing, make_routing
from smegmesh.routing.offers import Accepted, make_offers

MESHES = ("prod", "office", "lab")
KEYS = [bytes([number + 1]) * 32 for number in range(6)]
OWN = KEYS[0]
PREFIXES = ("2001:db8:10::/48", "2001:db8:20::/48", "::/0")
Members = dict[bytes, Member]


def entry(random: Random, mesh: str, key: bytes) -> Entry:
    base = Entry(name=str(key[0]), role=Role.PEER, tunnel_key=key)
    others = [other for other in MESHES if other != mesh]
    kind = random.choice(["plain", "plain", "bridge", "exit", "client"])
    advertise = tuple(random.sample(PREFIXES, random.randint(0, 2)))
    if kind == "bridge":
        paths = [(random.choice(others),), tuple(random.sample(others, 2))]
        routes = {BridgedRoute(path, random.choice([None, None, PREFIXES[0]])) for path in paths}
        return replace(
            base, bridge=True, routes=(BridgedRoute(paths[0]), *sorted(routes - {BridgedRoute(paths[0])}, key=str))
        )
    if kind == "exit":
        return replace(base, advertise=advertise, masquerade=random.random() < 0.7)
    if kind == "client":
        home, backup = random.choice(KEYS), random.choice([None, *KEYS])
        accept = tuple(random.sample((*PREFIXES, "*"), random.randint(0, 2)))
        return replace(base, role=Role.CLIENT, home=home, backup=backup, accept=accept, advertise=advertise)
    return base


def member(random: Random, mesh: str, key: bytes) -> Member:
    liveness = random.choice([Liveness.ALIVE, Liveness.ALIVE, *Liveness])
    return Member(key, node_address(mesh, key), entry(random, mesh, key), 1, liveness)


def place(random: Random, mesh: str) -> Place:
    joined = Joined(
        bridge=random.random() < 0.7,
        accepted=Accepted(every=random.random() < 0.5, default=random.random() < 0.5),
        advertised=frozenset(map(IPv6Network, random.sample(PREFIXES, random.choice([0, 0, 1])))),
        unreachable=frozenset(random.sample(KEYS, random.choice([0, 0, 1]))),
    )
    return Place(f"wg-{mesh}", MESHES.index(mesh) + 1, node_address(mesh, OWN), joined)


def from_scratch(views: dict[str, View], places: dict[str, Place]) -> Routing:
    return make_routing(
        OWN,
        {
            mesh: replace(places[mesh], joined=replace(places[mesh].joined, offers=make_offers(view, view.members)))
            for mesh, view in views.items()
        },
    )


@given(st.integers(0, 1 << 32))
@settings(max_examples=150, deadline=None)
def test_the_routing_is_that_of_the_last_views(seed: int) -> None:
    random = Random(seed)
    follower = Follower(OWN)
    members: dict[str, Members] = {mesh: {OWN: member(random, mesh, OWN)} for mesh in MESHES}
    views: dict[str, View] = {}
    places: dict[str, Place] = {}
    for _step in range(15):
        mesh = random.choice(MESHES)
        if mesh in views and random.random() < 0.1:
            del views[mesh], places[mesh]
            follower.drop(mesh)
        else:
            for key in random.sample(KEYS, random.randint(0, 2)):
                members[mesh].pop(key, None)
                if random.random() < 0.8:
                    members[mesh][key] = member(random, mesh, key)
            if mesh not in places or random.random() < 0.3:
                places[mesh] = place(random, mesh)
            views[mesh] = View(mesh, OWN, dict(members[mesh]), None, b"")
            before = follower.routing
            moved = follower.put(views[mesh], places[mesh])
            assert moved or follower.routing is before
        assert follower.routing == from_scratch(views, places)
