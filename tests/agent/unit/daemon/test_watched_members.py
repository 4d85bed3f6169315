"""Whom a mesh pings, and what follows from the answers: pings are the test's."""

from __future__ import annotations

from ipaddress import IPv6Address
from types import SimpleNamespace
from typing import Any

import pytest
from pings import Pings

from named import member, view
from smegmesh.daemon import exits, health, probing
from smegmesh.daemon.exits import MeshExits
from smegmesh.daemon.health import HealthWatch
from smegmesh.daemon.probing import Probing
from smegmesh.declaration import Health

VIEW = view(member("a1"), member("b1"), member("c1"))
OWN, ONE, TWO = (next(key for key, each in VIEW.members.items() if each.entry.name == n) for n in ("a1", "b1", "c1"))
HEALTH = Health(IPv6Address("2001:db8::1"), misses=2)


class Quiet:
    """A log that nobody reads."""

    def warning(self, *_words: object) -> None:
        return

    error = warning


LOG: Any = Quiet()


class Scene:
    """A host with two others in its mesh."""

    def __init__(self, *, tunnels: bool = True) -> None:
        self.now = 100.0
        self.heard: dict[bytes, float] = {}
        self.used = frozenset({ONE})
        self.stands = True
        self.results: list[tuple[bytes, bool]] = []
        self.silent: list[bytes] = []
        self.changes: list[bool] = []
        routes = SimpleNamespace(
            heard=lambda: None, used=lambda _mesh: self.used, exits=lambda _mesh: frozenset({OWN, ONE, TWO})
        )
        self.host: Any = SimpleNamespace(
            tunnels=tunnels, clock=lambda: self.now, routes=routes, keys=SimpleNamespace(node_key=OWN)
        )

    def probing(self) -> tuple[Probing, Pings]:
        made = Probing(self.host, "smeg-a", lambda: VIEW, self.heard.get, self.probed, self.silent.append, LOG)
        return made, pings(made)

    def probed(self, key: bytes, answered: bool) -> None:
        self.results.append((key, answered))

    def watched_exits(self) -> tuple[MeshExits, Pings]:
        declaration: Any = SimpleNamespace(mesh="prod", interface="smeg-a")
        made = MeshExits(self.host, declaration, lambda: VIEW, lambda: self.stands, self.changed, LOG)
        return made, pings(made._used)

    def changed(self) -> None:
        self.changes.append(True)


def pings(owner: Any) -> Pings:
    assert isinstance(owner._prober, Pings)
    return owner._prober


@pytest.fixture(autouse=True)
def _pings_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (exits, health, probing):
        monkeypatch.setattr(module, "Prober", Pings)


async def test_who_is_doubted_and_who_is_greeted_is_pinged_and_never_the_host_itself() -> None:
    scene = Scene()
    made, pinged = scene.probing()
    made.watch(frozenset({ONE}), 1.0)
    assert pinged.targets == {ONE}
    made.greet([OWN, TWO])
    assert pinged.targets == {ONE, TWO}
    pinged.at_once.clear()
    made.greet([ONE, TWO])
    assert pinged.at_once == [ONE, TWO], "whose turn is later, too"
    pinged.answer(TWO, True, scene.now)
    pinged.answer(ONE, False, scene.now)
    assert scene.results == [(ONE, False)], "who is greeted is no matter of the engine"
    made.close()
    assert pinged.targets == set()


def test_a_session_is_begun_anew_with_who_is_heard_on_a_link_while_its_tunnel_is_silent() -> None:
    scene = Scene()
    made, pinged = scene.probing()
    made.watch(frozenset({ONE, TWO}), 1.0)
    for _ in range(5):
        scene.now += 1.0
        scene.heard[ONE] = scene.now
        pinged.answer(ONE, False, scene.now - 0.5)
        pinged.answer(TWO, False, scene.now - 0.5)
    assert scene.silent == [ONE]
    made.watch(frozenset(), 1.0)
    assert pinged.targets == {ONE, TWO}, "until they answer"
    pinged.answer(ONE, True, scene.now)
    assert pinged.targets == {TWO}


def test_exits_in_use_are_pinged_while_they_could_answer() -> None:
    scene = Scene()
    scene.stands = False
    made, pinged = scene.watched_exits()
    made.follow()
    assert pinged.targets == set()
    scene.stands = True
    made.follow()
    assert pinged.targets == {ONE}
    for _ in range(3):
        scene.now += 0.5
        pinged.answer(TWO, True, 0.0)
        pinged.answer(ONE, False, 0.0)
    assert (scene.changes, made.unreachable) == ([True], {ONE})
    scene.used = frozenset({TWO})
    made.follow()
    assert pinged.targets == {ONE, TWO}, "one that is out of reach may come back"


def test_without_tunnels_nobody_is_pinged() -> None:
    scene = Scene(tunnels=False)
    made, pinged = scene.probing()
    made.watch(frozenset({ONE}), 1.0)
    watched, used = scene.watched_exits()
    watched.follow()
    assert pinged.targets == used.targets == set()
    unfit = HealthWatch(HEALTH, lambda: None, LOG, tunnels=False, reached=False)
    unfit.start()
    assert unfit.reached


def test_a_node_is_fit_to_be_an_exit_while_its_health_target_answers() -> None:
    said: list[bool] = []
    watched = HealthWatch(HEALTH, lambda: said.append(watched.reached), LOG, tunnels=True, reached=True)
    watched.start()
    target = pings(watched._upstream)
    for answered in (False, True, False, False, False, True):
        target.answer(b"", answered, 0.0)
    assert said == [False, True]
    assert not watched.follow(HEALTH), "the same"
    for _ in range(2):
        target.answer(b"", False, 0.0)
    assert watched.follow(Health(IPv6Address("2001:db8::2"))) and not watched.reached, "what was found out stays"
    assert target.targets == set()
    assert watched.follow(None) and watched.reached
