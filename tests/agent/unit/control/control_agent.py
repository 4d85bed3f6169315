"""A source of answers whose state a test sets, and the API that offers it on a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from smegmesh.control import types
from smegmesh.control.errors import Rejected
from smegmesh.control.events import EventLog
from smegmesh.control.server import ControlServer


class Agent:
    """A source of answers whose state a test sets."""

    def __init__(self) -> None:
        self.starting = False
        self.events = EventLog()
        self.reloads = 0
        self.meshes = [
            types.Mesh(
                mesh="prod", state="up", members=types.Members(alive=2), leader="a1", alarms=["key in use twice"]
            ),
            types.Mesh(mesh="office", state="failed", problem="port 51820 is in use"),
        ]
        self.others: list[types.Member] = []
        self.member = types.Member(
            name="a1", role="peer", node_key="key", address="fd00::1", liveness="alive", number=3, own=True, leader=True
        )
        self.known = types.Diagnosis(
            mtu=1420,
            differences=[types.Difference(what="it is missing", peer="a2")],
            links={"a2": ["198.18.0.2:4000"]},
            accusations=[types.Accusation(by="a2", of="a3")],
            newest=1.5,
        )

    def status(self) -> types.Status:
        return types.Status(version="1.0", node_name="a1", node_key="key", uptime=3.0, meshes=self.meshes)

    async def members(self, mesh: str) -> list[types.Member]:
        if mesh == "faulty":
            raise RuntimeError("a secret detail")
        return {"prod": [self.member, *self.others]}[mesh]

    async def diagnosis(self, mesh: str) -> types.Diagnosis:
        return {"prod": self.known}[mesh]

    async def graph(self, mesh: str) -> types.Graph:
        node = types.GraphNode(id="key", kind="peer", name='a"1\\', liveness="alive", leader=True, own=True)
        return types.Graph(mesh={"prod": "prod"}[mesh], nodes=[node], edges=[])

    async def revoke(self, mesh: str, revocation: bytes) -> types.Removed:
        assert revocation == b"signed"
        return types.Removed(mesh={"prod": "prod"}[mesh], node_key="key", changed=True)

    async def forget(self, mesh: str, member: str) -> types.Removed:
        if member != "a/1":
            raise Rejected(f"{member} is not down", "revoke it")
        return types.Removed(mesh=mesh, node_key="key", changed=True)

    async def metrics(self) -> str:
        return 'smegmesh_mesh_up{mesh="prod"} 1\n'

    async def reload(self) -> types.Reloaded:
        self.reloads += 1
        return types.Reloaded(changed=["prod"], problems={"office": "port 51820 is in use"})


@asynccontextmanager
async def running(path: Path, group: str | None = None) -> AsyncIterator[Agent]:
    agent = Agent()
    server = ControlServer(path, group, agent)
    await server.start()
    try:
        yield agent
    finally:
        await server.stop()
