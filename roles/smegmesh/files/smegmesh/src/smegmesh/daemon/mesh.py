"""One mesh on this host: its engine, links, interface and probes, wired together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from random import SystemRandom

import smegmesh
from smegmesh.crdt.entry import Entry, Role
from smegmesh.daemon.credentials import load_credentials
from smegmesh.daemon.host import Host
from smegmesh.daemon.interface import Interface
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.sessions import SilentSessions
from smegmesh.dataplane.probe import Prober
from smegmesh.declaration import Declaration
from smegmesh.gossip.engine import Engine
from smegmesh.gossip.events import Alarm, Close, Dial, Event, Persist, Probe, Send, ViewChanged
from smegmesh.gossip.settings import Settings, Stored
from smegmesh.gossip.view import View
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.store import StoreError
from smegmesh.transport.tls import MeshTls

_KEPT_ALARMS = 20
_STORE_RETRY = 5.0  # seconds
_GREETING = 3.0  # seconds for which everybody is pinged once the interface is new


class Mesh:
    """Runs one declared mesh. Raises CredentialError when made without usable certificates.

    `on_interfaces` is called whenever its interface has come up or is gone.
    """

    def __init__(
        self, host: Host, declaration: Declaration, port: int, on_interfaces: Callable[[], None], log: NodeLogger
    ) -> None:
        self.declaration = declaration
        self.alarms: deque[str] = deque(maxlen=_KEPT_ALARMS)
        self._host = host
        self._log = log
        self._on_interfaces = on_interfaces
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._greeting: asyncio.TimerHandle | None = None
        self._waiting: deque[Event] = deque()
        self._watched: frozenset[bytes] = frozenset()
        self._probing: frozenset[bytes] = frozenset()
        self._sessions = SilentSessions()
        self._renewing: set[asyncio.Task[None]] = set()
        self.store_problem: str | None = None
        self.dial_problem: str | None = None
        credentials = load_credentials(
            host.directories.etc / "authorities" / declaration.authority, declaration.mesh, host.keys
        )
        self._authority = credentials.authority
        self.certificate = credentials.certificate
        state = host.store.load(declaration.mesh, host.keys.node_key)
        self.engine = Engine(
            Settings(mesh_id=declaration.mesh, bootstrap=tuple(entry.address for entry in declaration.bootstrap)),
            host.keys.identity,
            credentials.certificate,
            credentials.authority,
            SystemRandom(),
            host.clock(),
            Stored(state.records, state.certificates, state.number),
        )
        self.interface = Interface(host, declaration, port, self.engine.view, self._interface_up, log)
        self._prober = Prober(declaration.interface, self._probed)
        self._tls = MeshTls(
            authority=credentials.authority,
            certificate_file=credentials.certificate_file,
            key_file=host.directories.identity_key,
            clock=host.clock_of(credentials.authority),
        )

    @property
    def mesh_id(self) -> str:
        """Its name."""
        return self.declaration.mesh

    def view(self) -> View:
        """The picture of this moment."""
        return self.engine.view()

    def start(self) -> None:
        """Join: accept and dial links, publish the own entry, bring the interface up."""
        self._host.links.set_mesh(self.mesh_id, self._tls)
        self._input(self.engine.set_entry, self._entry())
        self.interface.start()

    def update(self, declaration: Declaration) -> None:
        """Follow a declaration that needs no new interface (see `needs_restart`)."""
        self.declaration = declaration
        self.interface.set_policy(declaration)
        self._input(self.engine.set_entry, self._entry())

    def needs_restart(self, declaration: Declaration, port: int) -> bool:
        """Whether a declaration changes what only a new start of the mesh can take."""
        old = self.declaration
        return port != self.interface.port or any(
            getattr(old, name) != getattr(declaration, name)
            for name in ("interface", "authority", "role", "mtu", "bootstrap")
        )

    def update_certificate(self) -> None:
        """Read the certificate files again: new links use them, old ones stay."""
        credentials = load_credentials(
            self._host.directories.etc / "authorities" / self.declaration.authority, self.mesh_id, self._host.keys
        )
        if credentials.certificate.fingerprint == self.certificate.fingerprint:
            return
        self.certificate = credentials.certificate
        self._host.links.set_mesh(self.mesh_id, self._tls)
        self._input(self.engine.set_certificate, credentials.certificate)

    async def stop(self, *, leave: bool, take_down: bool) -> None:
        """End. On `leave` the others are told that it is for good, else that it is a restart."""
        self._input(self.engine.leave if leave else self.engine.announce_restart)
        for timer in (self._timer, self._greeting):
            if timer is not None:
                timer.cancel()
        self._prober.close()
        self._host.links.drop_mesh(self.mesh_id)
        await self.interface.close(take_down)
        self._on_interfaces()
        if leave:
            self._host.store.forget(self.mesh_id)

    # What links tell.

    def link_up(self, link: int, certificate: NodeCertificate, dialled: bool) -> None:
        """A link to a member stands."""
        self.dial_problem = None
        self._input(self.engine.link_up, link, certificate, dialled)

    def link_down(self, link: int) -> None:
        """A link is gone."""
        self._input(self.engine.link_down, link)

    def frame(self, link: int, data: bytes) -> None:
        """A frame came."""
        self._input(self.engine.receive, link, data)

    def dial_failed(self, dial: int, reason: str) -> None:
        """Nobody was reached, and why."""
        if reason != self.dial_problem:
            self._log.warning("no link: %s", reason)
        self.dial_problem = reason
        self._input(self.engine.dial_failed, dial)

    # What the engine asks for.

    def _input(self, method: Callable[..., None], *arguments: object) -> None:
        method(*arguments, self._host.clock())
        self._waiting.extend(self.engine.events())
        self._carry_out()
        self._set_timer()

    def _carry_out(self) -> None:
        """In order; what follows a commit that failed waits until it can be made."""
        while self._waiting:
            event = self._waiting[0]
            if isinstance(event, Persist) and not self._persist(event):
                self._loop.call_later(_STORE_RETRY, self._carry_out)
                return
            self._waiting.popleft()
            self._handle(event)

    def _persist(self, event: Persist) -> bool:
        try:
            self._host.store.commit(self.mesh_id, self._host.keys.node_key, event)
        except StoreError as error:
            if self.store_problem is None:
                self._log.error("%s", error)
            self.store_problem = str(error)
            return False
        self.store_problem = None
        return True

    def _handle(self, event: Event) -> None:
        if isinstance(event, Send):
            self._host.links.send(event.link, event.frame)
        elif isinstance(event, Dial):
            self._host.links.dial(self.mesh_id, event.dial, event.addresses)
        elif isinstance(event, Close):
            self._host.links.close(event.link, event.reason)
        elif isinstance(event, Probe):
            self._watched = event.node_keys
            self._watch()
        elif isinstance(event, ViewChanged):
            self.interface.view_changed()
        elif isinstance(event, Alarm):
            self.alarms.append(event.text)
            self._log.error("%s: %s", event.kind, event.text)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self.engine.next_timer(), partial(self._input, self.engine.timer))

    # The interface and what is seen through it.

    def _interface_up(self, created: bool) -> None:
        self._on_interfaces()
        if created:
            self._greet()

    def _greet(self) -> None:
        """Ping everybody for a moment: a new interface has no sessions, and WireGuard peers that still
        hold ours from before send into the void for 15 s unless we begin a new one."""
        self._probing = frozenset(self.view().members) - {self._host.keys.node_key}
        self._greeting = self._loop.call_later(_GREETING, self._end_greeting)
        self._watch()

    def _end_greeting(self) -> None:
        self._probing = frozenset()
        self._watch()

    def _watch(self) -> None:
        members = self.view().members
        keys = (self._watched | self._probing) & members.keys()
        self._prober.watch((key, members[key].address) for key in keys)

    def _probed(self, node_key: bytes, answered: bool) -> None:
        if node_key not in self._watched:
            return
        member = self.view().members.get(node_key)
        if member is not None and self._sessions.probed(node_key, answered, self._host.clock()):
            task = self._loop.create_task(self.interface.renew(member.entry.tunnel_key), name="renew")
            self._renewing.add(task)
            task.add_done_callback(self._renewing.discard)
        self._input(self.engine.probe_result, node_key, answered)

    def _entry(self) -> Entry:
        declaration = self.declaration
        endpoints: tuple[str, ...] = ()
        links: tuple[str, ...] = ()
        if declaration.role is Role.PEER and declaration.endpoint is not None:
            endpoints = (declaration.endpoint.text(self.interface.port),)
            links = (declaration.endpoint._replace(port=None).text(self._host.link_port),)
        return Entry(
            name=self.certificate.grant.node_name,
            role=declaration.role,
            tunnel_key=self._host.keys.node_key,
            endpoints=endpoints,
            links=links,
            alias=declaration.alias,
            description=declaration.description,
            advertise=tuple(map(str, declaration.advertise)),
            bridge=declaration.bridge,
            agent=smegmesh.__version__,
        )
