"""The diff of peers: single cases, and its laws over random states."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Interface, IPv6Network

from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.dataplane.diff import advance, diff
from smegmesh.dataplane.plane import DeviceState, Endpoint, PeerChange, PeerState
from smegmesh.routing.plan import PeerPlan, Plan

A, B, C = (letter * 32 for letter in (b"a", b"b", b"c"))
ONE, TWO, THREE = (IPv6Network(f"fd00::{number}") for number in (1, 2, 3))
HERE, THERE = ("198.18.0.1", 51820), ("198.18.0.2", 51820)
ENDPOINTS = {"here:51820": HERE, "there:51820": THERE}


def plan(peers: Mapping[bytes, PeerPlan]) -> Plan:
    return Plan("prod", IPv6Interface("fd00::f/128"), peers, frozenset({IPv6Network("fd00::/64")}), forward=True)


def device(peers: Mapping[bytes, PeerState]) -> DeviceState:
    return DeviceState(b"o" * 32, 51820, 0, peers)


def wanted(*networks: IPv6Network, endpoint: str | None = None, keepalive: int = 0) -> PeerPlan:
    return PeerPlan(endpoint, frozenset(networks), keepalive)


def held(*networks: IPv6Network, endpoint: Endpoint | None = None, keepalive: int = 0) -> PeerState:
    return PeerState(endpoint, frozenset(networks), keepalive)


def test_a_new_peer_gets_all_of_its_plan() -> None:
    changes = diff(plan({A: wanted(ONE, endpoint="here:51820", keepalive=5)}), ENDPOINTS, device({}), {})
    assert changes == [PeerChange(A, endpoint=HERE, allowed_ips=frozenset({ONE}), keepalive=5)]


def test_what_moves_is_taken_before_it_is_given_and_given_before_anything_new() -> None:
    before = device({A: held(ONE), B: held(TWO, THREE)})
    changes = diff(plan({C: wanted(), A: wanted(ONE, TWO), B: wanted(THREE)}), {}, before, {})
    assert changes == [
        PeerChange(B, add=False, allowed_ips=frozenset({THREE})),
        PeerChange(A, add=False, allowed_ips=frozenset({ONE, TWO})),
        PeerChange(C, allowed_ips=frozenset(), keepalive=0),
    ]


def test_an_exchange_takes_both_before_it_gives_either() -> None:
    changes = diff(plan({A: wanted(TWO), B: wanted(ONE)}), {}, device({A: held(ONE), B: held(TWO)}), {})
    assert [change.allowed_ips for change in changes] == [set(), set(), {TWO}, {ONE}]


def test_an_endpoint_is_set_only_where_the_entry_knows_better() -> None:
    named = plan({A: wanted(endpoint="here:51820")})
    learned = device({A: held(endpoint=("198.18.0.9", 9))})
    given = [PeerChange(A, add=False, endpoint=HERE)]
    assert diff(named, ENDPOINTS, device({A: held()}), {A: "here:51820"}) == given, "it has none"
    assert diff(named, ENDPOINTS, learned, {A: "here:51820"}) == [], "a learned one is newer"
    assert diff(named, ENDPOINTS, learned, {}) == [], "an adopted one is at least as new"
    assert diff(named, ENDPOINTS, learned, {A: "there:51820"}) == given, "the entry names another"
    assert diff(named, ENDPOINTS, device({A: held(endpoint=HERE)}), {A: "there:51820"}) == []
    assert diff(named, {}, learned, {A: "there:51820"}) == [], "what is not resolved changes nothing"
    assert diff(plan({A: wanted()}), ENDPOINTS, learned, {}) == [], "a client's is always learned"


def test_a_change_of_keepalive_alone_leaves_the_rest() -> None:
    changes = diff(plan({A: wanted(ONE, keepalive=25)}), {}, device({A: held(ONE)}), {})
    assert changes == [PeerChange(A, add=False, keepalive=25)]


def test_advance_follows_wireguard() -> None:
    peers = {A: held(ONE), B: held(TWO)}
    assert advance(peers, [PeerChange(C, remove=True), PeerChange(C, add=False, keepalive=1)]) == peers
    stolen = advance(peers, [PeerChange(B, allowed_ips=frozenset({ONE, TWO}))])
    assert stolen == {A: held(), B: held(ONE, TWO)}


KEYS = st.sampled_from([bytes([number]) * 32 for number in range(6)])
NETWORKS = [IPv6Network(f"fd00::{number:x}") for number in range(8)]
KEEPALIVES = st.sampled_from([0, 25])
NAMED = st.none() | st.sampled_from(["here:51820", "there:51820", "unresolved:1"])


@st.composite
def partitions(draw: st.DrawFn) -> dict[bytes, frozenset[IPv6Network]]:
    """Peers and their allowed IPs, each of which has one owner."""
    keys = draw(st.lists(KEYS, unique=True))
    owners = {network: draw(st.none() | st.sampled_from(keys)) for network in NETWORKS} if keys else {}
    return {key: frozenset(network for network, owner in owners.items() if owner == key) for key in keys}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    return plan(
        {key: PeerPlan(draw(NAMED), networks, draw(KEEPALIVES)) for key, networks in draw(partitions()).items()}
    )


@st.composite
def devices(draw: st.DrawFn) -> DeviceState:
    endpoints = st.none() | st.sampled_from([HERE, THERE])
    return device(
        {key: PeerState(draw(endpoints), networks, draw(KEEPALIVES)) for key, networks in draw(partitions()).items()}
    )


@given(plans(), devices())
@settings(max_examples=200, deadline=None)
def test_the_changes_lead_to_the_plan_and_then_there_are_none(aim: Plan, start: DeviceState) -> None:
    end = device(advance(start.peers, diff(aim, ENDPOINTS, start, {})))
    assert {key: (peer.allowed_ips, peer.keepalive) for key, peer in end.peers.items()} == {
        key: (peer.allowed_ips, peer.keepalive) for key, peer in aim.peers.items()
    }
    assert diff(aim, ENDPOINTS, end, {}) == []


@given(plans(), devices())
@settings(max_examples=200, deadline=None)
def test_nothing_is_stolen_and_nothing_kept_is_lost_on_the_way(aim: Plan, start: DeviceState) -> None:
    peers = dict(start.peers)
    kept = {(key, network) for key, peer in aim.peers.items() for network in peer.allowed_ips} & {
        (key, network) for key, peer in start.peers.items() for network in peer.allowed_ips
    }
    for change in diff(aim, ENDPOINTS, start, {}):
        others = {network for key, peer in peers.items() if key != change.key for network in peer.allowed_ips}
        assert not others & (change.allowed_ips or frozenset())
        peers = advance(peers, [change])
        assert all(network in peers[key].allowed_ips for key, network in kept)


@given(plans(), devices())
@settings(max_examples=100, deadline=None)
def test_a_peer_that_is_as_planned_is_not_touched(aim: Plan, start: DeviceState) -> None:
    touched = {change.key for change in diff(aim, ENDPOINTS, start, {})}
    for key, peer in start.peers.items():
        planned = aim.peers.get(key)
        if planned and (planned.allowed_ips, planned.keepalive) == (peer.allowed_ips, peer.keepalive):
            assert key not in touched or peer.endpoint is None
