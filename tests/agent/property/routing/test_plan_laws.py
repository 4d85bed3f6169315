"""Plans of one view on all its nodes, taken together."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from routing_world import owner
from smegmesh.crdt.entry import Entry, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.routing.plan import LocalPolicy, Plan, make_plan

MESH = "prod"
MOST_HOPS = 3

KEYS = [bytes([number + 1]) * 32 for number in range(9)]


@st.composite
def meshes(draw: st.DrawFn) -> dict[bytes, Member]:
    """Up to nine members; homes and backups may be anybody, the client itself or unknown included."""
    members = {}
    for key in draw(st.lists(st.sampled_from(KEYS), min_size=1, unique=True)):
        role = draw(st.sampled_from(Role))
        named = st.none() | st.sampled_from(KEYS)
        entry = Entry(
            name=str(key[0]),
            role=role,
            tunnel_key=key,
            endpoints=(f"198.18.0.{key[0]}:51820",) if role is Role.PEER else (),
            home=draw(named) if role is Role.CLIENT else None,
            backup=draw(named) if role is Role.CLIENT else None,
        )
        members[key] = Member(key, node_address(MESH, key), entry, 1, draw(st.sampled_from(Liveness)))
    return members


def plan_of(members: dict[bytes, Member], key: bytes) -> Plan:
    return make_plan(View(MESH, key, members, None, b""), LocalPolicy(members[key].entry.role))


@given(meshes())
@settings(max_examples=150, deadline=None)
def test_an_allowed_ip_has_one_owner(members: dict[bytes, Member]) -> None:
    for key in members:
        networks = [network for peer in plan_of(members, key).peers.values() for network in peer.allowed_ips]
        for index, network in enumerate(networks):
            assert not any(network.overlaps(other) for other in networks[index + 1 :])


@given(meshes())
@settings(max_examples=150, deadline=None)
def test_what_one_node_sends_the_next_accepts_until_it_arrives(members: dict[bytes, Member]) -> None:
    plans = {key: plan_of(members, key) for key in members}
    view = View(MESH, KEYS[0], members, None, b"")

    def is_carried(key: bytes) -> bool:
        if members[key].entry.role is Role.PEER:
            return True
        home = view.home_of(key)
        return home is not None and members[home].entry.role is Role.PEER

    carried = [key for key in members if is_carried(key)]
    for source in carried:
        for destination in carried:
            at = source
            for _ in range(MOST_HOPS):
                if at == destination:
                    break
                to = owner(plans[at], members[destination].address)
                assert to is not None
                back = plans[to].peers[at]
                assert any(members[source].address in network for network in back.allowed_ips)
                at = to
            assert at == destination


@given(meshes())
@settings(max_examples=50, deadline=None)
def test_the_order_of_members_is_irrelevant(members: dict[bytes, Member]) -> None:
    shuffled = dict(reversed(members.items()))
    for key in members:
        assert plan_of(members, key) == plan_of(shuffled, key)


@given(meshes())
@settings(max_examples=100, deadline=None)
def test_liveness_adds_and_takes_no_wireguard_peer(members: dict[bytes, Member]) -> None:
    alive = {
        key: Member(member.node_key, member.address, member.entry, member.number, Liveness.ALIVE)
        for key, member in members.items()
    }
    for key in members:
        assert plan_of(members, key).peers.keys() == plan_of(alive, key).peers.keys()
