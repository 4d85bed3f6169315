"""Exits found out of reach, and in reach again."""

from __future__ import annotations

from smegmesh.routing.probation import ANSWERS, MISSES, Probation

ONE, TWO = b"1" * 32, b"2" * 32


def test_three_misses_in_a_row_and_ten_answers_in_a_row() -> None:
    probation = Probation()
    for _round in range(5):  # a single miss now and then is nothing
        assert [probation.probed(ONE, answered) for answered in (False, False, True)] == [False] * 3
    assert [probation.probed(ONE, False) for _ in range(MISSES)] == [False] * (MISSES - 1) + [True]
    assert probation.unreachable == {ONE}
    assert not any(probation.probed(ONE, True) for _ in range(ANSWERS - 1))
    probation.probed(ONE, False)
    assert [probation.probed(ONE, True) for _ in range(ANSWERS)] == [False] * (ANSWERS - 1) + [True]
    assert probation.unreachable == frozenset()


def test_nobody_is_passed_over_while_nobody_answers() -> None:
    probation = Probation()
    assert not any(probation.probed(ONE, False, heard=False) for _ in range(MISSES + 5))
    assert probation.doubts([ONE]) and not probation.doubts([TWO])
    assert [probation.probed(ONE, False) for _ in range(2 * MISSES)] == [False] * (2 * MISSES - 1) + [True]
    assert not probation.doubts([ONE, TWO])
    assert [probation.probed(TWO, False, heard) for heard in (False, False, True)] == [False, False, True]
    for _ in range(ANSWERS):
        probation.probed(TWO, True)
    assert not probation.doubts([ONE, TWO])
    assert not probation.probed(TWO, False), "it starts anew"


def test_who_offers_nothing_any_more_is_forgotten() -> None:
    probation = Probation()
    for key in (ONE, TWO):
        for _ in range(MISSES):
            probation.probed(key, False)
    probation.keep({TWO})
    assert probation.unreachable == {TWO}
