"""Who is told when another way is taken, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from smegmesh.crdt.entry import BridgedRoute, Entry, Role
from smegmesh.daemon.routes import Routes
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.routing.choices import Joined
from smegmesh.routing.host import Place

OWN, OTHER = b"\1" * 32, b"\2" * 32


class FakeMesh:
    """A mesh with the own node, a bridge, and what it is told."""

    def __init__(self, mesh: str, port: int, *, bridge: bool = True) -> None:
        self.informed = False
        self.pace = 1.0
        self.members = {OWN: self.member(mesh, OWN), OTHER: self.member(mesh, OTHER)}
        self.mesh, self.bridge, self.port = mesh, bridge, port
        self.told: list[tuple[BridgedRoute, ...]] = []
        self.times: list[float] = []
        self.reroutes = 0

    def member(self, mesh: str, key: bytes, *routes: BridgedRoute) -> Member:
        entry = Entry(name="n", role=Role.PEER, tunnel_key=key, bridge=True, routes=routes)
        return Member(key, node_address(mesh, key), entry, 1, Liveness.ALIVE)

    def offer(self, *routes: BridgedRoute) -> None:
        self.members[OTHER] = self.member(self.mesh, OTHER, *routes)

    def view(self) -> View:
        return View(self.mesh, OWN, dict(self.members), None, b"")

    def place(self) -> Place:
        return Place(f"wg-{self.mesh}", self.port, node_address(self.mesh, OWN), Joined(bridge=self.bridge))

    def rerouted(self) -> None:
        self.reroutes += 1

    def announce(self, routes: tuple[BridgedRoute, ...]) -> None:
        self.told.append(routes)
        self.times.append(asyncio.get_running_loop().time())
        self.members[OWN] = self.member(self.mesh, OWN, *routes)


class Scene:
    def __init__(self) -> None:
        self.changes = 0
        self.routes = Routes(OWN, self.changed)
        self.prod, self.office = FakeMesh("prod", 1), FakeMesh("office", 2)

    def changed(self) -> None:
        self.changes += 1


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    made.routes.close()


async def told(mesh: FakeMesh, count: int) -> None:
    async with asyncio.timeout(5):
        while len(mesh.told) < count:
            await asyncio.sleep(0.005)


async def test_what_is_reached_is_announced_in_a_while_and_what_is_gone_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smegmesh.routing.announcing.COALESCE", 0.05)
    scene.routes.add("prod", scene.prod)
    scene.routes.add("office", scene.office)
    began = asyncio.get_running_loop().time()
    await told(scene.prod, 1)
    assert scene.prod.told == [(BridgedRoute(("office",)),)]
    assert scene.prod.times[0] - began >= 0.045
    for path in (("lab",), ("lab", "far")):  # both within the pause: one announcement
        scene.office.offer(BridgedRoute(("lab",)), BridgedRoute(path))
        scene.routes.follow("office")
    await told(scene.prod, 2)
    assert {route.path for route in scene.prod.told[1]} == {("office",), ("office", "lab"), ("office", "lab", "far")}
    assert scene.routes.allowed("office")[OTHER] == {mesh_prefix("lab"), mesh_prefix("far")}
    scene.office.offer()
    monkeypatch.setattr("smegmesh.routing.announcing.COALESCE", 60.0)
    scene.routes.follow("office")
    await told(scene.prod, 3)
    assert scene.prod.told[2] == (BridgedRoute(("office",)),)


async def test_only_who_is_concerned_is_told(scene: Scene) -> None:
    scene.routes.add("prod", scene.prod)
    scene.routes.add("office", scene.office)
    await told(scene.office, 1)
    scene.routes.follow("prod")  # it sees its own entry, too
    scene.routes.follow("office")
    await asyncio.sleep(0.02)
    before = scene.prod.reroutes, scene.office.reroutes, scene.changes
    newcomer = replace(scene.prod.members[OTHER], node_key=b"\3" * 32, entry=Entry("n", Role.PEER, b"\3" * 32))
    scene.prod.members[newcomer.node_key] = newcomer
    scene.routes.follow("prod")
    await asyncio.sleep(0.02)
    assert (scene.prod.reroutes, scene.office.reroutes, scene.changes) == before
    scene.office.offer(BridgedRoute(("lab",)))
    scene.routes.follow("office")
    await asyncio.sleep(0.02)
    assert (scene.prod.reroutes, scene.office.reroutes, scene.changes) == (before[0], before[1] + 1, before[2] + 1)


async def test_what_was_announced_before_a_start_holds_until_all_is_heard_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each restart of a bridge's agent would move everybody to another bridge and back."""
    monkeypatch.setattr("smegmesh.routing.announcing.SETTLING", 0.2)
    before = (BridgedRoute(("office",)), BridgedRoute(("office", "lab")))
    scene.prod.members[OWN] = scene.prod.member("prod", OWN, *before)
    scene.routes.add("prod", scene.prod, before)
    await asyncio.sleep(0.1)
    assert scene.prod.told == []
    scene.office.offer(BridgedRoute(("lab",)))
    scene.routes.add("office", scene.office)
    await asyncio.sleep(0.3)
    assert scene.prod.told == []  # it is what it was


async def test_who_knows_what_the_others_know_need_not_wait(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smegmesh.routing.announcing.SETTLING", 60.0)
    scene.routes.add("prod", scene.prod, (BridgedRoute(("office",)), BridgedRoute(("office", "lab"))))
    scene.routes.add("office", scene.office)
    await asyncio.sleep(0.05)
    assert scene.prod.told == []
    scene.prod.informed = scene.office.informed = True
    scene.routes.informed()
    await told(scene.prod, 1)
    assert scene.prod.told == [(BridgedRoute(("office",)),)]


async def test_a_mesh_that_ends_is_withdrawn_from_the_others(scene: Scene) -> None:
    scene.routes.add("prod", scene.prod)
    scene.routes.add("office", scene.office)
    await told(scene.office, 1)
    scene.routes.drop("prod")
    await told(scene.office, 2)
    assert scene.office.told[-1] == ()
    assert "wg-prod" not in scene.routes.plan.forwarding


async def test_who_hears_nobody_keeps_its_ways_until_it_heard_all_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("_LATELY", 0.05), ("_LONGEST", 60.0), ("_GRACE", 0.1)):
        monkeypatch.setattr(f"smegmesh.routing.hearing.{name}", seconds)
    scene.prod.offer(BridgedRoute(("lab",)))
    scene.routes.add("prod", scene.prod)
    scene.routes.heard()
    before = scene.routes.allowed("prod")
    assert before[OTHER] == {mesh_prefix("lab")}
    await asyncio.sleep(0.1)  # the outage
    scene.prod.offer()
    scene.routes.follow("prod")
    await asyncio.sleep(0.02)
    assert scene.routes.allowed("prod") == before
    scene.routes.heard()
    scene.routes.follow("prod")
    await asyncio.sleep(0.02)
    assert scene.routes.allowed("prod") == before
    async with asyncio.timeout(5):
        while scene.routes.allowed("prod") == before:
            scene.routes.heard()
            await asyncio.sleep(0.005)
