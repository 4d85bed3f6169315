"""An agent that knows simulated meshes, on the real server; a browser reaches its socket as through `ssh -L`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv6Network
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from smegmesh.control import types
from smegmesh.control.events import EventLog
from smegmesh.control.server import ControlServer
from smegmesh.crdt.entry import BridgedRoute, Entry, Role
from smegmesh.daemon.graph import make_graph
from smegmesh.daemon.members import member_reports
from smegmesh.daemon.watching import Watcher
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.identity.keys import encode_key

_T = TypeVar("_T")
LOOPBACK = "127.0.0.1"
#: of Chromium: without a graphics card WebGL is drawn by the processor
OPTIONS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


class Simulated:
    """A mesh whose members a test names. The first one is the host itself."""

    def __init__(self, mesh_id: str) -> None:
        self.mesh_id = mesh_id
        self._members: dict[bytes, Member] = {}

    def add(self, name: str, role: Role = Role.PEER, liveness: Liveness = Liveness.ALIVE, **said: Any) -> bytes:
        """A member of that name, with what its entry says besides; its key follows from the name, in all meshes."""
        key = Random(name).randbytes(32)
        entry = Entry(name, role, key, **said)
        self._members[key] = Member(key, node_address(self.mesh_id, key), entry, 1, liveness)
        return key

    def view(self) -> View:
        own = next(iter(self._members))
        alive = [key for key, member in self._members.items() if member.liveness is Liveness.ALIVE]
        peers = [key for key in alive if self._members[key].entry.role is Role.PEER]
        return View(self.mesh_id, own, dict(self._members), min(peers), b"")


class PicturedAgent:
    """A source of answers, out of views that a test changes."""

    starting = False

    def __init__(self, name: str, *meshes: Simulated, routes: Mapping[str, list[types.Route]] | None = None) -> None:
        self.name = name
        self.events = EventLog()
        self.views = {mesh.mesh_id: mesh.view() for mesh in meshes}
        self.watchers = {mesh: Watcher(view, self.events.add) for mesh, view in self.views.items()}
        self.routes = routes or {}
        self.failed: list[types.Mesh] = []

    def status(self) -> types.Status:
        meshes = [*map(self._mesh, self.views.values()), *self.failed]
        key = encode_key(next(iter(self.views.values())).node_key)
        return types.Status(version="0", node_name=self.name, node_key=key, uptime=1.0, meshes=meshes)

    async def members(self, mesh: str) -> list[types.Member]:
        view = self.views[mesh]
        return member_reports(view, view.members[view.node_key].entry.role, None)

    async def graph(self, mesh: str) -> types.Graph:
        return make_graph(self.views[mesh])

    def change(self, view: View) -> None:
        """What the mesh is like from now on."""
        self.views[view.mesh_id] = view
        self.watchers[view.mesh_id].follow(view)

    def without(self, name: str, mesh: str = "prod") -> View:
        """The mesh without a member."""
        view = self.views[mesh]
        return replace(view, members={key: each for key, each in view.members.items() if each.entry.name != name})

    def find(self, name: str, liveness: Liveness, mesh: str = "prod") -> None:
        """The verdicts of the others about a member are other ones now."""
        view = self.views[mesh]
        members = {
            key: replace(member, liveness=liveness) if member.entry.name == name else member
            for key, member in view.members.items()
        }
        self.change(replace(view, members=members))

    def _mesh(self, view: View) -> types.Mesh:
        return types.Mesh(mesh=view.mesh_id, state="up", role="peer", routes=self.routes.get(view.mesh_id, []))


class Loop:
    """An event loop in a thread: the browser is driven from the main one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Loop:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, _T], within: float = 20.0) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within)


class Forwarded:
    """A port of loopback that leads to a Unix socket, as `ssh -L` makes it."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        return f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}/"

    async def stop(self) -> None:
        self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            answers, questions = await asyncio.open_unix_connection(str(self._socket))
            await asyncio.gather(_pass(reader, questions), _pass(answers, writer))
        except OSError:
            writer.close()
        finally:
            del self._open[task]


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@contextmanager
def forwarded(loop: Loop, socket: Path) -> Iterator[str]:
    """The address at which a browser finds the agent of a socket."""
    port = Forwarded(socket)
    try:
        yield loop.run(port.start())
    finally:
        loop.run(port.stop())


@contextmanager
def serving(agent: PicturedAgent, directory: Path) -> Iterator[tuple[str, Loop]]:
    """The agent's page: its address, and the loop in which the agent must be changed."""
    server = ControlServer(directory / "api.sock", None, agent)  # type: ignore[arg-type]
    with Loop() as loop:
        loop.run(server.start())
        try:
            with forwarded(loop, directory / "api.sock") as url:
                yield url, loop
        finally:
            loop.run(server.stop())


def two_meshes() -> PicturedAgent:
    """Two meshes with everything that there is to draw: `gw` is in both, and `lab` and `far` lie behind `b2`."""
    prod, office = Simulated("prod"), Simulated("office")
    bridging = {"bridge": True, "routes": (BridgedRoute(("office",)),)}
    gw = prod.add("gw", **bridging, alias="gateway", description="between prod and office")
    a1, a2, a3 = prod.add("a1"), prod.add("a2", services={"https": "tcp/443"}), prod.add("a3", liveness=Liveness.MUTE)
    prod.add("x1", advertise=("2001:db8:10::/48", "::/0"))
    prod.add("laptop", Role.CLIENT, home=a1, backup=a2)
    prod.add("phone", Role.CLIENT, home=a2, backup=a1)
    prod.add("old", Role.CLIENT, liveness=Liveness.DOWN, home=a3, backup=gw)
    office.add("gw", bridge=True, routes=(BridgedRoute(("prod",)),))
    office.add("b1")
    office.add("b2", bridge=True, routes=(BridgedRoute(("lab",)), BridgedRoute(("lab", "far"))))
    routes = {
        "office": [
            route("lab", "b2", "lab"),
            route("far", "b2", "lab", "far"),
        ],
        "prod": [
            types.Route(prefix="2001:db8:10::/48", mesh=None, path=[], via="x1", used=True),
            types.Route(prefix="::/0", mesh=None, path=[], via="x1", used=False),
        ],
    }
    return PicturedAgent("gw", prod, office, routes=routes)


def route(mesh: str, via: str, *path: str) -> types.Route:
    """To a mesh that this host is not in."""
    return types.Route(prefix=str(IPv6Network(mesh_prefix(mesh))), mesh=mesh, path=list(path), via=via, used=True)


def large(peers: int, clients: int) -> PicturedAgent:
    """A mesh of many."""
    mesh = Simulated("prod")
    keys = [mesh.add(f"p{number}") for number in range(peers)]
    chance = Random(1)
    for number in range(clients):
        home, backup = chance.sample(keys, 2)
        mesh.add(f"c{number}", Role.CLIENT, home=home, backup=backup)
    return PicturedAgent("p0", mesh)
