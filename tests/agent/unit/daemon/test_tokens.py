"""Tokens that are out: few, for a while, once."""

from __future__ import annotations

import pytest

from smegmesh.daemon.tokens import LONGEST, MOST, Tokens


def test_a_token_is_good_for_its_mesh_in_its_time_and_once() -> None:
    tokens = Tokens()
    tokens.add("prod", b"one", 60.0, 0.0)
    assert tokens.holds("prod", b"one", 59.0)
    assert not tokens.holds("office", b"one", 59.0)
    assert not tokens.holds("prod", b"other", 59.0)
    tokens.use("prod", b"one")
    assert not tokens.holds("prod", b"one", 59.0)
    tokens.add("prod", b"two", 60.0, 0.0)
    assert not tokens.holds("prod", b"two", 60.0)


def test_there_are_few_and_none_is_good_for_long() -> None:
    tokens = Tokens()
    for seconds in (0.0, -1.0, LONGEST + 1, float("nan")):
        with pytest.raises(ValueError, match="1 to 86400 seconds"):
            tokens.add("prod", b"one", seconds, 0.0)
    for number in range(MOST):
        tokens.add("prod", bytes([number]), 60.0, 0.0)
    with pytest.raises(ValueError, match="32 tokens already"):
        tokens.add("prod", b"late", 60.0, 0.0)
    tokens.add("prod", b"later", 60.0, 61.0)
