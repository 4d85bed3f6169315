"""The small parts: leader, homes, dials, duplicate links, the roster."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import msgspec
import pytest

from gossip_members import Members, key, node, one_address
from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.held import MapKind
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.record import Kind, Record, sign_record
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.certificates import Certificates, Waiting
from smegmesh.gossip.client import HomeChoice
from smegmesh.gossip.codec import Slot
from smegmesh.gossip.dialling import Dialler, Wish
from smegmesh.gossip.directory import Directory
from smegmesh.gossip.durability import Durability
from smegmesh.gossip.flood import Flood
from smegmesh.gossip.homes import Preference, choose
from smegmesh.gossip.leader import Leadership
from smegmesh.gossip.links import Link, Links
from smegmesh.gossip.liveness import Judgement
from smegmesh.gossip.membership import Membership
from smegmesh.gossip.publishing import Publisher, Standing
from smegmesh.gossip.replica import OWN, Change, Replica
from smegmesh.gossip.roster import Roster
from smegmesh.gossip.settings import Settings
from smegmesh.gossip.sharing import Owners, Sharing
from smegmesh.gossip.topology import Topology
from smegmesh.gossip.view import Liveness
from smegmesh.simulation.credentials import authority, credentials, node_key

_A, _B, _C, _D = (bytes([number]) * 32 for number in (1, 2, 3, 4))


# Leader


def test_the_lowest_live_key_leads() -> None:
    leadership = Leadership(_C, 60, 10)
    assert leadership.elect([_A, _B, _C], lambda key: key != _A, 0) == _B
    assert leadership.elect([_A, _B, _C], lambda key: True, 1) == _A
    assert leadership.elect([], lambda key: True, 2) is None


def test_a_leader_unheard_for_three_heartbeats_is_passed_over_for_ten() -> None:
    leadership = Leadership(_C, 60, 10)
    leadership.elect([_A, _B, _C], lambda key: True, 0)
    leadership.heard(_A, 100)
    assert leadership.elect([_A, _B, _C], lambda key: True, 279) == _A
    assert leadership.next_timer() == 280
    assert leadership.elect([_A, _B, _C], lambda key: True, 280) == _B
    leadership.heard(_B, 400)
    assert leadership.elect([_A, _B, _C], lambda key: True, 500) == _B
    leadership.heard(_B, 700)
    leadership.heard(_B, 860)
    assert leadership.elect([_A, _B, _C], lambda key: True, 881) == _A


def test_the_only_peer_leads_even_if_unheard() -> None:
    leadership = Leadership(_C, 60, 10)
    leadership.elect([_A], lambda key: True, 0)
    assert leadership.elect([_A], lambda key: True, 200) == _A
    assert leadership.next_timer() > 200, "and is not looked at again before it could be heard"


def test_only_a_leader_refreshes_once_a_heartbeat() -> None:
    leadership = Leadership(_A, 60, 10)
    leadership.elect([_A, _B], lambda key: True, 0)
    assert not leadership.refresh_due(1), "at a start everybody leads for a moment"
    assert leadership.refresh_due(5)
    assert not leadership.refresh_due(64)
    assert leadership.refresh_due(65)
    leadership.elect([_B], lambda key: True, 66)
    assert not leadership.refresh_due(200)


# Homes


def test_a_preference_is_a_fixed_order_that_a_loss_does_not_shuffle() -> None:
    peers = [_B, _D]
    preference = Preference(_A, lambda: peers)
    assert sorted(preference) == [_B, _D]
    for _ in range(2):
        peers = [_B, _C, _D]
        preference.put(_C, True)
    order = list(preference)
    assert sorted(order) == [_B, _C, _D]
    assert list(Preference(_A, lambda: peers)) == order, "whenever a peer came"
    peers.remove(order[1])
    preference.put(order[1], False)
    assert list(preference) == [order[0], order[2]]


@pytest.mark.parametrize(
    ("home", "backup", "kept", "taken", "chosen"),
    [
        (None, None, "", "BCD", (_B, _C)),
        (None, None, "", "D", (_D, None)),
        (None, None, "", "", (None, None)),
        (_D, _C, "CD", "BCD", (_D, _C)),
        (_D, _C, "C", "BC", (_C, _B)),
        (_D, _C, "D", "B", (_D, _B)),
        (_D, _C, "C", "", (_C, None)),
        (_D, _C, "D", "", (_D, _C)),
        (_D, _C, "", "", (_D, _C)),
        (_D, _C, "", "B", (_B, _C)),
    ],
)
def test_a_choice_ends_only_when_it_is_not_kept(
    home: bytes | None, backup: bytes | None, kept: str, taken: str, chosen: tuple[bytes | None, bytes | None]
) -> None:
    names = {"B": _B, "C": _C, "D": _D}
    keeps = {names[name] for name in kept}
    takes = {names[name] for name in taken}
    assert choose([_B, _C, _D], home, backup, keeps.__contains__, takes.__contains__) == chosen


def test_three_misses_disqualify_a_home_that_had_answered() -> None:
    choice = HomeChoice(Settings("prod"))
    assert choice.update([_B, _C], lambda key: True, lambda key: True, 0)
    choice.probed(_B, True, 1)
    for second in (2, 3):
        choice.probed(_B, False, second)
    assert not choice.unreachable
    choice.probed(_B, False, 4)
    assert choice.unreachable == {_B}
    assert choice.update([_B, _C, _D], lambda key: True, lambda key: True, 4)
    assert (choice.home, choice.backup) == (_C, _D)
    choice.update([_B, _C, _D], lambda key: True, lambda key: True, choice.next_timer())
    assert not choice.unreachable
    assert (choice.home, choice.backup) == (_C, _D)


def test_a_home_that_never_answered_gets_time_for_its_keys_and_routes() -> None:
    choice = HomeChoice(Settings("prod"))
    choice.update([_B, _C], lambda key: True, lambda key: True, 0)
    for second in range(9):
        choice.probed(_B, False, second)
    assert not choice.unreachable
    choice.probed(_B, False, 10)
    assert choice.unreachable == {_B}
    choice.probed(_B, True, 11)
    assert not choice.unreachable


# Dials


def test_pauses_double_up_to_the_longest() -> None:
    dialler = Dialler(Random(1), 10)
    wishes = {_B: Wish(("b:1",), 8)}
    now, pauses = 0.0, []
    dialler.wish(wishes, now)
    for _ in range(10):
        ((dial, target, addresses),) = dialler.due(now)
        assert (target, addresses) == (_B, ("b:1",))
        assert list(dialler.due(now)) == [], "one dial at a time"
        assert dialler.failed(dial, now) == _B
        pauses.append(dialler.next_timer() - now)
        now = dialler.next_timer()
    assert all(0.25 <= pause / min(8, 0.5 * 2**n) / 0.5 * 0.25 <= 0.5 for n, pause in enumerate(pauses))
    assert max(pauses) <= 8


def test_a_dial_that_nobody_answers_for_has_failed() -> None:
    dialler = Dialler(Random(1), 10)
    dialler.wish({_B: Wish(("b:1",), 8)}, 0)
    assert len(list(dialler.due(0))) == 1
    assert not dialler.struggles(_B, 3, 2.9)
    assert dialler.struggles(_B, 3, 3)
    assert dialler.next_timer() == 10
    assert list(dialler.due(10)) == []
    assert len(list(dialler.due(dialler.next_timer()))) == 1


def test_who_says_something_new_is_dialled_without_the_pause_of_those_who_fail() -> None:
    dialler = Dialler(Random(1), 10)
    dialler.wish({_B: Wish(("b:1",), 8), _C: Wish(("c:1",), 8)}, 0)
    now = 0.0
    for _ in range(8):
        for dial, _target, _addresses in list(dialler.due(now)):
            dialler.failed(dial, now)
        now = dialler.next_timer()
    ((dial, _target, _addresses),) = dialler.due(now)
    dialler.failed(dial, now)
    now += 0.01
    dialler.fresh(_B, now)
    ((dial, target, _addresses),) = dialler.due(now)
    assert target == _B, "the other one waits on"
    dialler.fresh(_B, now + 1)
    assert list(dialler.due(now + 1)) == [], "one dial at a time"
    dialler.failed(dial, now + 3)
    assert dialler.struggles(_B, 3, now + 3), "that it lives does not say that it is in reach"
    dialler.wish({_B: Wish(("b:1",), 8)}, now + 3)
    assert dialler.next_timer() <= now + 4, "what failed had begun before"


def test_who_cannot_be_dialled_and_always_says_something_new_is_not_dialled_all_the_time() -> None:
    dialler = Dialler(Random(1), 10)
    dialler.wish({_B: Wish(("b:1",), 300)}, 0)
    dials = 0
    for tenth in range(1200):
        now = tenth / 10
        dialler.fresh(_B, now)
        for dial, _target, _addresses in list(dialler.due(now)):
            dialler.failed(dial, now)
            dials += 1
    assert dials < 120 / 8 * 6, "each time it is tried for a moment"


def test_a_link_that_lasted_is_dialled_again_at_once_one_that_did_not_later() -> None:
    dialler = Dialler(Random(1), 10)
    wishes = {_B: Wish(("b:1",), 8)}
    dialler.wish(wishes, 0)
    ((dial, _, _),) = dialler.due(0)
    assert dialler.succeeded(_B, dial, 0) == _B
    dialler.lost(_B, 0.1, 0.1)
    assert list(dialler.due(0.1)) == []
    ((dial, _, _),) = dialler.due(1)
    dialler.succeeded(_B, dial, 1)
    dialler.lost(_B, 60, 61)
    assert len(list(dialler.due(61))) == 1


def test_the_only_bootstrap_dial_under_way_is_the_one_that_led_somewhere() -> None:
    dialler = Dialler(Random(1), 10)
    dialler.wish({"a:1": Wish(("a:1",), 8)}, 0)
    list(dialler.due(0))
    assert dialler.succeeded(_B, None, 0) == "a:1"
    dialler.wish({"b:1": Wish(("b:1",), 8), "c:1": Wish(("c:1",), 8)}, 1)
    dials = {target: dial for dial, target, _ in dialler.due(1)}
    assert dialler.succeeded(_C, None, 1) is None
    assert dialler.succeeded(_C, dials["c:1"], 1) == "c:1"


# Whom to dial


def test_of_the_dead_that_are_nobodys_neighbours_two_at_a_time_are_dialled() -> None:
    members = Members()
    names = [f"p{number}" for number in range(24)]
    for name in names:
        members.put(name, links=(f"{name}.example:4000",))
    neighbours = members.judgement.neighbours(key("p0"), live=False)
    far = {key(name) for name in names if key(name) not in neighbours | {key("p0")}}
    dead = set(sorted(far)[::2])
    for name in names:
        if key(name) not in dead:
            members.accuse(name, {of: Accusation(1) for of in dead})
    members.judgement.update()
    assert members.judgement.down == dead
    near = members.judgement.neighbours(key("p0"), live=True) | members.judgement.observed(key("p0")) | neighbours
    dead -= near
    assert len(dead) > 4
    own = members.map.members[key("p0")].entry
    topology = Topology(
        Settings("prod"),
        key("p0"),
        members.map,
        members.directory,
        members.judgement,
        Links(key("p0")),
        Dialler(Random(1), 10),
        Random(1),
        lambda _key: False,
    )
    dialled: set[bytes] = set()
    for _ in range(200):
        wishes = topology.wishes(own, 0).keys()
        assert wishes >= near
        turn = wishes - near
        assert len(turn) == 2
        assert turn <= dead
        assert topology.wishes(own, 0).keys() == wishes, "each as long as its dial takes"
        dialled |= turn
        topology.dialled(min(turn))
        assert max(turn) in topology.wishes(own, 0)
    assert dialled == dead, "each has its turn"


# Links


def _link(number: int, other: str, dialled: bool, instance: bytes = b"instance") -> Link:
    return Link(number, node_key(other), credentials(other).certificate, dialled, 0, 0, instance)


def test_both_sides_close_the_same_one_of_two_links() -> None:
    low, high = sorted(("p0", "p1"), key=node_key)
    at_low, at_high = Links(node_key(low)), Links(node_key(high))
    by_low = _link(1, high, True), _link(11, low, False)
    by_high = _link(2, high, False), _link(12, low, True)
    assert at_low.settle(by_low[0]) is None
    assert at_low.settle(by_high[0]) is by_high[0]
    assert at_high.settle(by_high[1]) is None
    assert at_high.settle(by_low[1]) is by_high[1], "in the other order too"
    assert at_low.to(node_key(high)) is by_low[0]
    assert at_high.to(node_key(low)) is by_low[1]


def test_a_node_that_dialled_again_or_started_anew_has_lost_the_older_link() -> None:
    low, high = sorted(("p0", "p1"), key=node_key)
    links = Links(node_key(low))
    first, again, anew = _link(1, high, True), _link(2, high, True), _link(3, high, False, b"restart!")
    links.settle(first)
    assert links.settle(again) is first
    assert links.settle(anew) is again


# Waiting for certificates


def test_news_goes_at_once_and_in_ever_fewer_frames_while_there_is_more() -> None:
    flood, link = Flood(0.005, 0.16), _link(1, "p1", True)
    members = Members()
    members.put("a")
    held = members.map.get(key("a"))
    assert held is not None
    assert held.entry is not None
    news = Change(OWN, Slot(MapKind.ENTRY, key("a")), held.entry, None, held, None)
    sent: list[float] = []
    for millisecond in range(1000):
        flood.news(news, [link])
        now = 10 + millisecond / 1000
        sent += [now for _link, _items in flood.due([link], now)]
    pauses = [later - earlier for earlier, later in pairwise(sent)]
    assert sent[0] == 10, "the first at once"
    assert pauses[:6] == pytest.approx([0.005, 0.01, 0.02, 0.04, 0.08, 0.16])
    assert pauses[6:] == pytest.approx([0.16] * len(pauses[6:]), abs=0.002)
    flood.news(news, [link])
    assert flood.next_timer([link]) == pytest.approx(sent[-1] + 0.16)
    assert len(list(flood.due([link], sent[-1] + 0.4))) == 1, "after a calm moment at once"
    flood.news(news, [link])
    assert flood.next_timer([link]) == pytest.approx(sent[-1] + 0.4 + 0.005)


def test_what_waits_is_bounded() -> None:
    waiting: Waiting[int] = Waiting(3 * 100_000)
    for number in range(5):
        waiting.put(bytes([number // 2]), bytes([number]), 90_000, number)
    waiting.put(b"\x02", b"\x04", 90_000, 44)
    assert len(waiting) == 3
    assert waiting.take(b"\x00") == []
    assert waiting.take(b"\x01") == [2, 3]
    assert waiting.take(b"\x02") == [44]
    assert len(waiting) == 0


# What a node says of others


def _membership(settings: Settings) -> tuple[Membership, Publisher, list[Kind]]:
    """What p0 says, with what it said so far."""
    own = credentials("p0")
    mesh = MeshMap("prod")
    replica = Replica(mesh, Certificates(authority(), mesh, Owners()), authority(), Sharing())
    replica.certificates.add(own.certificate)
    publisher = Publisher(own.identity, own.certificate, mesh, b"instance", 0)
    said: list[Kind] = []

    def say(record: Record) -> None:
        said.append(record.kind)
        assert isinstance(replica.take(record), Change)

    membership = Membership(
        settings,
        publisher,
        mesh,
        Judgement(mesh, Directory(3, ())),
        lambda key: False,
        say,
        lambda kind, text: None,
    )
    membership.declare(Entry(name="p0", role=Role.PEER, tunnel_key=node_key("p0")))
    publisher.become(Standing.MEMBER)
    return membership, publisher, said


def test_a_verdict_waits_for_the_pause_after_the_last_and_for_nothing_once_the_node_has_stopped() -> None:
    membership, publisher, said = _membership(Settings("prod", retract_pause=0.2))
    down = {_B: Accusation(1)}
    for accused, now, expected, timer in (
        ({}, 10.0, [Kind.ENTRY], float("inf")),
        (down, 10.0, [Kind.VERDICT], float("inf")),
        ({}, 10.1, [], 10.2),
        (down, 10.15, [], float("inf")),  # as it was said
        ({}, 10.19, [], 10.2),
        ({}, 10.2, [Kind.VERDICT], float("inf")),
        (down, 10.3, [], 10.4),
    ):
        said.clear()
        membership.publish(accused, renew=False, now=now)
        assert said == expected
        assert membership.next_timer() == pytest.approx(timer)
    publisher.become(Standing.STOPPED)
    membership.publish(down, renew=False, now=10.4)
    assert said == []
    assert membership.next_timer() == float("inf")


def test_a_verdict_that_only_takes_back_waits_a_second_and_one_that_accuses_anew_does_not() -> None:
    membership, _publisher, said = _membership(Settings("prod"))
    one, both, another = {_B: Accusation(1)}, {_B: Accusation(1), _C: Accusation(1)}, {_D: Accusation(1)}
    for accused, now, expected, timer in (
        ({}, 10.0, [Kind.ENTRY], float("inf")),
        (both, 10.0, [Kind.VERDICT], float("inf")),
        (one, 10.3, [], 11.0),
        ({}, 10.99, [], 11.0),
        ({}, 11.0, [Kind.VERDICT], float("inf")),
        (both, 11.2, [Kind.VERDICT], float("inf")),
        ({}, 11.3, [], 12.2),
        (another, 11.4, [Kind.VERDICT], float("inf")),  # what it takes back goes along
        ({_D: Accusation(2)}, 11.5, [], 11.6),  # it answered, and is accused anew
        ({_D: Accusation(2)}, 11.6, [Kind.VERDICT], float("inf")),
        ({}, 12.59, [], 12.6),
        ({}, 12.6, [Kind.VERDICT], float("inf")),
    ):
        said.clear()
        membership.publish(accused, renew=False, now=now)
        assert said == expected, now
        assert membership.next_timer() == pytest.approx(timer)


# What becomes durable


def test_what_is_to_be_written_is_a_mapping_as_of_the_moment_it_was_taken() -> None:
    own = credentials("p0")
    body = encode_entry(Entry(name="p0", role=Role.PEER, tunnel_key=node_key("p0")))
    mesh = MeshMap("prod")
    replica, durability = (
        Replica(mesh, Certificates(authority(), mesh, Owners()), authority(), Sharing()),
        Durability(0.25),
    )
    replica.certificates.add(own.certificate)
    slot = bytes([MapKind.ENTRY]) + node_key("p0")
    taken = []
    for number in (1, 2):
        record = sign_record(
            own.identity, Kind.ENTRY, "prod", node_key("p0"), number, b"instance", own.certificate.fingerprint, body
        )
        change = replica.take(record)
        assert isinstance(change, Change)
        durability.changed(change, 10.0)
        assert durability.next_timer() == 10.25
        event = durability.take(number)
        assert event.number == number
        assert durability.next_timer() == float("inf")
        taken.append((event.records, msgspec.msgpack.encode(record.triple)))
    for records, content in taken:
        assert len(records) == 1
        assert dict(records) == {slot: content}
        assert slot in records
        assert bytes([MapKind.REMOVAL]) + node_key("p0") not in records


# Roster


def _roster(members: Members) -> Roster:
    return Roster(key("p0"), members.map, members.directory, members.judgement)


def test_of_two_with_one_address_the_lower_key_has_it_in_any_order() -> None:
    low, high = sorted(("p1", "p2"), key=key)
    with one_address(low, high):
        for names in ((low, high), (high, low)):
            members = Members()
            for name in ("p0", *names):
                members.put(name)
            assert set(_roster(members).view().members) == {key("p0"), key(low)}
            assert members.directory.collision(key(names[1]), members.map.tree) == (key(low), key(high))
            members.remove(low)
            assert set(_roster(members).view().members) == {key("p0"), key(high)}
            members.put(low)
            assert set(_roster(members).view().members) == {key("p0"), key(low)}


def test_a_view_is_made_anew_only_after_a_change() -> None:
    members = Members()
    members.put("p0")
    members.put("p1")
    roster = _roster(members)
    assert roster.took_change()
    view = roster.view()
    assert roster.view() is view
    members.map.merge_verdict(node("p1").accuses(2))
    assert roster.view().digest == members.map.root != view.digest
    assert roster.view().members is view.members
    assert not roster.took_change()
    members.accuse("p0", {key("p1"): Accusation(1)})
    assert members.judgement.update() == {key("p1")}
    roster.touch()
    assert roster.took_change()
    assert roster.view().members[key("p1")].liveness is Liveness.DOWN
    assert view.members[key("p1")].liveness is Liveness.ALIVE, "a view is a value"


def test_who_leads_and_whom_the_node_cannot_reach_are_a_change_of_the_view() -> None:
    members = Members()
    members.put("p0")
    roster = _roster(members)
    for change in (lambda: roster.lead(key("p0")), lambda: roster.disqualify(frozenset({key("p1")}))):
        roster.took_change()
        view = roster.view()
        change()
        assert roster.took_change()
        assert roster.view() != view
        change()
        assert not roster.took_change(), "the same again is none"
    assert roster.view().leader == key("p0")
    assert roster.view().unreachable == {key("p1")}
