"""Verdicts in quarantine wait as long as they are told, and hardly longer."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.quarantine import Quarantine

SECONDS = 10.0
SLACK = 0.5

pauses = st.lists(st.floats(0.0, 2.0), min_size=1, max_size=40)


def verdict(number: int) -> Mapping[bytes, Accusation]:
    return {b"accused": Accusation(number, False)}


def writer(number: int) -> bytes:
    return number.to_bytes(4, "big")


@given(pauses)
def test_each_waits_its_time_and_half_a_second_more_at_most(waits: list[float]) -> None:
    quarantine, now = Quarantine(SECONDS), 0.0
    began: dict[bytes, float] = {}

    def release(now: float) -> None:
        for key, _said in quarantine.due(now):
            assert SECONDS - 1e-9 <= now - began.pop(key) <= SECONDS + SLACK + 1e-9

    for number, pause in enumerate(waits):
        while quarantine.next_timer() <= now + pause:
            release(quarantine.next_timer())
        now += pause
        quarantine.put(writer(number), verdict(number), now)
        began[writer(number)] = now
    while began:
        release(quarantine.next_timer())
    assert len(quarantine) == 0
    assert quarantine.next_timer() == float("inf")


def test_a_verdict_that_is_repeated_goes_on_waiting_from_when_it_began() -> None:
    quarantine = Quarantine(SECONDS)
    quarantine.put(b"one", verdict(1), 0.0)
    quarantine.put(b"one", verdict(2), 8.0)
    assert quarantine.get(b"one") == verdict(2)
    assert list(quarantine.due(SECONDS)) == [(b"one", verdict(2))]
    assert quarantine.get(b"one") == {}


def test_one_that_is_dropped_and_put_again_waits_anew() -> None:
    quarantine = Quarantine(SECONDS)
    quarantine.put(b"one", verdict(1), 0.0)
    quarantine.put(b"other", verdict(1), 0.1)
    quarantine.drop(b"one")
    quarantine.put(b"one", verdict(1), 5.0)
    assert list(quarantine.due(SECONDS + SLACK)) == [(b"other", verdict(1))]
    assert quarantine.next_timer() == 5.0 + SECONDS
    quarantine.drop(b"one")
    assert quarantine.next_timer() == float("inf")
