"""Exits in use, whom their misses are blamed on: pings are the test's."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from pings import Pings

from smegmesh.daemon import exits
from smegmesh.daemon.exits import UsedExits
from smegmesh.routing.probation import MISSES

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))
ADDRESSES = {key: IPv6Address(f"fd00::{key[0]}") for key in (ONE, TWO, THREE)}


class Scene:
    """ONE is in use, the others could be."""

    def __init__(self) -> None:
        self.now = 0.0
        self.changes: list[tuple[bytes, bool]] = []
        self.used = UsedExits(
            "smeg-a", lambda key, reached: self.changes.append((key, reached)), lambda: None, lambda: self.now
        )
        self.used.watch({ONE: ADDRESSES[ONE]}, ADDRESSES)
        pings = self.used._prober
        assert isinstance(pings, Pings)
        self.pings = pings

    def round(self, **answers: bool) -> None:
        """Half a second passes, and these are answered or not."""
        self.now += 0.5
        for name, answered in answers.items():
            self.pings.answer({"one": ONE, "two": TWO, "three": THREE}[name], answered, 0.0)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(exits, "Prober", Pings)
    return Scene()


def test_others_are_pinged_while_one_does_not_answer(scene: Scene) -> None:
    assert scene.pings.targets == {ONE}
    scene.round(one=False)
    assert scene.pings.targets == {ONE, TWO, THREE}
    scene.round(one=True)
    assert scene.pings.targets == {ONE}


def test_the_doubt_ends_with_the_use(scene: Scene) -> None:
    scene.round(one=False)
    scene.used.watch({TWO: ADDRESSES[TWO]}, ADDRESSES)
    assert scene.pings.targets == {TWO}


def test_it_is_passed_over_when_another_answers(scene: Scene) -> None:
    for _ in range(MISSES):
        scene.round(one=False, two=True, three=False)
    assert scene.changes == [(ONE, False)]
    assert scene.used.unreachable == {ONE}


def test_it_is_not_when_nobody_answers(scene: Scene) -> None:
    for _ in range(MISSES + 5):
        scene.round(one=False, two=False, three=False)
    scene.round(one=True, two=True, three=True)
    scene.round(one=False)
    assert scene.changes == []
    assert scene.used.unreachable == frozenset()
