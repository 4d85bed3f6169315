"""Plans of small meshes, written out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from smegmesh.crdt.entry import Entry, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.routing.endpoints import usable_endpoints
from smegmesh.routing.plan import CLIENT_KEEPALIVE, LocalPolicy, PeerPlan, Plan, make_plan, way_to
from smegmesh.routing.planner import Planner
from smegmesh.routing.static_peers import StaticPeer

MESH = "prod"
P1, P2, P3, C1, C2 = (name.encode().ljust(32, b"\0") for name in ("p1", "p2", "p3", "c1", "c2"))
WHOLE = mesh_prefix(MESH)


def peer(key: bytes, liveness: Liveness = Liveness.ALIVE) -> Member:
    name = key.rstrip(b"\0").decode()
    entry = Entry(name=name, role=Role.PEER, tunnel_key=key, endpoints=(f"{name}.example:51820",))
    return Member(key, node_address(MESH, key), entry, 1, liveness)


def client(key: bytes, home: bytes | None, backup: bytes | None = None) -> Member:
    entry = Entry(name=key.rstrip(b"\0").decode(), role=Role.CLIENT, tunnel_key=key, home=home, backup=backup)
    return Member(key, node_address(MESH, key), entry, 1, Liveness.ALIVE)


def plan(own: bytes, members: Iterable[Member], keepalive: int = 0) -> Plan:
    view = View(MESH, own, {member.node_key: member for member in members}, None, b"")
    return make_plan(view, LocalPolicy(view.members[own].entry.role, keepalive))


def hosts(*keys: bytes) -> frozenset[IPv6Network]:
    return frozenset(IPv6Network((node_address(MESH, key), 128)) for key in keys)


NOTHING: frozenset[IPv6Network] = frozenset()
SIX, FOUR, OTHER = "[2001:db8::1]:1", "198.18.0.1:1", "198.18.0.2:1"


@pytest.mark.parametrize(
    ("endpoints", "families", "usable"),
    [
        ("", "46", ""),
        (SIX, "4", SIX),
        (f"{SIX} {FOUR}", "46", f"{SIX} {FOUR}"),
        (f"{SIX} {FOUR}", "4", FOUR),
        (f"{FOUR} {OTHER} {SIX}", "6", SIX),
        (f"{FOUR} a.example:1 {SIX}", "6", f"a.example:1 {SIX}"),
        (f"{FOUR} {OTHER}", "6", f"{FOUR} {OTHER}"),
        (f"{FOUR} {SIX}", "", f"{FOUR} {SIX}"),
        (f"1password.example:1 {SIX} {FOUR}", "4", f"1password.example:1 {FOUR}"),
    ],
)
def test_the_endpoints_that_this_host_has_the_family_of(endpoints: str, families: str, usable: str) -> None:
    assert usable_endpoints(tuple(endpoints.split()), frozenset(map(int, families))) == tuple(usable.split())


def test_an_endpoint_of_another_family_is_taken_when_the_own_one_goes() -> None:
    both = replace(peer(P2), entry=replace(peer(P2).entry, endpoints=(SIX, FOUR)))
    view = View(MESH, P1, {P1: peer(P1), P2: both}, None, b"")
    planner = Planner(view, LocalPolicy(Role.PEER))
    assert planner.plan.peers == {P2: PeerPlan(SIX, hosts(P2), others=(FOUR,))}
    change = planner.follow(view, LocalPolicy(Role.PEER, families=frozenset({4})))
    assert change.peers == {P2: PeerPlan(FOUR, hosts(P2))}


def test_the_way_to_a_member() -> None:
    members = {member.node_key: member for member in (peer(P1), peer(P2), peer(P3), client(C1, P2, P1), client(C2, P1))}
    view = View(MESH, P1, members, None, b"")
    ways = {key: way_to(view, Role.PEER, key) for key in (P1, P2, P3, C1, C2, b"x" * 32)}
    assert ways == {P1: None, P2: P2, P3: P3, C1: P2, C2: C2, b"x" * 32: None}
    own = View(MESH, C1, members, None, b"")
    ways = {key: way_to(own, Role.CLIENT, key) for key in members}
    assert ways == {P1: P2, P2: P2, P3: P2, C1: None, C2: P2}, "a client's home carries all"
    stranded = View(MESH, P1, {**members, C1: client(C1, None)}, None, b"")
    assert way_to(stranded, Role.PEER, C1) is None


def test_a_peer_reaches_peers_directly_and_clients_through_their_homes() -> None:
    members = [peer(P1), peer(P2), peer(P3), client(C1, P2, P3), client(C2, P1, P2)]
    made = plan(P1, members)
    assert made.peers == {
        P2: PeerPlan("p2.example:51820", hosts(P2, C1)),
        P3: PeerPlan("p3.example:51820", hosts(P3)),
        C2: PeerPlan(None, hosts(C2)),
    }
    assert made.forward
    assert made.routes == {WHOLE}
    assert str(made.address) == f"{node_address(MESH, P1)}/128"


def test_a_backup_keeps_a_session_with_the_client_and_carries_it_when_the_home_is_down() -> None:
    members = [peer(P1), peer(P2), peer(P3), client(C1, P2, P1)]
    assert plan(P1, members).peers[C1] == PeerPlan(None, NOTHING)

    members[1] = peer(P2, Liveness.DOWN)
    assert plan(P1, members).peers[C1] == PeerPlan(None, hosts(C1))
    assert plan(P1, members).peers[P2] == PeerPlan("p2.example:51820", hosts(P2)), "down takes no /128 away"
    assert plan(P3, members).peers[P1].allowed_ips == hosts(P1, C1)


def test_a_mute_home_keeps_its_clients() -> None:
    members = [peer(P1), peer(P2, Liveness.MUTE), client(C1, P2, P1)]
    assert plan(P1, members).peers[P2].allowed_ips == hosts(P2, C1)


def test_a_client_sends_everything_to_its_home_and_keeps_its_backup_warm() -> None:
    members = [peer(P1), peer(P2), peer(P3), client(C1, P1, P2), client(C2, P1)]
    made = plan(C1, members)
    assert made.peers == {
        P1: PeerPlan("p1.example:51820", frozenset({WHOLE}), CLIENT_KEEPALIVE),
        P2: PeerPlan("p2.example:51820", NOTHING, CLIENT_KEEPALIVE),
    }
    assert not made.forward

    members[0] = peer(P1, Liveness.DOWN)
    moved = plan(C1, members).peers
    assert moved[P1].allowed_ips == NOTHING
    assert moved[P2].allowed_ips == {WHOLE}

    members[1] = peer(P2, Liveness.DOWN)
    assert plan(C1, members).peers[P1].allowed_ips == {WHOLE}, "with both down the home is tried"


def test_a_client_without_a_home_or_with_an_unknown_one() -> None:
    assert plan(C1, [peer(P1), client(C1, None)]).peers == {}
    assert plan(C1, [peer(P2), client(C1, P1, P2)]).peers[P2].allowed_ips == {WHOLE}
    assert plan(C1, [client(C1, C2, None), client(C2, C1, C1)]).peers == {}
    assert plan(C1, [peer(P1), client(C1, P1, P1)]).peers[P1].allowed_ips == {WHOLE}


def test_a_client_that_nobody_carries_is_in_no_allowed_ips() -> None:
    members = [peer(P1), peer(P2, Liveness.DOWN), client(C1, P2), client(C2, C1)]
    assert plan(P1, members).peers == {P2: PeerPlan("p2.example:51820", hosts(P2))}


def test_keepalive_is_the_declarations_where_it_names_one() -> None:
    members = [peer(P1), peer(P2), client(C1, P1)]
    assert plan(C1, members, keepalive=5).peers[P1].keepalive == 5
    assert {made.keepalive for made in plan(P1, members, keepalive=5).peers.values()} == {5}
    assert {made.keepalive for made in plan(P1, members).peers.values()} == {0}


def test_a_tunnel_key_that_two_claim_is_the_one_born_with_it() -> None:
    thief = peer(P1)
    thief = replace(thief, entry=replace(thief.entry, tunnel_key=P2))
    assert plan(P3, [thief, peer(P2), peer(P3)]).peers == {P2: PeerPlan("p2.example:51820", hosts(P2))}
    assert plan(P2, [thief, peer(P2), peer(P3)]).peers.keys() == {P3}, "and never a peer of one's own key"


def test_a_rotated_tunnel_key_changes_no_address() -> None:
    rotated = peer(P2)
    rotated = replace(rotated, entry=replace(rotated.entry, tunnel_key=b"r" * 32))
    assert plan(P1, [peer(P1), rotated]).peers == {b"r" * 32: PeerPlan("p2.example:51820", hosts(P2))}


PHONE = b"phone".ljust(32, b"\0")


def carrier(key: bytes, liveness: Liveness = Liveness.ALIVE) -> Member:
    member = peer(key, liveness)
    return replace(member, entry=replace(member.entry, static_peers={"phone": PHONE}))


def test_a_static_peer_is_a_tunnel_of_its_carrier_and_behind_it_for_all_others() -> None:
    members = [carrier(P1), peer(P2), client(C1, P2)]
    assert plan(P2, members).peers[P1].allowed_ips == hosts(P1, PHONE)
    assert plan(C1, members).peers == {P2: PeerPlan("p2.example:51820", frozenset({WHOLE}), CLIENT_KEEPALIVE)}
    view = View(MESH, P1, {member.node_key: member for member in members}, None, b"")
    static = StaticPeer(PHONE, "phone.example:7", 5, b"k" * 32)
    made = make_plan(view, LocalPolicy(Role.PEER, static_peers=(static,)))
    assert made.peers[PHONE] == PeerPlan("phone.example:7", hosts(PHONE), 5, preshared_key=b"k" * 32)
    assert repr(b"k" * 32) not in repr(made) + repr(static), "it is a secret"


@pytest.mark.parametrize(
    ("members", "owner"),
    [
        ([carrier(P1), carrier(P2), peer(P3)], P1),
        ([carrier(P1, Liveness.MUTE), carrier(P2), peer(P3)], P1),
        ([carrier(P1, Liveness.DOWN), carrier(P2), peer(P3)], P2),
        ([carrier(P1, Liveness.DOWN), peer(P2), peer(P3)], P1),
        ([carrier(P1), peer(PHONE), peer(P3)], PHONE),
    ],
    ids=["lowest", "mute", "moved from the dead", "nobody else", "a member by now"],
)
def test_the_address_of_a_static_peer_has_one_owner(members: list[Member], owner: bytes) -> None:
    peers = plan(P3, members).peers
    assert [key for key, each in peers.items() if hosts(PHONE) <= each.allowed_ips] == [owner]
    for own in (P1, P2):
        view = View(MESH, own, {member.node_key: member for member in members}, None, b"")
        made = make_plan(view, LocalPolicy(Role.PEER, static_peers=(StaticPeer(PHONE, "own:1"),)))
        carries = PHONE in made.peers and made.peers[PHONE].endpoint == "own:1"
        assert carries == (own == owner), "nobody but its owner has a tunnel to it"


def test_before_the_first_view_a_client_has_no_peers() -> None:
    view = View(MESH, C1, {}, None, b"")
    assert make_plan(view, LocalPolicy(Role.CLIENT)).peers == {}
