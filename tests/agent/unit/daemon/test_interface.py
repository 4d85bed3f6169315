"""An interface that follows views written by hand, on a plane in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from daemons import eventually

from smegmesh.crdt.entry import Entry, Role
from smegmesh.daemon.hooks import HookError
from smegmesh.daemon.host import Directories
from smegmesh.daemon.interface import CHECK_INTERVAL, Interface
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.resolver import Resolver
from smegmesh.dataplane.memory import MemoryPlane
from smegmesh.dataplane.plane import Endpoint, PeerChange, PlaneError
from smegmesh.dataplane.system import MemorySystem
from smegmesh.declaration import Declaration
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.identity.keys import IdentityKey, generate_private_key
from smegmesh.routing.endpoints import FAMILIES
from smegmesh.routing.plan import Allowed, LocalPolicy, make_plan
from smegmesh.routing.preshared import Keyring
from smegmesh.store.keys import HostKeys

MESH, DEVICE = "prod", "smeg-prod"
OWN, ONE, TWO, THREE, CLIENT = (bytes([number]) * 32 for number in range(1, 6))


def peer(key: bytes, liveness: Liveness = Liveness.ALIVE) -> Member:
    entry = Entry(name="p", role=Role.PEER, tunnel_key=key, endpoints=(f"p{key[0]}.example:51820",))
    return Member(key, node_address(MESH, key), entry, 1, liveness)


def client(key: bytes, home: bytes, backup: bytes) -> Member:
    entry = Entry(name="c", role=Role.CLIENT, tunnel_key=key, home=home, backup=backup)
    return Member(key, node_address(MESH, key), entry, 1, Liveness.ALIVE)


class FlakyPlane(MemoryPlane):
    """Fails while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.applied: list[set[bytes]] = []
        self.broken = False

    def apply(self, device: str, changes: Sequence[PeerChange]) -> None:
        if self.broken:
            raise PlaneError("broken")
        self.applied.append({change.key for change in changes})
        super().apply(device, changes)


class NotingResolver(Resolver):
    """Notes what it is asked for."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(lambda: scene.now, scene.look_up)
        self.asked: list[set[str]] = []

    async def resolve(self, endpoints: Iterable[str], families: frozenset[int] = FAMILIES) -> dict[str, Endpoint]:
        asked = set(endpoints)
        self.asked.append(asked)
        return await super().resolve(asked, families)


class Scene:
    """An interface, with the view, the clock, the names and the device under the test's hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.unknown: set[str] = set()
        self.names: dict[str, list[str]] = {}
        self.members = {key: peer(key) for key in (OWN, ONE, TWO)}
        self.plane = FlakyPlane()
        self.system = MemorySystem()
        self.resolver = NotingResolver(self)
        self.created: list[bool] = []
        self.refusals: list[str] = []  # of the next tries to prepare
        self.prepared = 0
        host: Any = SimpleNamespace(
            plane=self.plane,
            system=self.system,
            resolver=self.resolver,
            store=SimpleNamespace(keep_device=lambda _device: None, devices=list),
            keys=HostKeys(IdentityKey.generate(), generate_private_key()),
            clock=lambda: self.now,
            routes=SimpleNamespace(overlay=frozenset),
            directories=Directories(state=Path("/nonexistent")),
        )
        self.declaration = Declaration("prod.yml", "role", MESH, Role.PEER, DEVICE, keepalive=0)
        log = NodeLogger(logging.getLogger("test"), {})
        self.states = 0  # how often it failed, or was mended
        self.rotated: list[Collection[bytes]] = []
        self.beyond: Allowed = {}
        self.interface = Interface(
            host,
            self.declaration,
            51820,
            self.view,
            lambda: self.beyond,
            self.created.append,
            self.state,
            self.rotated.append,
            log,
            self.prepare,
            Keyring(),
        )

    def state(self) -> None:
        self.states += 1

    async def prepare(self) -> None:
        self.prepared += 1
        if self.refusals:
            raise HookError(self.refusals.pop(0))

    def look_up(self, name: str) -> list[str]:
        if name in self.unknown:
            raise OSError("no such name")
        return self.names.get(name) or [f"198.18.0.{name.removeprefix('p').removesuffix('.example')}"]

    def view(self) -> View:
        return View(MESH, OWN, dict(self.members), None, b"")

    async def follows(self, what: str, *, keepalive: int = 0) -> None:
        """Have it look at the view, and wait until the device is as planned."""
        plan = make_plan(self.view(), LocalPolicy(Role.PEER, keepalive))
        self.interface.view_changed()
        wanted = {key: (each.allowed_ips, each.keepalive) for key, each in plan.peers.items()}
        await eventually(lambda: wanted == self.held() and not self.interface._dirty.is_set(), what)
        await eventually(lambda: self.interface.up, what)

    def held(self) -> dict[bytes, Any]:
        return {key: (each.allowed_ips, each.keepalive) for key, each in self.plane.dump(DEVICE).peers.items()}

    def endpoint(self, key: bytes) -> Endpoint | None:
        return self.plane.dump(DEVICE).peers[key].endpoint


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.interface.close()
    made.resolver.close()


async def up(scene: Scene) -> None:
    scene.interface.start()
    await scene.interface.settled()
    assert scene.created == [True]
    scene.plane.applied.clear()
    scene.resolver.asked.clear()


async def test_one_change_resolves_and_touches_one_peer(scene: Scene) -> None:
    await up(scene)
    scene.members[THREE] = peer(THREE)
    await scene.follows("another peer")
    assert scene.resolver.asked == [{"p4.example:51820"}]
    assert scene.plane.applied == [{THREE}]
    assert scene.endpoint(THREE) == ("198.18.0.4", 51820)


async def test_a_check_asks_for_all_names_again(scene: Scene) -> None:
    await up(scene)
    scene.now += CHECK_INTERVAL
    scene.interface.view_changed()
    await eventually(lambda: scene.resolver.asked == [{"p2.example:51820", "p3.example:51820"}], "all are asked for")


async def test_what_others_changed_is_seen_at_once_and_remembered_once_it_is_mended(scene: Scene) -> None:
    await up(scene)
    scene.plane.apply(DEVICE, [PeerChange(ONE, remove=True, add=False)])
    assert [(each.peer, each.what) for each in await scene.interface.compare()] == [(ONE, "it is missing")]
    scene.now += CHECK_INTERVAL
    scene.interface.view_changed()
    await eventually(lambda: scene.interface.repaired(3600.0), "a check has mended it")
    assert scene.interface.repaired(3600.0) == [f"{DEVICE} had 1 peers that were not as planned"]
    assert await scene.interface.compare() == []
    scene.now += 3601
    assert scene.interface.repaired(3600.0) == []


async def test_a_name_that_does_not_resolve_yet_is_asked_for_until_it_does(scene: Scene) -> None:
    scene.unknown = {"p2.example"}
    await up(scene)
    assert scene.endpoint(ONE) is None
    scene.unknown.clear()
    scene.now += 5
    scene.interface.view_changed()
    await eventually(lambda: scene.endpoint(ONE) == ("198.18.0.2", 51820), "it is given to the device")
    scene.interface.view_changed()
    await eventually(lambda: scene.resolver.asked == [{"p2.example:51820"}, set()], "and asked for no more")


async def test_endpoints_are_those_of_the_families_that_the_host_has(scene: Scene) -> None:
    scene.names["p2.example"] = ["2001:db8::2", "198.18.0.2"]
    two = scene.members[TWO]
    scene.members[TWO] = replace(two, entry=replace(two.entry, endpoints=("[2001:db8::3]:1", "198.18.0.3:1")))
    scene.system.versions = frozenset({4})
    await up(scene)
    assert (scene.endpoint(ONE), scene.endpoint(TWO)) == (("198.18.0.2", 51820), ("198.18.0.3", 1))
    scene.system.versions = frozenset({6})
    scene.now += CHECK_INTERVAL
    scene.interface.view_changed()
    await eventually(lambda: scene.endpoint(TWO) == ("2001:db8::3", 1), "it follows the host")
    scene.system.versions = frozenset()
    scene.now += CHECK_INTERVAL
    scene.resolver.asked.clear()
    scene.interface.view_changed()
    await eventually(lambda: scene.resolver.asked, "a host that has none for a moment")
    await scene.follows("and is followed on")
    assert scene.endpoint(TWO) == ("2001:db8::3", 1)


async def test_a_peer_whose_name_does_not_resolve_may_go(scene: Scene) -> None:
    scene.unknown = {"p2.example"}
    await up(scene)
    del scene.members[ONE]
    await scene.follows("it is taken away")


async def test_what_failed_is_tried_again_with_what_came_since(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smegmesh.daemon.interface._RETRY", (0.01,))
    await up(scene)
    scene.members[CLIENT] = client(CLIENT, ONE, TWO)
    await scene.follows("a client comes")
    scene.plane.broken = True
    del scene.members[TWO]
    scene.interface.view_changed()
    await eventually(lambda: scene.interface.problem == "broken", "it is told")
    scene.members[THREE] = peer(THREE)
    scene.members[CLIENT] = client(CLIENT, THREE, TWO)
    scene.interface.view_changed()
    await eventually(lambda: scene.interface._failures > 2, "it is tried again")
    scene.plane.broken = False
    await scene.follows("all of it is made up for")


async def test_a_rotation_that_failed_once_keeps_where_the_other_was(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smegmesh.daemon.interface._RETRY", (0.01,))
    nowhere = replace(peer(TWO), entry=replace(peer(TWO).entry, endpoints=()))
    scene.members[TWO] = nowhere
    await up(scene)
    scene.plane.apply(DEVICE, [PeerChange(TWO, endpoint=("198.18.0.9", 9))])  # learned from its packets
    scene.plane.broken = True
    scene.members[TWO] = replace(nowhere, entry=replace(nowhere.entry, tunnel_key=THREE))
    scene.interface.view_changed()
    await eventually(lambda: scene.interface._failures > 2, "it is tried again")
    scene.plane.broken = False
    await scene.follows("it has the new key")
    assert scene.endpoint(THREE) == ("198.18.0.9", 9)
    assert scene.rotated == [{THREE}]


async def test_another_keepalive_is_followed_with_the_view(scene: Scene) -> None:
    await up(scene)
    del scene.members[TWO]
    scene.interface.follow(replace(scene.declaration, keepalive=7))
    await scene.follows("both", keepalive=7)
    assert scene.interface.problem is None


async def test_a_planner_that_failed_is_not_trusted_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smegmesh.daemon.interface._RETRY", (0.01,))
    await up(scene)

    def fail(*_: object) -> None:
        raise KeyError("half way")

    monkeypatch.setattr("smegmesh.routing.planner.Carriers.follow", fail)
    del scene.members[TWO]
    scene.interface.view_changed()
    await eventually(lambda: "unexpected KeyError" in (scene.interface.problem or ""), "it is told")
    monkeypatch.undo()
    await scene.follows("the plan is made from scratch")


async def test_an_interface_that_exists_stays_as_it_is_until_the_view_is_that_of_the_others(scene: Scene) -> None:
    scene.plane.create(DEVICE)
    scene.plane.apply(DEVICE, [PeerChange(THREE)])
    scene.interface.start()
    for _turn in range(50):  # enough for it to do what it should not
        await asyncio.to_thread(scene.held)
    assert scene.held().keys() == {THREE}
    scene.members[THREE] = peer(THREE)
    scene.interface.view_changed()
    scene.interface.informed()
    await scene.follows("the adopted interface is as planned")
    assert scene.held().keys() == {ONE, TWO, THREE}
    assert not any(scene.created)


async def test_what_is_not_prepared_is_not_made_and_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smegmesh.daemon.interface._RETRY", (0.01,))
    scene.refusals = ["pre_up /x: exit code 3"] * 2
    scene.interface.start()
    await scene.interface.settled()
    assert scene.interface.problem == "pre_up /x: exit code 3"
    assert scene.plane.devices == {}
    await eventually(lambda: scene.interface.up, "it is prepared at last")
    assert (scene.prepared, scene.created) == (3, [True])


async def test_a_view_is_no_reason_to_prepare_again_and_a_declaration_is(scene: Scene) -> None:
    scene.refusals = ["no"] * 2
    scene.interface.start()
    await scene.interface.settled()
    scene.interface.view_changed()
    for _turn in range(50):  # enough for it to do what it should not
        await asyncio.to_thread(lambda: None)
    assert scene.prepared == 1
    scene.interface.follow(scene.declaration)
    await eventually(lambda: scene.prepared == 2, "it is tried at once")


async def test_what_was_prepared_once_is_not_prepared_again_for_a_device_that_fails(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smegmesh.daemon.interface._RETRY", (0.01,))
    scene.plane.broken = True
    scene.interface.start()
    await eventually(lambda: scene.interface._failures > 2, "it is tried again")
    scene.plane.broken = False
    await eventually(lambda: scene.interface.up, "it is up")
    assert (scene.prepared, scene.created) == (1, [True])


async def test_an_adopted_interface_is_not_prepared(scene: Scene) -> None:
    scene.plane.create(DEVICE)
    scene.interface.start()
    await scene.interface.settled()
    assert (scene.prepared, scene.created) == (0, [False])


async def test_an_interface_that_somebody_took_away_is_made_as_at_the_start(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await up(scene)
    scene.plane.delete(DEVICE)
    look, answers = scene.system.link, [None]
    monkeypatch.setattr(scene.system, "link", lambda device: answers.pop() if answers else look(device))
    scene.now += CHECK_INTERVAL
    scene.interface.follow(scene.declaration)
    await eventually(lambda: scene.created == [True, True] and scene.interface.up, "it is made again")
    assert scene.prepared == 2
    await scene.follows("with its peers")


async def test_the_view_that_came_while_it_was_made_is_followed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    make = scene.interface._make

    def slow(*arguments: Any) -> bool:
        made = make(*arguments)
        scene.members[THREE] = peer(THREE)
        return made

    monkeypatch.setattr(scene.interface, "_make", slow)
    scene.interface.start()
    await eventually(lambda: scene.interface.up and THREE in scene.held(), "the newest peer is there")
