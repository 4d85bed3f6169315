"""The daemon: everything wired together, and what changes while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass

import smegmesh
from smegmesh.control import types
from smegmesh.daemon.credentials import CredentialError
from smegmesh.daemon.forwarding import Forwarding
from smegmesh.daemon.host import Directories, Host
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.mesh import Mesh
from smegmesh.daemon.report import member_reports, mesh_report
from smegmesh.daemon.resolver import Resolver
from smegmesh.dataplane.plane import Plane
from smegmesh.dataplane.system import System
from smegmesh.declaration import AgentSettings, Declaration, choose_ports, read_meshes
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.identity.keys import encode_key
from smegmesh.store import Store, StoreError
from smegmesh.store.keys import HostKeys
from smegmesh.transport.links import Links
from smegmesh.transport.tls import TlsSettingsError

_log = logging.getLogger(__name__)
_SETTLE = 8.0  # seconds a reload waits for the interfaces it has changed


@dataclass(frozen=True, slots=True)
class Platform:
    """How the daemon reaches the host. With `restrict` False it leaves forwarding and firewall alone."""

    plane: Plane
    system: System
    restrict: bool = True


class Daemon:
    """All meshes of a host. Made by `run`, asked by the API (it is its StatusSource)."""

    def __init__(
        self,
        directories: Directories,
        settings: AgentSettings,
        keys: HostKeys,
        store: Store,
        platform: Platform,
        problem: str | None = None,
    ) -> None:
        """`problem` is what had to be mended before the start, for the status."""
        loop = asyncio.get_running_loop()
        self._settings = settings
        self._started = loop.time()
        self._problem = problem
        self._links = Links(
            on_up=self._link_up,
            on_frame=self._frame,
            on_down=self._link_down,
            on_dial_failed=self._dial_failed,
            monotonic=loop.time,
        )
        self._host = Host(
            directories=directories,
            node_name=settings.node_name,
            link_port=settings.link_port,
            keys=keys,
            store=store,
            links=self._links,
            plane=platform.plane,
            system=platform.system,
            resolver=Resolver(loop.time),
            clock=loop.time,
        )
        self._meshes: dict[str, Mesh] = {}
        self._problems: dict[str, str] = {}
        self._reloading = asyncio.Lock()
        self._forwarding = Forwarding(store, self._devices, self._forwarding_devices) if platform.restrict else None

    async def start(self) -> None:
        """Listen for links and start the declared meshes. ListenError if the link port is taken."""
        await self._links.start(self._settings.listen, self._settings.link_port)
        if self._forwarding is not None:
            self._forwarding.start()
        await self.reload()

    async def stop(self) -> None:
        """End; interfaces stay as they are, so that no packet is lost until the next start."""
        async with self._reloading:
            await asyncio.gather(*(mesh.stop(leave=False, take_down=False) for mesh in self._meshes.values()))
            self._meshes.clear()
        if self._forwarding is not None:
            await self._forwarding.close()
        await self._links.stop()

    # StatusSource

    def status(self) -> types.Status:
        """The agent and all its meshes."""
        plane = self._host.plane.name
        running = [mesh_report(mesh, plane, self._problems.get(name)) for name, mesh in self._meshes.items()]
        failed = [
            types.Mesh(mesh=name, state="failed", problem=problem)
            for name, problem in self._problems.items()
            if name not in self._meshes
        ]
        forwarding = self._forwarding.problem if self._forwarding is not None else None
        return types.Status(
            version=smegmesh.__version__,
            node_name=self._settings.node_name,
            node_key=encode_key(self._host.keys.node_key),
            uptime=self._host.clock() - self._started,
            meshes=sorted(running + failed, key=lambda mesh: mesh.mesh),
            problems=[problem for problem in (self._problem, forwarding) if problem],
        )

    async def members(self, mesh: str) -> list[types.Member]:
        """Members of a mesh, sorted by name; KeyError for a mesh that does not run here."""
        running = self._meshes[mesh]
        device = await running.interface.state()
        return member_reports(running.view(), device)

    async def reload(self) -> types.Reloaded:
        """Follow the declarations and certificates as they are on disk now."""
        async with self._reloading:
            directories = self._host.directories
            loaded = await asyncio.to_thread(read_meshes, directories.etc, directories.local)
            self._problems = {bad.mesh or bad.error.file: str(bad.error) for bad in loaded.errors}
            for problem in self._problems.values():
                _log.error("%s", problem)
            changed = await self._follow({declaration.mesh: declaration for declaration in loaded.declarations})
            await self._settle(changed)
        return types.Reloaded(changed=sorted(changed), problems=self._all_problems())

    async def _follow(self, wanted: dict[str, Declaration]) -> set[str]:
        """Stop, change and start meshes; which. A mesh whose file is bad now goes on as it was."""
        changed = set()
        for name in self._meshes.keys() - wanted.keys() - self._problems.keys():
            await self._meshes.pop(name).stop(leave=True, take_down=True)
            _log.info("mesh=%s node=%s: left", name, self._settings.node_name)
            changed.add(name)
        kept = {name: mesh.declaration for name, mesh in self._meshes.items() if name not in wanted}
        ports = self._choose_ports({**kept, **wanted})
        for name, declaration in sorted(wanted.items()):
            try:
                if await self._follow_one(name, declaration, ports[name]):
                    changed.add(name)
            except (CredentialError, TlsSettingsError, StoreError) as error:
                self._problems[name] = str(error)
                _log.error("mesh=%s node=%s: %s", name, self._settings.node_name, error)
        return changed

    async def _follow_one(self, name: str, declaration: Declaration, port: int) -> bool:
        running = self._meshes.get(name)
        if running is not None:
            running.update_certificate()
            if declaration == running.declaration and port == running.interface.port:
                return False
            if not running.needs_restart(declaration, port):
                running.update(declaration)
                return True
            del self._meshes[name]
            await running.stop(leave=False, take_down=True)
        log = NodeLogger(_log, {"mesh": name, "node": self._settings.node_name})
        mesh = Mesh(self._host, declaration, port, self._interfaces_changed, log)
        mesh.start()
        self._meshes[name] = mesh
        return True

    def _choose_ports(self, declarations: dict[str, Declaration]) -> dict[str, int]:
        kept = self._host.store.ports()
        ports = choose_ports(declarations.values(), kept)
        if ports != kept:
            self._host.store.keep_ports(ports)
        return ports

    async def _settle(self, changed: set[str]) -> None:
        """Give what was changed a moment to come up, so that the answer tells how it went."""
        waits: list[Coroutine[None, None, object]] = [
            self._meshes[name].interface.attempted.wait() for name in changed if name in self._meshes
        ]
        if self._forwarding is not None and changed:
            self._forwarding.changed()
            waits.append(self._forwarding.settled())
        if waits:
            await asyncio.wait([asyncio.ensure_future(wait) for wait in waits], timeout=_SETTLE)

    def _all_problems(self) -> dict[str, str]:
        running = {name: mesh.interface.problem for name, mesh in self._meshes.items()}
        return {**{name: problem for name, problem in running.items() if problem}, **self._problems}

    # Forwarding

    def _interfaces_changed(self) -> None:
        if self._forwarding is not None:
            self._forwarding.changed()

    def _devices(self) -> list[str]:
        return [mesh.interface.device for mesh in self._meshes.values()]

    def _forwarding_devices(self) -> list[str]:
        return [mesh.interface.device for mesh in self._meshes.values() if mesh.declaration.role.value == "peer"]

    # What links tell: passed on to the mesh they belong to, if it still runs.

    def _link_up(self, mesh_id: str, link: int, certificate: NodeCertificate, dialled: bool) -> None:
        if mesh_id in self._meshes:
            self._meshes[mesh_id].link_up(link, certificate, dialled)

    def _frame(self, mesh_id: str, link: int, data: bytes) -> None:
        if mesh_id in self._meshes:
            self._meshes[mesh_id].frame(link, data)

    def _link_down(self, mesh_id: str, link: int, _reason: str) -> None:
        if mesh_id in self._meshes:
            self._meshes[mesh_id].link_down(link)

    def _dial_failed(self, mesh_id: str, dial: int, reason: str) -> None:
        if mesh_id in self._meshes:
            self._meshes[mesh_id].dial_failed(dial, reason)
