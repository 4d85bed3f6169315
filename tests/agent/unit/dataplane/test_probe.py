"""When pings go out and when they are missed, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address

import pytest

from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.probe import Prober, encode_echo

_A, _B = (b"a" * 32, IPv6Address("fd00::a")), (b"b" * 32, IPv6Address("fd00::b"))


class Clocked(asyncio.SelectorEventLoop):
    """A loop whose time passes at once: instead of waiting for a timer it goes there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        select = self._selector.select

        def at_once(timeout: float | None) -> object:
            self.now += timeout or 0.0
            return select(0)

        self._selector.select = at_once

    def time(self) -> float:
        return self.now


class Scene:
    """A prober whose echoes go nowhere; hosts answer as a test says."""

    def __init__(self, loop: Clocked) -> None:
        self.loop = loop
        self.sent: list[tuple[float, str]] = []
        self.heard: list[tuple[float, str, bool]] = []
        self.answers: dict[IPv6Address, float] = {}  # seconds that an answer takes, of those who answer
        self.prober = Prober("smeg-prod", self._note)
        self.prober._send = self._send

    def _send(self, sequence: int, address: IPv6Address) -> None:
        self.sent.append((self._since(), str(address)))
        if address in self.answers:
            reply = b"\x81" + encode_echo(self.prober._identifier, sequence)[1:]
            self.loop.call_later(self.answers[address], self.prober._answered, reply, address)

    def _note(self, key: bytes, answered: bool, sent: float) -> None:
        assert (round(sent - 100, 3), str(dict((_A, _B))[key])) in self.sent
        self.heard.append((self._since(), key[:1].decode(), answered))

    def _since(self) -> float:
        return round(self.loop.now - 100, 3)

    def run(self, *steps: tuple[float, Callable[[], None]], until: float) -> None:
        """Do each step at its time."""
        for time, step in steps:
            self.loop.call_at(100 + time, step)
        self.loop.run_until_complete(asyncio.sleep(until))


@pytest.fixture
def scene() -> Iterator[Scene]:
    loop = Clocked()
    made = Scene(loop)
    yield made
    loop.call_soon(made.prober.close)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_a_silent_host_is_missed_three_times_within_two_seconds(scene: Scene) -> None:
    scene.run((0, lambda: scene.prober.watch([_A], 0.5)), until=2.2)
    assert [time for time, _address in scene.sent] == [0, 0.5, 1, 1.5, 2]
    assert scene.heard == [(1, "a", False), (1.5, "a", False), (2, "a", False)]


def test_each_echo_is_answered_or_missed_once(scene: Scene) -> None:
    scene.answers = {_A[1]: 0.7, _B[1]: 1.2}
    scene.run(
        (0, lambda: scene.prober.watch([_A, _B], 0.5)),
        (0.9, lambda: scene.prober.watch([], 0.5)),
        until=5,
    )
    assert scene.heard == [(0.7, "a", True)]
    scene.heard.clear()
    scene.run(
        (5, lambda: scene.prober.watch([_A, _B], 5)),
        until=4,
    )
    assert scene.heard == [(5.7, "a", True), (6, "b", False)]


def test_who_is_new_is_pinged_at_once_and_the_others_in_their_rhythm(scene: Scene) -> None:
    scene.run(
        (0, lambda: scene.prober.watch([_A], 1)),
        (0.3, lambda: scene.prober.watch([_A, _B], 1)),
        (0.6, lambda: scene.prober.watch([_A, _B], 1)),
        (1.5, lambda: scene.prober.watch([_B], 1)),
        until=2.2,
    )
    assert sorted(scene.sent) == sorted(
        [(0, "fd00::a"), (0.3, "fd00::b"), (1, "fd00::a"), (1, "fd00::b"), (2, "fd00::b")]
    )
    assert not any(who == "a" for time, who, _answered in scene.heard if time > 1.5), "of whom nobody asks any more"


def test_another_pause_holds_from_the_next_round_on(scene: Scene) -> None:
    scene.run(
        (0, lambda: scene.prober.watch([_A], 1)),
        (1.25, lambda: scene.prober.watch([_A], 0.5)),
        until=2.9,
    )
    assert [time for time, _address in scene.sent] == [0, 1, 1.75, 2.25, 2.75]


def test_an_answer_from_elsewhere_is_none(scene: Scene) -> None:
    scene.run((0, lambda: scene.prober.watch([_A], 5)), until=0.1)
    reply = b"\x81" + encode_echo(scene.prober._identifier, scene.prober._sequence)[1:]
    scene.prober._answered(reply, _B[1])
    assert scene.heard == []
    scene.prober._answered(reply, _A[1])
    scene.prober._answered(reply, _A[1])
    assert scene.heard == [(0.1, "a", True)]


def test_who_may_not_probe_stops(scene: Scene) -> None:
    def refuse(sequence: int, address: IPv6Address) -> None:
        raise PlaneError("needs CAP_NET_RAW")

    def watch() -> None:
        with pytest.raises(PlaneError):
            scene.prober.watch([_A, _B], 0.5)

    scene.prober._send = refuse
    scene.run((0, watch), until=5)
    assert scene.heard == []
