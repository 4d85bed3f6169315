"""The diff of peers: single cases, and its laws over random states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv6Network
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.dataplane.diff import SILENCE, WantedPeer, diff
from smegmesh.dataplane.peer_table import PeerTable
from smegmesh.dataplane.plane import NO_PRESHARED_KEY, Endpoint, PeerChange, PeerState
from smegmesh.routing.plan import PeerPlan

A, B, C = (letter * 32 for letter in (b"a", b"b", b"c"))
ONE, TWO, THREE, FOUR = (IPv6Network(f"fd00::{number}") for number in (1, 2, 3, 4))
HERE, THERE, LEARNED = ("198.18.0.1", 51820), ("198.18.0.2", 51820), ("198.18.0.9", 9)
ENDPOINTS = {"here:51820": HERE, "there:51820": THERE}
Peers = Mapping[bytes, PeerState]


def wanted(*networks: IPv6Network, endpoint: str | None = None, keepalive: int = 0) -> WantedPeer:
    return resolved(PeerPlan(endpoint, frozenset(networks), keepalive))


def resolved(plan: PeerPlan, given: str | None = None) -> WantedPeer:
    return WantedPeer(plan, None if plan.endpoint is None else ENDPOINTS.get(plan.endpoint), given)


def held(*networks: IPv6Network, endpoint: Endpoint | None = None, keepalive: int = 0) -> PeerState:
    return PeerState(endpoint, frozenset(networks), keepalive)


def changes(aim: Mapping[bytes, WantedPeer], start: Peers) -> list[PeerChange]:
    return diff(aim, PeerTable(start))


def after(start: Peers, steps: Iterable[PeerChange]) -> Peers:
    table = PeerTable(start)
    table.advance(steps)
    return table.peers


def test_a_new_peer_gets_all_of_its_plan() -> None:
    made = changes({A: wanted(ONE, endpoint="here:51820", keepalive=5)}, {})
    assert made == [PeerChange(A, endpoint=HERE, allowed_ips=frozenset({ONE}), keepalive=5)]


def test_what_moves_is_taken_before_it_is_given_and_given_before_anything_new() -> None:
    before = {A: held(ONE), B: held(TWO, THREE)}
    assert changes({C: wanted(), B: wanted(THREE, FOUR), A: wanted(ONE, TWO)}, before) == [
        PeerChange(B, add=False, allowed_ips=frozenset({THREE})),
        PeerChange(A, add=False, allowed_ips=frozenset({ONE, TWO})),
        PeerChange(C, allowed_ips=frozenset(), keepalive=0),
        PeerChange(B, add=False, allowed_ips=frozenset({THREE, FOUR})),
    ]


def test_an_exchange_takes_both_before_it_gives_either() -> None:
    made = changes({A: wanted(TWO), B: wanted(ONE)}, {A: held(ONE), B: held(TWO)})
    assert [change.allowed_ips for change in made] == [set(), set(), {TWO}, {ONE}]


def test_an_endpoint_is_set_only_where_the_entry_knows_better() -> None:
    named = wanted(endpoint="here:51820")
    learned = {A: held(endpoint=("198.18.0.9", 9))}
    set_here = [PeerChange(A, add=False, endpoint=HERE)]
    assert changes({A: replace(named, given="here:51820")}, {A: held()}) == set_here, "it has none"
    assert changes({A: replace(named, given="here:51820")}, learned) == [], "a learned one is newer"
    assert changes({A: named}, learned) == [], "an adopted one is at least as new"
    assert changes({A: replace(named, given="there:51820")}, learned) == set_here, "the entry names another"
    assert changes({A: replace(named, given="there:51820")}, {A: held(endpoint=HERE)}) == []
    unresolved = replace(named, endpoint=None, given="there:51820")
    assert changes({A: unresolved}, learned) == [], "what is not resolved changes nothing"
    assert changes({A: wanted()}, learned) == [], "a client's is always learned"


def test_what_was_given_is_what_the_device_last_got() -> None:
    named = wanted(endpoint="here:51820")
    assert named.carried_out(HERE).given == "here:51820"
    assert replace(named, given="there:51820").carried_out(HERE).given == "here:51820"
    unresolved = replace(named, endpoint=None)
    assert unresolved.carried_out(None).given == "here:51820", "it gets that as soon as it resolves"
    assert replace(unresolved, given="there:51820").carried_out(THERE).given == "there:51820"
    assert replace(wanted(), given="there:51820").carried_out(LEARNED).given is None


NOW = 1_000_000.0


def moved(aim: WantedPeer, endpoint: Endpoint | None, handshake: float | None, now: float | None = NOW) -> object:
    """What a peer gets at a check that finds this endpoint and this handshake."""
    state = PeerState(endpoint, frozenset(), 0, handshake)
    made = diff({A: aim}, PeerTable({A: state}), now=now)
    assert all(change == PeerChange(A, add=False, endpoint=change.endpoint) for change in made)
    return made[0].endpoint if made else None


def test_a_silent_peer_follows_its_name_when_that_moves() -> None:
    here = wanted(endpoint="here:51820").carried_out(HERE)
    assert (here.given, here.given_address) == ("here:51820", HERE)
    there = replace(here, endpoint=THERE)  # the same name, another answer
    for silent in (None, 0.0, NOW - SILENCE - 1):
        assert moved(here, HERE, silent) is None, "the name says what it said"
        assert moved(here, LEARNED, silent) is None, "nothing newer is known than what was learned"
        assert moved(there, HERE, silent) == THERE
        assert moved(there, LEARNED, silent) == THERE
        assert moved(replace(there, endpoint=None), HERE, silent) is None, "a name that does not resolve"
    for handshake in (NOW, NOW - SILENCE + 1, NOW + 5):
        assert moved(there, HERE, handshake) is None, "a session that is alive is left alone"
        assert moved(there, LEARNED, handshake) is None
    assert moved(there, HERE, None, now=None) is None, "the handshakes are those of some time ago"


def test_a_name_that_moved_is_given_once() -> None:
    there = replace(wanted(endpoint="here:51820").carried_out(HERE), endpoint=THERE)
    waiting = there.carried_out(HERE)
    assert waiting.given_address == HERE, "it was not given while the session was alive"
    assert moved(waiting, HERE, NOW - SILENCE - 1) == THERE
    given = waiting.carried_out(THERE)
    assert given.given_address == THERE
    assert moved(given, LEARNED, None) is None, "what is learned after that is newer"
    assert there.carried_out(THERE).given_address == THERE, "its packets came from there before we looked"


def test_of_several_that_would_do_the_one_in_use_stays_until_it_is_silent() -> None:
    """The host has another address family now, or the peer one more endpoint."""
    here = wanted(endpoint="here:51820").carried_out(HERE)
    aim = replace(here, plan=PeerPlan("there:51820", frozenset(), 0, ("here:51820",)), endpoint=THERE)
    for endpoint in (HERE, LEARNED):
        assert moved(aim, endpoint, NOW) is None
        assert aim.carried_out(endpoint).given == "here:51820"
        assert moved(aim.carried_out(endpoint), endpoint, None) == THERE
        assert moved(aim, endpoint, None, now=None) is None, "the handshakes are those of some time ago"
    over = replace(aim, plan=PeerPlan("there:51820", frozenset()))
    assert moved(over, LEARNED, NOW) == moved(over, LEARNED, NOW, now=None) == THERE, "that would not do any more"
    assert over.carried_out(THERE) == replace(over, given="there:51820", given_address=THERE)
    assert aim.carried_out(THERE).given == "there:51820", "its packets come from there"


def test_of_an_adopted_peer_the_name_is_as_it_is_at_the_first_look() -> None:
    adopted = wanted(endpoint="here:51820")
    assert moved(adopted, LEARNED, None) is None
    looked = adopted.carried_out(LEARNED)
    assert looked.given_address == HERE
    assert moved(replace(looked, endpoint=THERE), LEARNED, None) == THERE


def test_a_change_of_keepalive_alone_leaves_the_rest() -> None:
    made = changes({A: wanted(ONE, keepalive=25)}, {A: held(ONE)})
    assert made == [PeerChange(A, add=False, keepalive=25)]


def test_a_preshared_key_is_set_changed_and_taken_away_by_itself() -> None:
    def aim(key: bytes | None) -> Mapping[bytes, WantedPeer]:
        return {A: resolved(PeerPlan(None, frozenset({ONE}), preshared_key=key))}

    start: Peers = {A: held(ONE)}
    for key, said in ((B, B), (C, C), (None, NO_PRESHARED_KEY)):
        made = changes(aim(key), start)
        assert made == [PeerChange(A, add=False, preshared_key=said)]
        assert repr(said) not in repr(made), "it is a secret"
        start = after(start, made)
        assert start[A].preshared_key == key
        assert changes(aim(key), start) == []
    assert changes(aim(B), {})[0].preshared_key == B


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
def plans(draw: st.DrawFn) -> dict[bytes, PeerPlan]:
    return {key: PeerPlan(draw(NAMED), networks, draw(KEEPALIVES)) for key, networks in draw(partitions()).items()}


@st.composite
def devices(draw: st.DrawFn) -> dict[bytes, PeerState]:
    endpoints = st.none() | st.sampled_from([HERE, THERE])
    return {key: PeerState(draw(endpoints), networks, draw(KEEPALIVES)) for key, networks in draw(partitions()).items()}


aims = plans().map(lambda plan: {key: resolved(peer) for key, peer in plan.items()})
Aim = dict[bytes, WantedPeer]


@given(aims, devices())
@settings(max_examples=200, deadline=None)
def test_the_changes_lead_to_the_plan_and_then_there_are_none(aim: Aim, start: Peers) -> None:
    end = after(start, changes(aim, start))
    assert {key: (peer.allowed_ips, peer.keepalive) for key, peer in end.items()} == {
        key: (peer.plan.allowed_ips, peer.plan.keepalive) for key, peer in aim.items()
    }
    assert changes(aim, end) == []


@given(aims, devices())
@settings(max_examples=200, deadline=None)
def test_nothing_is_stolen_and_nothing_kept_is_lost_on_the_way(aim: Aim, start: Peers) -> None:
    nothing_is_stolen_or_lost(aim, start, changes(aim, start))


def nothing_is_stolen_or_lost(aim: Aim, start: Peers, made: Iterable[PeerChange]) -> None:
    peers = start
    kept = {(key, network) for key, peer in aim.items() for network in peer.plan.allowed_ips} & {
        (key, network) for key, peer in start.items() for network in peer.allowed_ips
    }
    for change in made:
        others = {network for key, peer in peers.items() if key != change.key for network in peer.allowed_ips}
        assert not others & (change.allowed_ips or frozenset())
        peers = after(peers, [change])
        assert all(network in peers[key].allowed_ips for key, network in kept)


@given(aims, devices())
@settings(max_examples=100, deadline=None)
def test_a_peer_that_is_as_planned_is_not_touched(aim: Aim, start: Peers) -> None:
    touched = {change.key for change in changes(aim, start)}
    for key, peer in start.items():
        planned = aim.get(key)
        if planned and (planned.plan.allowed_ips, planned.plan.keepalive) == (peer.allowed_ips, peer.keepalive):
            assert key not in touched or peer.endpoint is None


@given(st.lists(plans(), min_size=2, max_size=5), devices(), st.data())
@settings(max_examples=200, deadline=None)
def test_the_difference_of_what_changed_is_the_whole_difference(
    course: list[dict[bytes, PeerPlan]], start: Peers, data: st.DataObject
) -> None:
    """Plan after plan on one table, which is compared at the peers that changed and perhaps some more."""
    aim: Aim = {key: resolved(peer) for key, peer in course[0].items()}
    table = PeerTable(start)
    table.advance(diff(aim, table))
    for before, plan in pairwise(course):
        given_before = {key: peer.carried_out(table.peers[key].endpoint).given for key, peer in aim.items()}
        aim = {key: resolved(peer, given_before.get(key)) for key, peer in plan.items()}
        changed = {key for key in before.keys() | plan.keys() if before.get(key) != plan.get(key)}
        # Those whose name did not resolve are never done with.
        changed |= {key for key, peer in plan.items() if peer.endpoint is not None and aim[key].endpoint is None}
        keys = changed | data.draw(st.sets(KEYS))
        made, whole = diff(aim, table, keys), diff(aim, PeerTable(dict(table.peers)))
        assert sorted(made, key=repr) == sorted(whole, key=repr)
        nothing_is_stolen_or_lost(aim, dict(table.peers), made)
        expected = after(table.peers, whole)
        table.advance(made)
        assert table.peers == expected
        assert vars(table) == vars(PeerTable(table.peers))
