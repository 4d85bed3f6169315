"""A daemon whose disk, interface or links fail, and one that is stopped at any moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from daemons import MESH, Agent, Make, Run, eventually

from smegmesh.control.client import Client
from smegmesh.dataplane.memory import MemoryPlane
from smegmesh.dataplane.plane import DeviceSettings, PeerChange, PlaneError
from smegmesh.gossip.events import Persist
from smegmesh.store import StoreError
from smegmesh.transport.sockets import ListenError

DEVICE = "smeg-prod"


class FailingPlane(MemoryPlane):
    """Refuses devices, or lets their maker wait, as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.refusal: str | None = None
        self.fault: Exception | None = None
        self.deletion: str | None = None
        self.creating = threading.Event()
        self.may_create = threading.Event()
        self.may_create.set()

    def create(self, device: str) -> bool:
        self.creating.set()
        self.may_create.wait(10)
        return super().create(device)

    def delete(self, device: str) -> None:
        if self.deletion:
            raise PlaneError(self.deletion)
        super().delete(device)

    def configure(self, device: str, settings: DeviceSettings) -> None:
        if self.refusal:
            raise PlaneError(self.refusal)
        super().configure(device, settings)

    def apply(self, device: str, changes: Sequence[PeerChange]) -> None:
        if self.fault:
            raise self.fault
        if self.refusal:
            raise PlaneError(self.refusal)
        super().apply(device, changes)


def full(_event: Persist) -> None:
    raise StoreError("no space left on the disk", "free some")


def failing(agent: Agent) -> FailingPlane:
    agent.plane = FailingPlane()
    return agent.plane


def test_a_full_disk_delays_and_loses_nothing(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = make("p1"), make("p2")
        for agent in (one, two):
            agent.declare(one, two)
            await agent.start()
        await eventually(lambda: one.alive(2) and two.alive(2), "both know each other")
        number = two.mesh().number
        disk = two.daemon._meshes[MESH]._effects  # type: ignore[union-attr]
        commit, disk._commit, disk._retry = disk._commit, full, 0.05
        two.declare(one, two, alias="web")
        await two.daemon.reload()  # type: ignore[union-attr]
        await eventually(lambda: two.mesh().problem == "no space left on the disk: free some", "the status says so")
        assert two.mesh().number > number
        three = make("p3")
        three.declare(one)
        await three.start()
        await eventually(lambda: two.mesh().members.alive == 3, "what others say is heard meanwhile")
        assert (await one.ask(lambda api: api.members(MESH)))[1]["alias"] is None, "but nothing new is said"
        disk._commit = commit
        await eventually(lambda: two.mesh().problem is None, "it is written in the end")
        await eventually(lambda: one.mesh().digest == two.mesh().digest == three.mesh().digest, "and told to all")
        one.daemon._meshes[MESH].members.forget()  # type: ignore[union-attr]  # the answer of a moment ago
        assert (await one.ask(lambda api: api.members(MESH)))[1]["alias"] == "web"

    run(test)


def test_an_interface_that_fails_is_told_and_mended(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        plane = failing(agent)
        plane.refusal = "smeg-prod: UDP port 51820 is in use"
        agent.declare()
        daemon = await agent.start()
        assert agent.mesh().state == "failed"
        assert agent.mesh().problem == plane.refusal
        assert plane.devices == {}
        agent.declare(alias="web")
        reloaded = await agent.ask(Client.reload)
        assert reloaded == {"changed": [MESH], "problems": {MESH: plane.refusal}}
        plane.refusal = None
        agent.declare(port=51999)
        assert (await daemon.reload()).problems == {}
        assert agent.mesh().state == "up"
        assert plane.devices[DEVICE].listen_port == 51999
        plane.refusal = "port 51998 is in use"
        agent.declare(port=51998)
        assert (await daemon.reload()).problems == {MESH: plane.refusal}
        assert plane.devices[DEVICE].listen_port == 51999, "what runs is left alone"

    run(test)


def test_a_fault_of_ours_is_told_and_tried_again(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = make("p1"), make("p2")
        plane = failing(one)
        for agent in (one, two):
            agent.declare(one, two)
        await one.start()
        plane.fault = KeyError("what no plane should raise")
        await two.start()
        await eventually(lambda: "unexpected KeyError" in (one.mesh().problem or ""), "it is told")
        plane.fault = None
        await eventually(lambda: one.mesh().state == "up" and len(plane.devices[DEVICE].peers) == 1, "it goes on")

    run(test)


def test_an_interface_that_does_not_go_is_taken_away_later(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        plane = failing(agent)
        agent.declare()
        daemon = await agent.start()
        agent.file().unlink()
        plane.deletion = "smeg-prod: busy"
        assert (await daemon.reload()).changed == [MESH]
        assert daemon.status().meshes == []
        assert daemon.status().problems == [plane.deletion]
        plane.deletion = None
        await daemon.reload()
        assert daemon.status().problems == []
        assert plane.devices == {}

    run(test)


def test_leaving_while_the_interface_is_being_made_leaves_none(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        plane = failing(agent)
        daemon = await agent.start()
        plane.may_create.clear()
        agent.declare()
        first = asyncio.create_task(daemon.reload())
        await asyncio.to_thread(plane.creating.wait, 5)
        agent.file().unlink()
        daemon.stopping.set()  # cuts the first one's waiting short
        await first
        daemon.stopping.clear()
        second = asyncio.create_task(daemon.reload())
        await eventually(lambda: agent.mesh() is None, "it is being left")
        plane.may_create.set()
        assert (await second).changed == [MESH]
        assert plane.devices == {}

    run(test)


def test_stopping_does_not_wait_for_a_reload_and_ends_those_that_wait(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        plane = failing(agent)
        plane.may_create.clear()
        agent.declare()
        starting = asyncio.create_task(agent.start())
        await asyncio.to_thread(plane.creating.wait, 5)
        daemon = agent.daemon
        assert daemon is not None
        waiting = [asyncio.create_task(daemon.reload()) for _ in range(3)]
        stopping = asyncio.create_task(daemon.stop())
        await asyncio.wait_for(starting, 2)
        plane.may_create.set()
        await asyncio.wait_for(stopping, 2)
        assert [reloaded.changed for reloaded in await asyncio.gather(*waiting)] == [[], [], []]
        assert agent.mesh() is None, "none was started again"
        assert plane.devices.keys() == {DEVICE}, "and the interface is kept"

    run(test)


def test_the_link_port_in_use_stops_the_start_and_leaves_nothing(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = make("p1"), make("p2")
        await one.start()
        agent_file = two.directories.etc / "agent.yml"
        agent_file.write_text(agent_file.read_text().replace(str(two.link_port), str(one.link_port)))
        with pytest.raises(ListenError, match=str(one.link_port)):
            await two.start()

    run(test)
