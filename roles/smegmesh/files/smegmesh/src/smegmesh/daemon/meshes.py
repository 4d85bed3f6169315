"""The meshes of a host, which follow the declarations and certificates on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from smegmesh.control import types
from smegmesh.daemon.credentials import CredentialError, Credentials, load_credentials
from smegmesh.daemon.host import Host
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.leftovers import Leftovers
from smegmesh.daemon.mesh import Mesh
from smegmesh.daemon.waiting import wait_unless
from smegmesh.dataplane.plane import Plane
from smegmesh.declaration import Declaration, Hook, choose_ports, read_meshes
from smegmesh.store import StoreError
from smegmesh.store.pair_keys import Keys, load_pair_keys
from smegmesh.transport.tls import TlsSettingsError

_log = logging.getLogger(__name__)
#: What a declaration changes only by a new start.
_RESTARTING = ("interface", "role", "mtu", "bootstrap", "endpoint_discovery")


class Meshes:
    """Starts, changes and stops them, one `follow` at a time.

    `running` has them by mesh id, `problems` what was wrong with a mesh at the last `follow`, `host_problems` what is
    no mesh's alone. `on_up` and `on_event` are as in `Mesh`; `on_stopped` is called with the id of one that is stopped,
    also for a restart. Hooks are waited for until `stopping`.
    """

    def __init__(
        self,
        host: Host,
        node_name: str,
        plane_named: Callable[[str], Plane],
        stopping: asyncio.Event,
        on_up: Callable[[], None],
        on_event: Callable[[types.Event], None],
        on_stopped: Callable[[str], None],
    ) -> None:
        self.running: dict[str, Mesh] = {}
        self.problems: dict[str, str] = {}
        self.host_problems: list[str] = []
        self._host = host
        self._node_name = node_name
        self._stopping = stopping
        self._on_up = on_up
        self._on_event = on_event
        self._on_stopped = on_stopped
        self._pair_keys: Keys = {}
        self._leftovers = Leftovers(host, plane_named, self._note_host)

    @property
    def failed(self) -> list[str]:
        """Those that are declared and do not run."""
        return [name for name in self.problems if name not in self.running]

    def all_problems(self) -> dict[str, str]:
        """What is wrong with meshes now, their interfaces included."""
        interfaces = {name: mesh.interface.problem for name, mesh in self.running.items()}
        return {**{name: problem for name, problem in interfaces.items() if problem}, **self.problems}

    async def follow(self) -> set[str]:
        """Follow what is on disk now; which meshes are changed by that."""
        directories = self._host.directories
        loaded = await asyncio.to_thread(read_meshes, directories.etc, directories.local, tuple(self.running))
        self.problems, self.host_problems = {}, []
        for bad in loaded.errors:
            self._note(bad.mesh, bad.error)
        # Where a directory cannot be read, nobody knows what is declared: everything stays.
        known = all(bad.mesh for bad in loaded.errors)
        await self._read_pair_keys()
        changed = await self._follow({declared.mesh: declared for declared in loaded.declarations}, known)
        if known:
            declared = {each.mesh for each in loaded.declarations}
            await self._leftovers.forget_fragments(declared | {bad.mesh for bad in loaded.errors})
        return changed

    async def stop(self) -> None:
        """Stop them all for now; interfaces stay as they are."""
        running, self.running = self.running, {}
        await asyncio.gather(*(mesh.stop(leave=False) for mesh in running.values()))

    async def _read_pair_keys(self) -> None:
        """Where they cannot be read, those that are in use stay."""
        try:
            self._pair_keys = await asyncio.to_thread(load_pair_keys, self._host.directories.state)
        except StoreError as error:
            self._note_host(error)

    def _note(self, mesh: str, error: Exception | str) -> None:
        """Keep a problem of a mesh, or of the host where that is empty, until the next time."""
        _log.error("mesh=%s node=%s: %s", mesh or "-", self._node_name, error)
        if mesh:
            self.problems[mesh] = str(error)
        else:
            self.host_problems.append(str(error))

    def _note_host(self, error: Exception) -> None:
        self._note("", error)

    async def _follow(self, wanted: dict[str, Declaration], known: bool) -> set[str]:
        """Stop, change and start meshes; which. One whose file or certificate is bad now goes on as it was."""
        gone = self.running.keys() - wanted.keys() - self.problems.keys() if known else set()
        changed = set(gone)
        departing = [self.running[name] for name in gone]
        await self._run_hooks("pre_down", departing)
        for name in gone:
            await self._stop(name, leave=True)
        ports = self._choose_ports(wanted)
        credentials = self._load_credentials(wanted.values())
        restarting = {
            name: self.running[name]
            for name, found in credentials.items()
            if name in self.running and _needs_restart(self.running[name], wanted[name], ports[name], found)
        }
        renamed = [mesh for name, mesh in restarting.items() if mesh.interface.device != wanted[name].interface]
        await self._run_hooks("pre_down", renamed)
        # An interface that is adopted again gets no second `post_up`: the first is to be whole.
        await wait_unless(self._stopping, [mesh.hooks.finished() for mesh in restarting.values()])
        for name, mesh in restarting.items():
            await self._stop(name, leave=not _share_authority(mesh.credentials, credentials[name]))
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
                if name not in self.running:
                    self._host.routes.drop(name)
        self._keep_ports(wanted, ports, known)
        return changed

    async def _stop(self, name: str, *, leave: bool) -> None:
        await self.running.pop(name).stop(leave=leave)
        self._on_stopped(name)
        if leave:
            self._leftovers.forget(name)
            _log.info("mesh=%s node=%s: left", name, self._node_name)

    def _start_or_update(self, declaration: Declaration, port: int, credentials: Credentials) -> bool:
        running = self.running.get(declaration.mesh)
        pair_keys = self._pair_keys.get(declaration.mesh, {})
        if running is not None:
            return running.update(declaration, credentials, pair_keys)
        log = NodeLogger(_log, {"mesh": declaration.mesh, "node": self._node_name})
        mesh = Mesh(self._host, declaration, port, credentials, pair_keys, self._on_up, self._on_event, log)
        mesh.start()
        self.running[declaration.mesh] = mesh
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
        running = {mesh.interface.port for name, mesh in self.running.items() if name not in wanted}
        return choose_ports(wanted.values(), self._host.store.ports(), busy=running | set(others.values()))

    def _keep_ports(self, wanted: Mapping[str, Declaration], ports: Mapping[str, int], known: bool) -> None:
        """Remember the ports that were chosen here. A declared one is the file's to say: it may be refused."""
        held = self._host.store.ports()
        kept = {name: port for name, port in held.items() if name in wanted or name in self.problems or not known}
        kept |= {name: ports[name] for name, declaration in wanted.items() if declaration.port is None}
        if kept == held:
            return
        try:
            self._host.store.keep_ports(kept)
        except StoreError as error:
            self._note_host(error)

    async def _run_hooks(self, hook: Hook, meshes: Collection[Mesh]) -> None:
        """Run a hook of meshes whose interface goes, all at once; cut short when the agent is to stop.

        The problems are the host's: those meshes are in no status any more.
        """
        made = {device.name for device in self._host.store.devices()} if hook == "pre_down" else None
        with_files = [
            mesh for mesh in meshes if mesh.hooks.declared(hook) and (made is None or mesh.interface.device in made)
        ]
        if self._stopping.is_set():
            for mesh in with_files:
                _log.warning("mesh=%s node=%s: no %s: the agent stops", mesh.mesh_id, self._node_name, hook)
            return
        if with_files:
            await wait_unless(self._stopping, [mesh.hooks.run(hook) for mesh in with_files])
        for mesh in with_files:
            self.host_problems += [f"mesh {mesh.mesh_id}: {problem}" for problem in mesh.hooks.problems_of(hook)]

    async def _take_down_leftovers(self, wanted: Mapping[str, Declaration], known: bool) -> set[str]:
        """Remove interfaces that were made here and are declared no more, or by another name or plane; which."""
        devices = {
            name: self.running[name].interface.device if name in self.running else declaration.interface
            for name, declaration in wanted.items()
        }
        return await self._leftovers.take_down(devices, lambda mesh: known and mesh not in self.problems)


def _needs_restart(mesh: Mesh, declaration: Declaration, port: int, credentials: Credentials) -> bool:
    """Whether only a new start can take this; that keeps the interface and its sessions."""
    return (
        port != mesh.interface.port
        or credentials.authority.fingerprints != mesh.credentials.authority.fingerprints
        or credentials.certificate.grant != mesh.credentials.certificate.grant
        or any(getattr(mesh.declaration, name) != getattr(declaration, name) for name in _RESTARTING)
    )


def _share_authority(one: Credentials, other: Credentials) -> bool:
    """Whether both are of one mesh, as also while one authority takes over from another; else it is another mesh."""
    return bool(one.authority.fingerprints & other.authority.fingerprints)
