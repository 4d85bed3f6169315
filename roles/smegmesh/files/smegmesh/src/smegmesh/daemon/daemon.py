"""The daemon: everything wired together, and what changes while it runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import smegmesh
from smegmesh.control import types
from smegmesh.control.errors import Rejected
from smegmesh.control.events import EventLog
from smegmesh.control.https import HttpsServer
from smegmesh.control.metrics_server import MetricsServer
from smegmesh.control.tls import ApiTls
from smegmesh.crdt.entry import Role
from smegmesh.daemon import removals
from smegmesh.daemon.credentials import CredentialError, Credentials, load_credentials
from smegmesh.daemon.declaring import Declaring
from smegmesh.daemon.forwarding import Forwarding
from smegmesh.daemon.hook_process import run_hook
from smegmesh.daemon.hooks import Runner
from smegmesh.daemon.host import Directories, Host
from smegmesh.daemon.joining import Joining
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.mesh import Mesh
from smegmesh.daemon.metrics import AgentReading
from smegmesh.daemon.opening import Opening
from smegmesh.daemon.report import diagnosis, mesh_report, mesh_state, static_peer_reports
from smegmesh.daemon.resolved import Run, run_resolvectl
from smegmesh.daemon.resolver import Resolver
from smegmesh.daemon.routes import Routes
from smegmesh.daemon.scrape import Scrape, read_mesh, read_process
from smegmesh.daemon.threads import in_thread
from smegmesh.dataplane.opening import Port
from smegmesh.dataplane.plane import Plane, PlaneError
from smegmesh.dataplane.system import System
from smegmesh.declaration import AgentSettings, Declaration, DnsSettings, Hook, Loaded, choose_ports, read_meshes
from smegmesh.declaration.change import Places
from smegmesh.declaration.write import forget_fragments
from smegmesh.gossip.view import View
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.identity.keys import encode_key
from smegmesh.routing.tables import MARK, HostPlan
from smegmesh.store import Device, Store, StoreDamaged, StoreError
from smegmesh.store.keys import HostKeys, rotate_tunnel_key
from smegmesh.store.pair_keys import Keys, load_pair_keys
from smegmesh.store.static_keys import drop_static_keys
from smegmesh.transport.links import Links
from smegmesh.transport.settings import LinkSettings
from smegmesh.transport.tls import TlsSettingsError

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
        self._pair_keys: Keys = {}
        self._started = loop.time()
        self._started_wall = time.time()
        self._problem = problem
        self._plane_named = platform.plane_named
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
        self._meshes: dict[str, Mesh] = {}
        self._problems: dict[str, str] = {}
        self._host_problems: list[str] = []
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
            meshes, self._meshes = self._meshes, {}
        self._host.routes.close()
        await asyncio.gather(*(mesh.stop(leave=False) for mesh in meshes.values()))
        if self._forwarding is not None:
            await self._forwarding.close()
        await self._links.stop()  # sends what is queued first
        self._host.resolver.close()

    # StatusSource

    def status(self) -> types.Status:
        """The agent and all its meshes."""
        plane = self._host.plane.name
        routes = self._host.routes
        running = [
            mesh_report(mesh, plane, self._problems.get(name), routes, self._name_problems(name))
            for name, mesh in self._meshes.items()
        ]
        failed = [
            types.Mesh(mesh=name, state="failed", problem=problem)
            for name, problem in self._problems.items()
            if name not in self._meshes
        ]
        kernel = [each for each in (self._forwarding, self._opening) if each is not None]
        found = [problem for each in kernel for problem in (each.problem, *each.obstacles)]
        joining = self._joining.server if self._joining is not None else None
        listeners = [each.problem for each in (self._api, self._metrics, joining) if each is not None]
        names = self._names.problems if self._names is not None else []
        return types.Status(
            version=smegmesh.__version__,
            node_name=self._settings.node_name,
            node_key=encode_key(self._host.keys.node_key),
            tunnel_key=encode_key(self._host.keys.tunnel_key),
            uptime=self._host.clock() - self._started,
            meshes=sorted(running + failed, key=lambda mesh: mesh.mesh),
            problems=[each for each in (self._problem, *listeners, *names, *found, *self._host_problems) if each],
        )

    def summary(self) -> str:
        """One line for the service manager."""
        running: dict[str, str] = {name: mesh_state(mesh) for name, mesh in self._meshes.items()}
        states = {**dict.fromkeys(self._problems, "failed"), **running}
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
            reasons = [reason for mesh in self._meshes.values() if (reason := mesh.unready_to_rotate())]
            if reasons and not force:
                fix = "mend that, or force it and be cut off from them until they hear of it"
                raise Rejected("; ".join(reasons), fix, 409)
            before = self._host.keys
            if check:
                return _rotated(before, before)
            try:
                self._host.keys = await asyncio.to_thread(rotate_tunnel_key, self._host.directories.state)
            except StoreError as error:
                raise Rejected("the key cannot be replaced", str(error), 409) from error
            await asyncio.gather(*(mesh.rekey() for mesh in self._meshes.values()))
            _log.warning("node=%s: has a new tunnel key", self._settings.node_name)
            interfaces = [mesh.interface for mesh in self._meshes.values()]
            failed = [str(each.problem) for each in interfaces if each.keys is not self._host.keys]
            if failed:
                fix = "mend that; the new key is taken, and told to the others, as soon as it can be"
                raise Rejected("; ".join(failed), fix, 409)
        return _rotated(before, self._host.keys)

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
        failed = [name for name in self._problems if name not in self._meshes]
        meshes = await asyncio.gather(*(read_mesh(mesh, self._host.clock) for mesh in self._meshes.values()))
        return AgentReading(
            version=smegmesh.__version__,
            failed=failed,
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
            directories = self._host.directories
            loaded = await asyncio.to_thread(read_meshes, directories.etc, directories.local, tuple(self._meshes))
            self._problems, self._host_problems = {}, []
            for bad in loaded.errors:
                self._note(bad.mesh, bad.error)
            # Where a directory cannot be read, nobody knows what is declared: everything stays.
            known = all(bad.mesh for bad in loaded.errors)
            await self._read_pair_keys()
            changed = await self._follow({declared.mesh: declared for declared in loaded.declarations}, known)
            if known:
                await self._forget_fragments(loaded)
            self.starting = False
            await self._settle(changed)
            for mesh in self._meshes.values():
                mesh.members.forget()
        return types.Reloaded(changed=sorted(changed), problems=self._all_problems())

    async def _read_pair_keys(self) -> None:
        """Where they cannot be read, those that are in use stay."""
        try:
            self._pair_keys = await asyncio.to_thread(load_pair_keys, self._host.directories.state)
        except StoreError as error:
            self._note("", error)

    async def _forget_fragments(self, loaded: Loaded) -> None:
        """What the host added to a mesh that it is not in any more goes."""
        keep = {declared.mesh for declared in loaded.declarations} | {bad.mesh for bad in loaded.errors}
        try:
            await in_thread(forget_fragments, self._host.directories.local, keep)
        except OSError as error:
            self._note("", error)

    def _note(self, mesh: str, error: Exception | str) -> None:
        """Keep a problem of a mesh, or of the host where that is empty, until the next reload."""
        _log.error("mesh=%s node=%s: %s", mesh or "-", self._settings.node_name, error)
        if mesh:
            self._problems[mesh] = str(error)
        else:
            self._host_problems.append(str(error))

    # Following the declarations

    async def _follow(self, wanted: dict[str, Declaration], known: bool) -> set[str]:
        """Stop, change and start meshes; which. One whose file or certificate is bad now goes on as it was."""
        gone = self._meshes.keys() - wanted.keys() - self._problems.keys() if known else set()
        changed = set(gone)
        departing = [self._meshes[name] for name in gone]
        await self._run_hooks("pre_down", departing)
        for name in gone:
            await self._stop(name, leave=True)
        ports = self._choose_ports(wanted)
        credentials = self._load_credentials(wanted.values())
        restarting = {
            name: self._meshes[name]
            for name, found in credentials.items()
            if name in self._meshes and self._meshes[name].needs_restart(wanted[name], ports[name], found)
        }
        renamed = [mesh for name, mesh in restarting.items() if mesh.interface.device != wanted[name].interface]
        await self._run_hooks("pre_down", renamed)
        # An interface that is adopted again gets no second `post_up`: the first is to be whole.
        await self._unless_stopping([mesh.hooks.finished() for mesh in restarting.values()])
        for name, mesh in restarting.items():
            await self._stop(name, leave=not mesh.has_authority(credentials[name]))
            changed.add(name)
        taken_down = await self._take_down_leftovers(wanted, known)
        await self._run_hooks(
            "post_down", [mesh for mesh in departing + renamed if mesh.interface.device in taken_down]
        )
        for name, found in credentials.items():
            try:
                if self._start_or_update(wanted[name], ports[name], found):
                    changed.add(name)
            except (TlsSettingsError, StoreError, ValueError) as error:
                self._note(name, error)
                if name not in self._meshes:
                    self._host.routes.drop(name)
        self._keep_ports(wanted, ports, known)
        return changed

    async def _stop(self, name: str, *, leave: bool) -> None:
        await self._meshes.pop(name).stop(leave=leave)
        if self._names is not None:
            self._names.drop(name)
        if leave:
            self._forget(name)
            _log.info("mesh=%s node=%s: left", name, self._settings.node_name)

    def _start_or_update(self, declaration: Declaration, port: int, credentials: Credentials) -> bool:
        running = self._meshes.get(declaration.mesh)
        pair_keys = self._pair_keys.get(declaration.mesh, {})
        if running is not None:
            return running.update(declaration, credentials, pair_keys)
        log = NodeLogger(_log, {"mesh": declaration.mesh, "node": self._settings.node_name})
        told = self._interface_up, self.events.add
        mesh = Mesh(self._host, declaration, port, credentials, pair_keys, *told, log)
        mesh.start()
        self._meshes[declaration.mesh] = mesh
        return True

    def _load_credentials(self, declarations: Iterable[Declaration]) -> dict[str, Credentials]:
        """By mesh id, without those whose files are bad."""
        loaded = {}
        for declaration in declarations:
            directory = self._host.directories.etc / "authorities" / declaration.authority
            try:
                loaded[declaration.mesh] = load_credentials(directory, declaration, self._host.keys)
            except CredentialError as error:
                self._note(declaration.mesh, error)
        return loaded

    def _choose_ports(self, wanted: Mapping[str, Declaration]) -> dict[str, int]:
        """Ports of the wanted meshes; those of the others that still run, or cannot run now, are left to them."""
        others = {name: port for name, port in self._host.store.ports().items() if name not in wanted}
        running = {mesh.interface.port for name, mesh in self._meshes.items() if name not in wanted}
        return choose_ports(wanted.values(), self._host.store.ports(), busy=running | set(others.values()))

    def _keep_ports(self, wanted: Mapping[str, Declaration], ports: Mapping[str, int], known: bool) -> None:
        """Remember the ports that were chosen here. A declared one is the file's to say: it may be refused."""
        held = self._host.store.ports()
        kept = {name: port for name, port in held.items() if name in wanted or name in self._problems or not known}
        kept |= {name: ports[name] for name, declaration in wanted.items() if declaration.port is None}
        if kept == held:
            return
        try:
            self._host.store.keep_ports(kept)
        except StoreError as error:
            self._note("", error)

    async def _run_hooks(self, hook: Hook, meshes: Collection[Mesh]) -> None:
        """Run a hook of meshes whose interface goes, all at once; cut short when the agent is to stop.

        The problems are the host's: those meshes are in no status any more.
        """
        made = {device.name for device in self._host.store.devices()} if hook == "pre_down" else None
        with_files = [
            mesh for mesh in meshes if mesh.hooks.declared(hook) and (made is None or mesh.interface.device in made)
        ]
        if self.stopping.is_set():
            for mesh in with_files:
                _log.warning("mesh=%s node=%s: no %s: the agent stops", mesh.mesh_id, self._settings.node_name, hook)
            return
        if with_files:
            await self._unless_stopping([mesh.hooks.run(hook) for mesh in with_files])
        for mesh in with_files:
            self._host_problems += [f"mesh {mesh.mesh_id}: {problem}" for problem in mesh.hooks.problems_of(hook)]

    async def _take_down_leftovers(self, wanted: Mapping[str, Declaration], known: bool) -> set[str]:
        """Remove interfaces that were made here and are declared no more, or by another name or plane; which."""
        taken_down = set()
        plane = self._host.plane.name
        for device in self._host.store.devices():
            undeclared = device.mesh not in wanted
            if undeclared and (device.mesh in self._problems or not known):
                continue
            if undeclared or device.plane != plane or device.name != self._device_of(wanted[device.mesh]):
                if await self._take_down(device):
                    taken_down.add(device.name)
                if undeclared:
                    self._forget(device.mesh)
                    self._forget_static_keys(device.mesh)
        return taken_down

    def _device_of(self, declaration: Declaration) -> str:
        """The interface that a mesh runs on, or will."""
        running = self._meshes.get(declaration.mesh)
        return running.interface.device if running is not None else declaration.interface

    async def _take_down(self, device: Device) -> bool:
        try:
            await in_thread(lambda: self._plane_named(device.plane).delete(device.name))
            self._host.store.forget_device(device.name)
        except (PlaneError, StoreError, OSError) as error:
            self._note("", error)
            return False
        return True

    def _forget(self, mesh: str) -> None:
        try:
            self._host.store.forget(mesh)
        except StoreError as error:
            self._note("", error)

    def _forget_static_keys(self, mesh: str) -> None:
        try:
            drop_static_keys(self._host.directories.state, mesh, ())
        except OSError as error:
            self._note("", error)

    async def _settle(self, changed: Collection[str]) -> None:
        """Give what was changed a moment to come up, so that the answer tells how it went."""
        waits = [self._meshes[name].interface.settled() for name in changed if name in self._meshes]
        if self._forwarding is not None:
            self._forwarding.changed()
            waits.append(self._forwarding.settled())
        if self._opening is not None:
            self._opening.changed()
            waits.append(self._opening.settled())
        await self._unless_stopping(waits, _SETTLE)

    async def _unless_stopping(
        self, waits: Collection[Coroutine[Any, Any, None]], at_most: float | None = None
    ) -> None:
        """Wait for all, or until the agent is to stop, or for so many seconds; what is not done then is ended."""
        either: list[asyncio.Future[Any]] = [asyncio.gather(*waits), asyncio.ensure_future(self.stopping.wait())]
        try:
            await asyncio.wait(either, timeout=at_most, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in either:
                wait.cancel()
            await asyncio.gather(*either, return_exceptions=True)

    def _all_problems(self) -> dict[str, str]:
        running = {name: mesh.interface.problem for name, mesh in self._meshes.items()}
        return {**{name: problem for name, problem in running.items() if problem}, **self._problems}

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
        """What the API shows, and the authorities of the meshes that run here; None if none does.

        A client cannot say which authority it trusts, so the certificate is always that of the first one by name.
        """
        held = {mesh.declaration.authority: mesh.credentials for mesh in self._meshes.values()}
        if not held:
            return None
        first = held[min(held)]
        authorities = [held[name].authority for name in sorted(held)]
        return ApiTls(
            certificate_file=first.certificate_file,
            key_file=self._host.directories.identity_key,
            certificate=first.certificate.der,
            trusted=tuple((authority, self._host.clock_of(authority)) for authority in authorities),
        )

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


def _rotated(before: HostKeys, after: HostKeys) -> types.Rotated:
    return types.Rotated(
        node_key=encode_key(after.node_key),
        before=encode_key(before.tunnel_key),
        tunnel_key=encode_key(after.tunnel_key),
    )
