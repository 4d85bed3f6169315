"""Whether what a host finds of others counts, or may be its own outage."""

from __future__ import annotations

from smegmesh.routing.hearing import Hearing


def hearing(*heard: float, pace: float = 1.0) -> Hearing:
    made = Hearing(lambda: pace)
    for now in heard:
        made.heard(now)
    return made


def test_what_is_found_counts_while_somebody_talks() -> None:
    made = hearing(100.0)
    assert not any(made.heard(now) for now in (101.0, 102.0, 104.0))
    assert made.due(106.0) is None


def test_a_host_that_hears_nobody_waits_until_all_can_be_found_again() -> None:
    made = hearing(100.0)
    assert made.due(102.5) == made.due(110.0) == 160.0
    assert made.heard(110.0)
    assert not made.heard(110.5), "the silence ended once"
    assert made.due(110.5) == 113.0
    assert not made.heard(112.0)
    assert made.due(112.9) == 113.0
    assert made.due(113.0) is None


def test_who_asks_more_rarely_waits_longer_for_a_word() -> None:
    made = hearing(100.0, pace=3.0)
    assert made.due(105.0) is None
    assert not made.heard(105.5)
    assert made.due(112.0) == 165.5


def test_after_a_minute_the_others_are_taken_to_be_down() -> None:
    made = hearing(100.0)
    assert made.due(160.0) is None
    assert not made.heard(170.0), "nothing was held, so nothing is to be found again first"
    assert made.due(170.0) is None


def test_a_word_now_and_then_keeps_nothing_for_longer_than_a_minute() -> None:
    made = hearing(100.0)
    for now in range(103, 400, 3):
        made.heard(float(now))
        assert (made.due(now + 0.5) is None) == (now + 0.5 >= 160.0), now


def test_nobody_was_heard_yet_and_there_is_nothing_to_keep() -> None:
    made = hearing()
    assert made.due(100.0) is None
    assert not made.heard(102.5)
    assert made.due(102.6) is None
