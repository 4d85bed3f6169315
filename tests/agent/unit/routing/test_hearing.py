"""Whether what a host finds of others counts, or may be its own outage."""

from __future__ import annotations

from smegmesh.routing.hearing import Hearing


def test_what_is_found_counts_while_somebody_talks() -> None:
    hearing = Hearing(100.0)
    assert not any(hearing.heard(now) for now in (101.0, 102.0, 104.0))
    assert hearing.due(106.0) is None


def test_a_host_that_hears_nobody_waits_until_all_can_be_found_again() -> None:
    hearing = Hearing(100.0)
    assert hearing.due(102.5) == hearing.due(110.0) == 160.0
    assert hearing.heard(110.0)
    assert not hearing.heard(110.5), "the silence ended once"
    assert hearing.due(110.5) == 113.0
    assert not hearing.heard(112.0)
    assert hearing.due(112.9) == 113.0
    assert hearing.due(113.0) is None


def test_after_a_minute_the_others_are_taken_to_be_down() -> None:
    hearing = Hearing(100.0)
    assert hearing.due(160.0) is None
    assert not hearing.heard(170.0), "nothing was held, so nothing is to be found again first"
    assert hearing.due(170.0) is None
