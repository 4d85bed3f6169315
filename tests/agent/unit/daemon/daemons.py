"""Whole daemons in one process: real keys, certificates, TLS, store and API; WireGuard in memory."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from smegmesh.control.client import Client
from smegmesh.control.server import ControlServer
from smegmesh.daemon.daemon import Daemon, Platform
from smegmesh.daemon.hooks import HookError
from smegmesh.daemon.host import Directories
from smegmesh.dataplane.memory import MemoryPlane
from smegmesh.dataplane.plane import Plane
from smegmesh.dataplane.system import MemorySystem
from smegmesh.declaration import load_agent
from smegmesh.identity.certificate import Grant, issue, make_authority, make_request, read_request
from smegmesh.identity.keys import IdentityKey
from smegmesh.identity.operator import issue_operator
from smegmesh.identity.revocation import make_revocation
from smegmesh.store import open_store
from smegmesh.store.keys import ensure_keys, load_keys

DAY = 86400.0
MESH = "prod"


class Operator:
    """Who holds the authority's key."""

    def __init__(self) -> None:
        self.authority, self._key = make_authority("test", 365, now=time.time() - DAY)

    def certify(self, request: bytes, meshes: tuple[str, ...] = ("*",), **grants: tuple[str, ...]) -> bytes:
        asked = read_request(request)
        grant = Grant(asked.node_name, asked.node_key, meshes, **grants)
        now = time.time()
        return issue(self.authority, self._key, asked, grant, not_before=now - DAY, not_after=now + DAY)

    def revoke(self, node_key: bytes, mesh: str = "prod") -> str:
        return make_revocation(self._key, mesh, node_key).decode()

    def appoint(self, directory: Path, name: str = "alice") -> ssl.SSLContext:
        """A client context with an operator certificate, by way of files in a directory."""
        key, now = IdentityKey.generate(), time.time()
        files = directory / f"{name}.pem", directory / f"{name}.key"
        files[0].write_bytes(
            issue_operator(self.authority, self._key, name, key.public, not_before=now - DAY, not_after=now + DAY)
        )
        files[1].write_bytes(key.to_pem())
        context = ssl.create_default_context(cadata=self.authority.decode())
        context.load_cert_chain(*files)
        return context


class Agent:
    """One host: its files, its WireGuard in memory, and a daemon that can be started and stopped again and again."""

    def __init__(self, name: str, directory: Path, operator: Operator) -> None:
        self.name = name
        self.directories = Directories(*(directory / part for part in ("etc", "state", "run")))
        self.meshes_directory = self.directories.etc / "meshes.d"
        self.authority = self.directories.etc / "authorities" / "default"
        for path in (self.meshes_directory, self.authority, self.directories.state, self.directories.run):
            path.mkdir(parents=True)
        self.link_port = free_port()
        self.address = f"127.0.0.1:{self.link_port}"
        (self.directories.etc / "agent.yml").write_text(
            f"node_name: {name}\nplane: memory\nlisten: 127.0.0.1\nlink_port: {self.link_port}\n"
        )
        self.keys, _ = ensure_keys(self.directories.state)
        self.request = make_request(self.keys.identity, name, self.keys.node_key)
        self.operator = operator
        self.certify()
        self.plane = MemoryPlane()
        self.system = MemorySystem()
        self.other_planes: dict[str, Plane] = {}
        self.daemon: Daemon | None = None
        self.hooks: list[tuple[str, bool]] = []  # what ran, and whether the interface was there
        self.failing_hooks: set[str] = set()
        self.hook_may_end = asyncio.Event()
        self.hook_may_end.set()

    def trust(self, *operators: Operator) -> None:
        """Have the authority's certificate, or those of two while one takes over."""
        (self.authority / "authority.pem").write_bytes(b"".join(each.authority for each in operators))

    def certify(self, operator: Operator | None = None, **grants: tuple[str, ...]) -> None:
        """Install a new certificate, by another operator if given."""
        operator = operator or self.operator
        self.trust(operator)
        (self.authority / "node.pem").write_bytes(operator.certify(self.request, **grants))

    def declare(
        self, *others: Agent, mesh: str = MESH, role: str = "peer", endpoint: str | None = "127.0.0.1", **more: object
    ) -> None:
        """Write a declaration with these others as bootstrap."""
        lines = [f"owner: role\nmesh: {mesh}\nrole: {role}"]
        lines += [f"endpoint: {endpoint}"] if role == "peer" and endpoint else []
        lines += [f"{key}: {value}" for key, value in more.items()]
        lines += ["bootstrap:"] if others else []
        lines += [f'  - {{name: {other.name}, address: "{other.address}"}}' for other in others]
        self.file(mesh).write_text("\n".join(lines) + "\n")

    def offer_api(self, listen: str) -> None:
        """Have the agent's settings name where the API over TLS listens."""
        with (self.directories.etc / "agent.yml").open("a") as file:
            file.write(f'api: {{listen: "{listen}"}}\n')

    def offer_metrics(self, *settings: str) -> None:
        """Have the agent's settings say how it offers metrics."""
        with (self.directories.etc / "agent.yml").open("a") as file:
            file.write(f"metrics: {{{', '.join(settings)}}}\n")

    def file(self, mesh: str = MESH) -> Path:
        return self.meshes_directory / f"{mesh}.yml"

    def make(self) -> Daemon:
        """A daemon that is not started."""
        settings = load_agent(self.directories.etc / "agent.yml")
        self.store, problem = open_store(self.directories.state / "state.db")
        self.keys = load_keys(self.directories.state)
        platform = Platform(self.plane, self._plane_named, self.system, tunnels=False, run_hook=self._run_hook)
        self.daemon = Daemon(self.directories, settings, self.keys, self.store, platform, problem)
        self.control = ControlServer(self.directories.run / "api.sock", None, self.daemon)
        return self.daemon

    async def start(self) -> Daemon:
        daemon = self.make()
        await self.control.start()
        await daemon.start()
        return daemon

    async def stop(self) -> None:
        if self.daemon is None:
            return
        await self.daemon.stop()
        await self.control.stop()
        self.store.close()
        self.daemon = None

    def mesh(self, mesh: str = MESH) -> Any:
        """The mesh in the status, None if it is not there."""
        assert self.daemon is not None
        return next((each for each in self.daemon.status().meshes if each.mesh == mesh), None)

    def alive(self, count: int, mesh: str = MESH) -> bool:
        status = self.mesh(mesh)
        return status is not None and status.state == "up" and status.members.alive == count

    async def ask(self, question: Callable[[Client], Any]) -> Any:
        """Ask through the socket, as smegctl does."""
        return await asyncio.to_thread(question, Client(self.directories.run / "api.sock", timeout=10))

    async def _run_hook(self, file: str, environment: Mapping[str, str], _say: Callable[[str], None]) -> None:
        self.hooks.append((file, environment["SMEGMESH_INTERFACE"] in self.plane.devices))
        await self.hook_may_end.wait()
        if file in self.failing_hooks:
            raise HookError("exit code 3")

    def _plane_named(self, name: str) -> Plane:
        return self.plane if name == self.plane.name else self.other_planes[name]


Make = Callable[[str], Agent]
Run = Callable[[Callable[[Make], Awaitable[None]]], None]


async def eventually(condition: Callable[[], object], what: str, within: float = 8.0) -> None:
    """Wait until a condition holds, looking whenever the loop has turned for a moment."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
