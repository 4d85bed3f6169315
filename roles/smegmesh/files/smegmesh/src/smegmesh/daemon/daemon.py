"""The daemon: everything wired together, and what changes while it runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import smegmesh
from smegmesh.control import types
from smegmesh.control.errors import Rejected
from smegmesh.control.events import EventLog
from smegmesh.control.https import HttpsServer
from smegmesh.control.metrics_server import MetricsServer
from smegmesh.control.tls import ApiTls
from smegmesh.crdt.entry import Role
from smegmesh.daemon import removals
from smegmesh.daemon.api_tls import api_tls
from smegmesh.daemon.declaring import Declaring
from smegmesh.daemon.forwarding import Forwarding
from smegmesh.daemon.hook_process import run_hook
from smegmesh.daemon.hooks import Runner
from smegmesh.daemon.host import Directories, Host
from smegmesh.daemon.joining import Joining
from smegmesh.daemon.mesh import Mesh
from smegmesh.daemon.meshes import Meshes
from smegmesh.daemon.metrics import AgentReading
from smegmesh.daemon.opening import Opening
from smegmesh.daemon.report import diagnosis, mesh_report, mesh_state, static_peer_reports
from smegmesh.daemon.resolved import Run, run_resolvectl
from smegmesh.daemon.resolver import Resolver
from smegmesh.daemon.rotation import rotate
from smegmesh.daemon.routes import Routes
from smegmesh.daemon.scrape import Scrape, read_mesh, read_process
from smegmesh.daemon.waiting import wait_unless
from smegmesh.dataplane.opening import Port
from smegmesh.dataplane.plane import Plane
from smegmesh.dataplane.system import System
from smegmesh.declaration import AgentSettings, Declaration, DnsSettings
from smegmesh.declaration.change import Places
from smegmesh.gossip.view import View
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.identity.keys import encode_key
from smegmesh.routing.tables import MARK, HostPlan
from smegmesh.store import Store, StoreDamaged
from smegmesh.store.keys import HostKeys
from smegmesh.transport.links import Links
from smegmesh.transport.settings import LinkSettings

if TYPE_CHECKING:
    from smegmesh.daemon.names import Names

_log = logging.getLogger(__name__)
_SETTLE = 8.0  # seconds a reload waits for the interfaces it has changed


@dataclass(frozen=True, slots=True)
class Platform:
    """How the daemon reaches the host.

    `plane_named` makes any plane by its name: devices of an earlier choice are taken down
    with it. Without `tunnels` (the memory plane) no packets are carried: forwarding and
    firewall are left alone and nobody is probed.
    """

    plane: Plane
    plane_named: Callable[[str], Plane]
    system: System
    tunnels: bool = True
    run_hook: Runner = run_hook
    run_resolvectl: Run = run_resolvectl


class Daemon:
    """All meshes of a host, and the API's StatusSource.

    `stopping` may be set at any time: waiting is cut short then, and `stop` follows.
    """

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
        self.stopping = asyncio.Event()
        self.failure: StoreDamaged | None = None
        self.starting = True
        self.events = EventLog()
        self.declaring = Declaring(Places(directories.etc, directories.local), self.reload, self.status)
        self._settings = settings
        self._started = loop.time()
        self._started_wall = time.time()
        self._problem = problem
        self._links = Links(
            on_up=self._link_up,
            on_frame=self._frame,
            on_down=self._link_down,
            on_dial_failed=self._dial_failed,
            monotonic=loop.time,
            settings=LinkSettings(mark=MARK if platform.tunnels else 0),
        )
        self._host = Host(
            directories=directories,
            link_port=settings.link_port,
            keys=keys,
            store=store,
            links=self._links,
            plane=platform.plane,
            system=platform.system,
            tunnels=platform.tunnels,
            routes=Routes(keys.node_key, self._interfaces_changed),
            forwards=lambda: self._forwarding is None or self._forwarding.works,
            resolver=Resolver(loop.time),
            run_hook=platform.run_hook,
            clock=loop.time,
            give_up=self._give_up,
            viewed=self._viewed,
        )
        self._followed = Meshes(
            self._host,
            settings.node_name,
            platform.plane_named,
            self.stopping,
            self._interface_up,
            self.events.add,
            self._mesh_stopped,
        )
        self._reloading = asyncio.Lock()
        self._forwarding = self._make_forwarding() if platform.tunnels else None
        self._opening = Opening(settings.firewall_chains, self._open_ports) if platform.tunnels else None
        listen = settings.api_listen
        self._api = HttpsServer(listen, self, self._api_tls) if listen is not None else None
        self._scrape = Scrape(self._read_metrics, per_peer=settings.metrics_per_peer, clock=loop.time)
        listen = settings.metrics_listen
        self._metrics = MetricsServer(listen, self.metrics) if listen is not None else None
        listen = settings.join_listen
        self._joining = Joining(listen, self._host, lambda: self._meshes) if listen is not None else None
        self._names = self._make_names(settings.dns, platform.run_resolvectl) if settings.dns is not None else None

    async def start(self) -> None:
        """Listen for links and start the declared meshes. ListenError if the link port is taken."""
        await self._links.start(self._settings.listen, self._settings.link_port)
        if self._forwarding is not None:
            self._forwarding.start()
        if self._opening is not None:
            self._opening.start()
        if self._api is not None:
            self._api.start()
        if self._metrics is not None:
            self._metrics.start()
        if self._joining is not None:
            self._joining.server.start()
        if self._names is not None:
            self._names.start()
        await self.reload()

    @property
    def _meshes(self) -> Mapping[str, Mesh]:
        """Those that run, by mesh id."""
        return self._followed.running

    def _give_up(self, failure: StoreDamaged) -> None:
        self.failure = failure
        self.stopping.set()

    async def stop(self) -> None:
        """End; interfaces stay as they are, so that no packet is lost until the next start."""
        self.stopping.set()
        self.events.close()
        if self._api is not None:
            await self._api.stop()
        if self._metrics is not None:
            await self._metrics.stop()
        if self._joining is not None:
            await self._joining.server.stop()
        if self._opening is not None:
            await self._opening.close()  # before it would find no mesh, and close the ports
        if self._names is not None:
            await self._names.stop()
        async with self._reloading:
            self._host.routes.close()
            await self._followed.stop()
        if self._forwarding is not None:
            await self._forwarding.close()
        await self._links.stop()  # sends what is queued first
        self._host.resolver.close()

    # StatusSource

    def status(self) -> types.Status:
        """The agent and all its meshes."""
        plane = self._host.plane.name
        routes, problems = self._host.routes, self._followed.problems
        running = [
            mesh_report(mesh, plane, problems.get(name), routes, self._name_problems(name))
            for name, mesh in self._meshes.items()
        ]
        failed = [types.Mesh(mesh=name, state="failed", problem=problems[name]) for name in self._followed.failed]
        kernel = [each for each in (self._forwarding, self._opening) if each is not None]
        found = [problem for each in kernel for problem in (each.problem, *each.obstacles)]
        joining = self._joining.server if self._joining is not None else None
        listeners = [each.problem for each in (self._api, self._metrics, joining) if each is not None]
        names = self._names.problems if self._names is not None else []
        own = (self._problem, *listeners, *names, *found, *self._followed.host_problems)
        return types.Status(
            version=smegmesh.__version__,
            node_name=self._settings.node_name,
            node_key=encode_key(self._host.keys.node_key),
            tunnel_key=encode_key(self._host.keys.tunnel_key),
            uptime=self._host.clock() - self._started,
            meshes=sorted(running + failed, key=lambda mesh: mesh.mesh),
            problems=[each for each in own if each],
        )

    def summary(self) -> str:
        """One line for the service manager."""
        running: dict[str, str] = {name: mesh_state(mesh) for name, mesh in self._meshes.items()}
        states = {**dict.fromkeys(self._followed.problems, "failed"), **running}
        return ", ".join(f"{name} {state}" for name, state in sorted(states.items())) or "no mesh declared"

    async def members(self, mesh: str) -> list[types.Member]:
        """Members of a mesh, sorted by name; KeyError for a mesh that does not run here."""
        return await self._meshes[mesh].members.read()

    async def graph(self, mesh: str) -> types.Graph:
        """The topology of a mesh; KeyError as above."""
        return await self._meshes[mesh].graph.read()

    async def static_peers(self, mesh: str) -> list[types.StaticPeer]:
        """The static peers that this host declares in a mesh, sorted by name; KeyError as above."""
        running = self._meshes[mesh]
        device = await running.interface.state()
        return static_peer_reports(running.view(), running.declaration.static_peers, device)

    async def diagnosis(self, mesh: str) -> types.Diagnosis:
        """What helps to find faults in a mesh; KeyError as above."""
        running = self._meshes[mesh]
        differences = await running.interface.compare()
        return diagnosis(running, differences, self._host.clock_of(running.credentials.authority).newest)

    async def revoke(self, mesh: str, revocation: bytes) -> types.Removed:
        """Take a node out of a mesh as its authority says. KeyError as above; Rejected if it is no such word."""
        removed = removals.revoke(self._meshes[mesh], revocation)
        self._meshes[mesh].members.forget()
        return removed

    async def forget(self, mesh: str, member: str) -> types.Removed:
        """Take out a member that is down. KeyError as above; Rejected for any other."""
        removed = removals.forget(self._meshes[mesh], member)
        self._meshes[mesh].members.forget()
        return removed

    async def rotate(self, *, force: bool, check: bool) -> types.Rotated:
        """Replace the host's tunnel key in all meshes. Rejected as the protocol says, and if it cannot be stored."""
        async with self._reloading:
            meshes = list(self._meshes.values())
            return await rotate(self._host, self._settings.node_name, meshes, force=force, check=check)

    def joins(self) -> list[types.Join]:
        """The requests to join that wait here; Rejected if none are taken."""
        return self._required_joining().listing()

    def approve(self, certificates: bytes) -> list[types.Join]:
        """Keep certificates for those who asked for them. Rejected as the protocol says."""
        return self._required_joining().approve(certificates)

    def reject(self, fingerprint: str) -> types.Join:
        """Drop a request to join for good. Rejected as the protocol says."""
        return self._required_joining().reject(fingerprint)

    def invite(self, mesh: str, token: types.NewToken) -> types.Invited:
        """Let who has a token join. KeyError as above; Rejected as the protocol says."""
        return self._required_joining().invite(self._meshes[mesh], token)

    def _required_joining(self) -> Joining:
        if self._joining is None:
            raise Rejected("this host takes no requests to join", "set smegmesh_join_listen and run site.yml", 404)
        return self._joining

    async def metrics(self) -> str:
        """What is measured, for Prometheus."""
        return await self._scrape.text()

    async def _read_metrics(self) -> AgentReading:
        meshes = await asyncio.gather(*(read_mesh(mesh, self._host.clock) for mesh in self._meshes.values()))
        return AgentReading(
            version=smegmesh.__version__,
            failed=self._followed.failed,
            link_counters=dict(self._links.counters),
            meshes=meshes,
            process=read_process(self._started_wall),
            wall=time.time(),
        )

    async def reload(self) -> types.Reloaded:
        """Follow the declarations and certificates as they are on disk now."""
        async with self._reloading:
            if self.stopping.is_set():
                return types.Reloaded()
            changed = await self._followed.follow()
            self.starting = False
            await self._settle(changed)
            for mesh in self._meshes.values():
                mesh.members.forget()
        return types.Reloaded(changed=sorted(changed), problems=self._followed.all_problems())

    async def _settle(self, changed: Collection[str]) -> None:
        """Give what was changed a moment to come up, so that the answer tells how it went."""
        waits = [self._meshes[name].interface.settled() for name in changed if name in self._meshes]
        if self._forwarding is not None:
            self._forwarding.changed()
            waits.append(self._forwarding.settled())
        if self._opening is not None:
            self._opening.changed()
            waits.append(self._opening.settled())
        await wait_unless(self.stopping, waits, _SETTLE)

    # Forwarding

    def _interfaces_changed(self) -> None:
        if self._forwarding is not None:
            self._forwarding.changed()

    def _make_forwarding(self) -> Forwarding:
        return Forwarding(self._host.store, self._host_plan, self._forwarding_devices, on_works=self._works_changed)

    def _works_changed(self) -> None:
        for mesh in self._meshes.values():
            mesh.forwarding_changed()

    def _host_plan(self) -> HostPlan:
        return self._host.routes.plan

    def _forwarding_devices(self) -> list[str]:
        return [mesh.interface.device for mesh in self._meshes.values() if _forwards(mesh.declaration)]

    def _open_ports(self) -> list[Port]:
        """What has to be reached from outside: of the meshes in which this host is a peer."""
        peers = [mesh for mesh in self._meshes.values() if mesh.declaration.role is Role.PEER]
        ports = [Port("udp", mesh.interface.port) for mesh in peers]
        return [*ports, Port("tcp", self._settings.link_port)] if peers else []

    def _interface_up(self) -> None:
        self._interfaces_changed()
        if self._names is not None:
            self._names.interfaces_changed()

    def _mesh_stopped(self, mesh: str) -> None:
        if self._names is not None:
            self._names.drop(mesh)

    # Names

    def _make_names(self, settings: DnsSettings, run: Run) -> Names:
        from smegmesh.daemon.names import Names

        return Names(settings, self._standing, run)

    def _standing(self) -> dict[str, str]:
        return {name: mesh.interface.device for name, mesh in self._meshes.items() if mesh.interface.stands}

    def _viewed(self, view: View) -> None:
        if self._names is not None:
            self._names.follow(view)

    def _name_problems(self, mesh: str) -> list[str]:
        return self._names.problems_of(mesh) if self._names is not None else []

    # The API over TLS

    def _api_tls(self) -> ApiTls | None:
        return api_tls(self._host, self._meshes.values())

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


def _forwards(declaration: Declaration) -> bool:
    return declaration.role is Role.PEER or bool(declaration.advertise)
