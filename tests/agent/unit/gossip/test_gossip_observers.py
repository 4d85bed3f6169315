"""What an observer finds, by silence, lost links, dials and the tunnel."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.record import Kind, Record, sign_record
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.observers import Observers, State
from smegmesh.gossip.settings import Settings
from smegmesh.simulation.credentials import credentials, node_key

_KEY = node_key("p0")


def _entry(number: int = 5, instance: bytes = b"instance") -> Record:
    own = credentials("p0")
    body = encode_entry(Entry(name="p0", role=Role.PEER, tunnel_key=_KEY))
    return sign_record(own.identity, Kind.ENTRY, "prod", _KEY, number, instance, own.certificate.fingerprint, body)


@pytest.fixture
def observers() -> Observers:
    """Observes p0, heard at 0."""
    observers = Observers(Settings("prod"))
    observers.observe(_KEY, _entry(), 0, None, 0)
    return observers


def _down(number: int = 5) -> dict[bytes, Accusation]:
    return {_KEY: Accusation(number)}


def _mute(number: int = 5) -> dict[bytes, Accusation]:
    return {_KEY: Accusation(number, mute=True)}


def _at(observers: Observers, now: float) -> dict[bytes, Accusation]:
    observers.step(now)
    return observers.accused()


def test_three_probes_in_a_row_unanswered_are_down(observers: Observers) -> None:
    assert observers.to_probe() == frozenset()
    assert observers.next_timer() == 1.4
    observers.probed(_KEY, False)
    assert _at(observers, 1.39) == {}
    assert observers.to_probe() == frozenset()
    assert _at(observers, 1.4) == {}
    assert observers.to_probe() == {_KEY}
    for now in (2.4, 2.9):
        observers.probed(_KEY, False)
        assert _at(observers, now) == {}, "two may be lost by chance, and one that came before is of no account"
    observers.probed(_KEY, False)
    assert _at(observers, 3.4) == _down()
    assert observers.heard(_KEY, 4)
    assert observers.accused() == {}
    assert not observers.heard(_KEY, 5)


def test_an_answer_between_misses_starts_the_count_anew(observers: Observers) -> None:
    observers.step(1.4)
    for answered in (False, False, True, False, False):
        observers.probed(_KEY, answered)
    assert _at(observers, 2.9) == {}
    assert _at(observers, 3) == {}, "two misses are not enough"
    observers.probed(_KEY, False)
    assert _at(observers, 3.4) == _down()


def test_who_was_late_makes_the_observer_slow_for_a_while(observers: Observers) -> None:
    observers.linked(_KEY, 0)
    assert observers.pace == 1
    observers.heard(_KEY, 1.3)
    assert observers.pace == 1, "that was in time"
    observers.step(2.8)
    observers.heard(_KEY, 3.3)
    assert observers.pace == pytest.approx(2), "patience for three times as long as it took"
    observers.step(6.0)
    assert observers.to_probe() == frozenset()
    observers.step(6.2)
    assert observers.to_probe() == {_KEY}
    observers.heard(_KEY, 100)
    assert observers.pace == 6, "there is a limit"
    observers.step(1000)
    assert observers.pace == pytest.approx(1, abs=0.01), "it was long ago"


def test_silence_is_down_where_no_probe_says_anything(observers: Observers) -> None:
    observers.step(1.4)
    assert observers.next_timer() == 4.5
    assert _at(observers, 4.49) == {}
    assert _at(observers, 4.5) == _down()


def test_an_answer_through_the_tunnel_makes_it_mute(observers: Observers) -> None:
    observers.step(2)
    observers.probed(_KEY, True)
    assert observers.next_timer() == 15
    assert _at(observers, 14.99) == {}, "a slow path is no dead agent"
    assert _at(observers, 15) == _mute()


def test_mute_ends_with_the_host_or_after_ten_minutes(observers: Observers) -> None:
    observers.step(2)
    observers.probed(_KEY, True)
    observers.step(3)
    for _ in range(2):
        observers.probed(_KEY, False)
    assert _at(observers, 15) == _mute()
    observers.probed(_KEY, False)
    assert _at(observers, 16) == _down()
    observers.probed(_KEY, True)
    assert _at(observers, 17) == _mute()
    assert _at(observers, 616.9) == _mute()
    assert _at(observers, 617) == _down()
    observers.probed(_KEY, True)
    assert _at(observers, 700) == _down(), "it had its ten minutes"
    observers.linked(_KEY, 701)
    assert observers.accused() == {}


def test_a_lost_link_that_cannot_be_dialled_again_does_not_wait_for_the_patience(observers: Observers) -> None:
    observers.lost(_KEY, 0.1)
    observers.dial_failed(_KEY)
    assert _at(observers, 0.2) == {}, "the tunnel has not been asked yet"
    observers.probed(_KEY, False)
    assert _at(observers, 1.1) == {}, "one may be lost by chance"
    observers.probed(_KEY, False)
    assert _at(observers, 2.1) == _down()


def test_a_dead_agent_on_a_live_host_is_never_down_first(observers: Observers) -> None:
    observers.lost(_KEY, 0.1)
    observers.dial_failed(_KEY)
    observers.probed(_KEY, True)
    assert _at(observers, 1) == _mute()


def test_who_cannot_be_dialled_has_the_patience_to_come_back() -> None:
    observers = Observers(Settings("prod"))
    observers.observe(_KEY, _entry(), 0, None, 0, dialable=False)
    observers.heard(_KEY, 9.9)
    observers.lost(_KEY, 10)
    observers.step(10)
    observers.probed(_KEY, True)
    assert observers.next_timer() == 13
    assert _at(observers, 12.9) == {}
    assert _at(observers, 13) == _mute()


def test_a_failed_dial_beside_a_link_that_stands_is_no_sign(observers: Observers) -> None:
    observers.step(1.5)
    observers.dial_failed(_KEY)
    observers.probed(_KEY, False)
    assert _at(observers, 2.9) == {}


def test_own_lateness_accuses_nobody(observers: Observers) -> None:
    observers.doubt(10)
    assert _at(observers, 10) == {}
    assert _at(observers, 14.4) == {}
    assert _at(observers, 14.5) == _down()


def test_an_announced_restart_has_its_grace(observers: Observers) -> None:
    observers.away(_KEY, 100, 1)
    assert not observers.heard(_KEY, 1.1), "a last word on the old link"
    observers.lost(_KEY, 1.2)
    observers.dial_failed(_KEY)
    observers.probed(_KEY, True)
    assert _at(observers, 20.9) == {}
    assert _at(observers, 21) == _mute(), "twenty seconds at most, whatever it asked for"


def test_who_is_back_within_the_grace_was_never_away(observers: Observers) -> None:
    observers.away(_KEY, 20, 1)
    observers.lost(_KEY, 1.2)
    observers.linked(_KEY, 5)
    assert observers.state(_KEY) is State.REACHED
    assert _at(observers, 7.9) == {}


@pytest.mark.parametrize(("presumed", "expected"), [(State.DOWN, _down), (State.MUTE, _mute), (None, dict)])
def test_a_new_observer_takes_over_what_is_found(
    presumed: State | None, expected: Callable[[], dict[bytes, Accusation]]
) -> None:
    observers = Observers(Settings("prod"))
    observers.observe(_KEY, _entry(), None, presumed, 0)
    assert observers.accused() == expected()
    observers.heard(_KEY, 1)
    assert observers.accused() == {}


def test_a_new_number_is_accused_only_after_another_patience(observers: Observers) -> None:
    observers.step(1.4)
    assert _at(observers, 4.5) == _down(5)
    observers.observe(_KEY, _entry(6), None, State.DOWN, 5)
    assert _at(observers, 7.9) == _down(5), "void, and not worth a new verdict"
    assert observers.next_timer() == 8
    assert _at(observers, 8) == _down(6)


def test_a_new_instance_gets_a_new_chance_at_once(observers: Observers) -> None:
    assert _at(observers, 4.5) == _down(5)
    observers.observe(_KEY, _entry(6, b"restart!"), None, State.DOWN, 5)
    assert observers.accused() == {}
    assert _at(observers, 9.4) == {}
    assert _at(observers, 9.5) == _down(6)


def test_who_is_observed_no_more_is_not_accused(observers: Observers) -> None:
    assert _at(observers, 4.5) == _down()
    observers.forget(_KEY)
    assert observers.accused() == {}
    assert observers.next_timer() == float("inf")
    assert not observers.heard(_KEY, 4)
