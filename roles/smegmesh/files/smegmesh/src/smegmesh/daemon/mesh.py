"""One mesh on this host: its engine, links, interface and probes, wired together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from functools import partial
from random import SystemRandom
from typing import Any

import smegmesh
from smegmesh.control import types
from smegmesh.crdt.entry import ACCEPT_ALL, BridgedRoute, Entry, Role
from smegmesh.daemon.credentials import Credentials
from smegmesh.daemon.discovery import Discovery, observed, outgoing
from smegmesh.daemon.effects import Effects
from smegmesh.daemon.exits import Upstream, UsedExits
from smegmesh.daemon.graph import GraphReader
from smegmesh.daemon.hooks import Hooks, hook_environment
from smegmesh.daemon.host import Host
from smegmesh.daemon.interface import Interface
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.members import MemberReader
from smegmesh.daemon.sessions import SilentSessions
from smegmesh.daemon.watching import Watcher
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.probe import Prober
from smegmesh.declaration import Declaration, Prefix
from smegmesh.declaration.values import HostPort
from smegmesh.gossip.engine import Engine
from smegmesh.gossip.events import Alarm, Close, Dial, Event, Observed, Probe, Send, ViewChanged
from smegmesh.gossip.observed import Address, outside_address
from smegmesh.gossip.settings import Settings, Stored
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.identity.keys import encode_key
from smegmesh.identity.revocation import read_revocation
from smegmesh.routing.choices import Joined
from smegmesh.routing.host import Place
from smegmesh.routing.offers import DEFAULT, Accepted
from smegmesh.routing.preshared import Pairs, make_keyring
from smegmesh.routing.reach import Reach
from smegmesh.transport.dialling import parse_address
from smegmesh.transport.tls import MeshTls

PairKeys = Mapping[str, tuple[bytes, ...]]
_KEPT_ALARMS = 20
_KEPT_FAILURES = 100
_SESSION = 180.0  # seconds after a handshake until WireGuard drops the session (Reject-After-Time)
_IN_VAIN = 0.1  # seconds; longer than the first message of a handshake is under way
_GREETING = 3.0  # seconds for which everybody is pinged once the interface is new
_PROBE_PAUSE = 1.0  # seconds between pings until the engine asks for others
_RESOLUTION = 0.01  # seconds
_REVOKED = "its authority has revoked this node, for good: give the host new keys, with uninstall and site"
_RESTARTING = (
    "interface",
    "role",
    "mtu",
    "bootstrap",
    "endpoint_discovery",
)  # what a declaration changes only by a new start


class Mesh:
    """Runs one declared mesh. Made without effect; ValueError if the declaration says what no entry may.

    `pair_keys` are the preshared keys with other members, by name, newest first.
    `on_up` is called when its interface has come up, `on_event` when something happened that is worth telling.
    """

    def __init__(
        self,
        host: Host,
        declaration: Declaration,
        port: int,
        credentials: Credentials,
        pair_keys: PairKeys,
        on_up: Callable[[], None],
        on_event: Callable[[types.Event], None],
        log: NodeLogger,
    ) -> None:
        self.declaration = declaration
        self.alarms: deque[str] = deque(maxlen=_KEPT_ALARMS)
        self.dial_problem: str | None = None
        self.began = host.clock()
        self._dial_failures: set[str] = set()  # those that were logged
        self._host = host
        self._credentials = credentials
        self._on_up = on_up
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._informed = False
        self._timer: asyncio.TimerHandle | None = None
        self._greeting: asyncio.TimerHandle | None = None
        self._probe_problem: str | None = None
        self._speak_problem: str | None = None
        self._probe_pause = _PROBE_PAUSE
        self._watched: frozenset[bytes] = frozenset()
        self._greeted: frozenset[bytes] = frozenset()
        self._sessions = SilentSessions()
        self._tasks: set[asyncio.Task[None]] = set()
        self.engine = self._make_engine()
        self._pair_keys = pair_keys
        keyring = make_keyring(self.mesh_id, credentials.certificate.grant.node_name, pair_keys)
        self._pairs = Pairs(keyring, self.engine.view())
        environment = hook_environment(declaration, port, credentials.certificate.grant.node_name, host.keys.node_key)
        self.hooks = Hooks(declaration, environment, host.run_hook, log)
        self.interface = Interface(
            host,
            declaration,
            port,
            self.engine.view,
            partial(host.routes.allowed, self.mesh_id),
            self._interface_up,
            self._interface_changed,
            self._rotated,
            log,
            self.hooks.prepare,
            keyring,
        )
        self.members = MemberReader(self.view, declaration.role, self.interface.state, host.clock)
        self.graph = GraphReader(self.view)
        self.watcher = Watcher(self.view(), on_event)
        self._prober = Prober(declaration.interface, self._probed)
        self._exits = UsedExits(declaration.interface, self._exit_changed, host.routes.heard, host.clock)
        self._upstream = self._make_upstream(reached=self._stored_reached())
        self._reach = Reach(host.clock())
        self._reach_timer: asyncio.TimerHandle | None = None
        self._announced = self._stored_routes()
        self._discovery = self._make_discovery()
        commit = partial(host.store.commit, self.mesh_id, host.keys.node_key)
        self._effects = Effects(commit, self._carry_out, host.give_up, log)
        self.engine.set_entry(self._entry(), host.clock())

    @property
    def mesh_id(self) -> str:
        """Its name."""
        return self.declaration.mesh

    @property
    def informed(self) -> bool:
        """Whether this node knew at one time since its start all that others know."""
        return self._informed

    @property
    def revoked(self) -> bool:
        """Whether its authority has taken this node out of it."""
        return self.engine.revoked(self._host.keys.node_key)

    @property
    def problems(self) -> list[str]:
        """What keeps it from working as it should, but for the interface's own."""
        revoked = _REVOKED if self.revoked else None
        unfound = self._discovery.problem if self._discovery is not None and not self.declaration.endpoint else None
        own = (self._effects.problem, self._probe_problem, self._speak_problem)
        found = (revoked, *own, unfound, *self.hooks.problems, *self._pairs.problems)
        return [problem for problem in found if problem]

    @property
    def pace(self) -> float:
        """How many times as rarely as usual this node asks others for a sign of life."""
        return self.engine.pace

    def view(self) -> View:
        """The picture of this moment."""
        return self.engine.view()

    def _own_member(self) -> Member | None:
        """What this node says and is, None before it said anything."""
        return self.view().members.get(self._host.keys.node_key)

    def start(self) -> None:
        """Join: accept and dial links, publish the own entry, bring the interface up. Raises TlsSettingsError."""
        self._set_links(self._credentials)
        self._host.viewed(self.view())
        self._host.routes.add(self.mesh_id, self, self._announced)
        self._follow_engine()
        self._watch_upstream()
        if self._discovery is not None:
            self._discovery.start()
        self.interface.start()

    def needs_restart(self, declaration: Declaration, port: int, credentials: Credentials) -> bool:
        """Whether only a new start can take this; that keeps the interface and its sessions."""
        return (
            port != self.interface.port
            or credentials.authority.fingerprints != self._credentials.authority.fingerprints
            or credentials.certificate.grant != self._credentials.certificate.grant
            or any(getattr(self.declaration, name) != getattr(declaration, name) for name in _RESTARTING)
        )

    @property
    def credentials(self) -> Credentials:
        """With what it takes part now."""
        return self._credentials

    def has_authority(self, credentials: Credentials) -> bool:
        """Whether they share an authority with the mesh, as while one takes over; else it is another mesh."""
        return bool(credentials.authority.fingerprints & self._credentials.authority.fingerprints)

    def update(self, declaration: Declaration, credentials: Credentials, pair_keys: PairKeys) -> bool:
        """Follow what needs no restart; whether the declaration differs. New links use new credentials, old ones stay.

        Raises TlsSettingsError or ValueError, and then goes on as it was.
        """
        if credentials != self._credentials:
            self._set_links(credentials)
            self._credentials = credentials
            self._input(self.engine.set_certificate, credentials.certificate)
            self._replaced()
        if pair_keys != self._pair_keys:
            self._take_pair_keys(pair_keys)
        if declaration == self.declaration:
            return False
        before, self.declaration = self.declaration, declaration
        try:
            self._input(self.engine.set_entry, self._entry())
        except ValueError:
            self.declaration = before
            raise
        self.hooks.follow(declaration)
        self.interface.follow(declaration)
        if before.health != declaration.health:
            self._change_upstream()
        self._replaced()
        return True

    def _take_pair_keys(self, pair_keys: PairKeys) -> None:
        keyring = make_keyring(self.mesh_id, self._credentials.certificate.grant.node_name, pair_keys)
        self._pair_keys, self._pairs = pair_keys, Pairs(keyring, self.view())
        self.interface.take_keyring(keyring)
        self._speak()

    def _follow_pairs(self) -> None:
        """Accept in the own entry what others offer by now."""
        before = self._pairs.said()
        self._pairs.follow(self.view())
        if self._pairs.said() != before:
            self._speak()

    async def stop(self, *, leave: bool) -> None:
        """End, and tell the others whether it is for good or a restart. The interface stays as it is."""
        self._input(self.engine.leave if leave else self.engine.announce_restart)
        if leave and self._effects.problem:
            self._log.warning("left without telling the others: %s", self._effects.problem)
        self._stopped = True
        for timer in (self._timer, self._greeting, self._reach_timer):
            if timer is not None:
                timer.cancel()
        if leave:
            self._host.routes.drop(self.mesh_id)
        else:
            self._host.routes.pause(self.mesh_id)
        self._effects.close()
        self._prober.close()
        self._exits.close()
        if self._upstream is not None:
            self._upstream.close()
        self._host.links.drop_mesh(self.mesh_id)
        if self._discovery is not None:
            await self._discovery.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(self.interface.close(), *self._tasks, return_exceptions=True)

    # The host's tunnel key.

    def unready_to_rotate(self) -> str | None:
        """Why others would not learn of another tunnel key at once, and could not be reached until they do."""
        view = self.view()
        others = [member for key, member in view.members.items() if key != view.node_key]
        mute = sorted(member.entry.name for member in others if member.liveness is Liveness.MUTE)
        if mute:
            return f"in mesh {self.mesh_id} the agents of {', '.join(mute)} do not answer"
        if self.declaration.static_peers:
            named = ", ".join(peer.name for peer in self.declaration.static_peers)
            return f"in mesh {self.mesh_id} nobody tells static peers ({named}), whose configuration has the key"
        if not self.engine.links() and any(member.liveness is Liveness.ALIVE for member in others):
            return f"mesh {self.mesh_id} is not linked with anybody"
        if self.interface.problem:
            return f"in mesh {self.mesh_id} {self.interface.problem}"
        return None if self.writes else f"what mesh {self.mesh_id} says cannot be written down"

    async def rekey(self) -> None:
        """Take the host's tunnel key of now, and tell the others.

        In this order: until they have heard, their packets come in under the old sessions, and what this host sends is
        held back by WireGuard. The other way round they would refuse what it sends.

        They begin the new sessions. If a handshake from here crossed theirs both would fail, and be made again after
        5 s only; so this host tries at once, in vain, and WireGuard lets it not try again for so long.
        """
        held = await self._in_session()
        await self.interface.rekey()
        if held:
            self._greet(held)
            await asyncio.sleep(_IN_VAIN)
        self._speak()

    async def _in_session(self) -> list[bytes]:
        """Members with which WireGuard has a session."""
        device = await self.interface.state()
        if device is None:
            return []
        since = time.time() - _SESSION
        keys = {key for key, peer in device.peers.items() if peer.handshake is not None and peer.handshake > since}
        return [key for key, member in self.view().members.items() if member.entry.tunnel_key in keys]

    # Who is taken out.

    @property
    def writes(self) -> bool:
        """Whether what the engine makes durable is, and goes on to the others."""
        return self._effects.problem is None

    def revoke(self, data: bytes) -> tuple[bytes, bool]:
        """Take a node out for good: its key, and whether that is news. ValueError if the authority does not say so."""
        revocation = read_revocation(self._credentials.authority, data)
        if revocation.mesh_id != self.mesh_id:
            raise ValueError(f"the revocation is for mesh {revocation.mesh_id}, not for {self.mesh_id}")
        known = self.engine.revoked(revocation.node_key)
        if not known:
            self._log.warning("%s is revoked by the authority", encode_key(revocation.node_key))
            self._input(self.engine.revoke, data)
        return revocation.node_key, not known

    def prune(self, node_key: bytes) -> None:
        """Take out a member that is down; ValueError for any other."""
        self._input(self.engine.prune, node_key)

    # What links tell.

    def link_up(self, link: int, certificate: NodeCertificate, dialled: bool) -> None:
        """A link to a member stands."""
        self.dial_problem = None
        self._dial_failures.clear()
        heard_from = partial(self.engine.link_up, remote=self._host.links.remote(link))
        self._host.routes.heard()
        self._input(heard_from, link, certificate, dialled)
        self._replaced()
        self._renew_backup(certificate.grant.node_key)

    def link_down(self, link: int) -> None:
        """A link is gone."""
        self._input(self.engine.link_down, link)
        self._replaced()

    def frame(self, link: int, data: bytes) -> None:
        """A frame came."""
        self._host.routes.heard()
        self._input(self.engine.receive, link, data)

    def dial_failed(self, dial: int, reason: str) -> None:
        """Nobody was reached, and why."""
        if reason not in self._dial_failures:
            self._log.warning("no link: %s", reason)
            if len(self._dial_failures) == _KEPT_FAILURES:
                self._dial_failures.clear()
            self._dial_failures.add(reason)
        self.dial_problem = reason
        self._input(self.engine.dial_failed, dial)

    # The engine and what it asks for.

    def _make_engine(self) -> Engine:
        bootstrap = tuple(entry.address for entry in self.declaration.bootstrap)
        state = self._host.store.load(self.mesh_id, self._host.keys.node_key)
        make = partial(
            Engine,
            Settings(mesh_id=self.mesh_id, bootstrap=bootstrap),
            self._host.keys.identity,
            self._credentials.certificate,
            self._credentials.authority,
            SystemRandom(),
            self._host.clock(),
        )
        try:
            engine = make(Stored(state.records, state.certificates, state.number))
        except ValueError as error:  # damaged: the others know it all
            self._log.warning("starting without what was stored: %s", error)
            self._host.store.forget(self.mesh_id)
            return make(Stored(number=state.number))
        left_out = engine.left_out
        if left_out.records or left_out.certificates:
            self._log.warning("dropped what was stored under an authority that is not trusted any more")
            self._host.store.drop(self.mesh_id, left_out.records, left_out.certificates)
        return engine

    def _set_links(self, credentials: Credentials) -> None:
        tls = MeshTls(
            authority=credentials.authority,
            certificate_file=credentials.certificate_file,
            key_file=self._host.directories.identity_key,
            clock=self._host.clock_of(credentials.authority),
        )
        self._host.links.set_mesh(self.mesh_id, tls)

    def _input(self, method: Callable[..., None], *arguments: object) -> None:
        if self._stopped:
            return
        method(*arguments, self._host.clock())
        self._follow_engine()

    def _follow_engine(self) -> None:
        self._effects.add(self.engine.events())
        if not self._informed and self.engine.agrees:
            self._informed = True
            self.interface.informed()
            self._host.routes.informed()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self.engine.next_timer(), partial(self._input, self.engine.timer))

    def _carry_out(self, event: Event) -> None:
        if isinstance(event, Send):
            self._host.links.send(event.link, event.frame)
        elif isinstance(event, Dial):
            self._host.links.dial(self.mesh_id, event.dial, event.addresses)
        elif isinstance(event, Close):
            self._host.links.close(event.link, event.reason)
        elif isinstance(event, Probe):
            self._watched, self._probe_pause = event.node_keys, event.pause
            self._sessions.watch(event.node_keys, self._host.clock())
            self._watch()
        elif isinstance(event, ViewChanged):
            self.watcher.follow(self.view())
            self._host.viewed(self.view())
            self.interface.view_changed()
            self._follow_pairs()
            self._replaced()
            self._look(unless_found=True)  # who it is that said something of this host may be known only now
        elif isinstance(event, Observed):
            self._look()
        elif isinstance(event, Alarm):
            self.alarms.append(event.text)
            self.watcher.alarm(event.text)
            self._log.error("%s: %s", event.kind, event.text)

    # Routing between meshes and out of them.

    def place(self) -> Place:
        """Where it is on this host, and how it routes, but for the offers of its members."""
        return Place(
            device=self.interface.device,
            port=self.interface.port,
            address=node_address(self.mesh_id, self._host.keys.node_key),
            joined=Joined(
                bridge=self.declaration.bridge and self._serves(),
                granted=frozenset(self._credentials.certificate.grant.bridges),
                accepted=_accepted(self.declaration),
                advertised=frozenset(self.advertised()),
                unreachable=self._exits.unreachable,
                behind=frozenset(prefix for peer in self.declaration.static_peers for prefix in peer.allowed_ips),
            ),
            masquerade=self.declaration.masquerade,
        )

    def rerouted(self) -> None:
        """What its members carry beyond the mesh is something else now."""
        self.interface.view_changed()
        self._watch_exits()

    def announce(self, routes: tuple[BridgedRoute, ...]) -> None:
        """Tell its members what this node reaches through its other meshes."""
        self._announced = routes
        self._speak()

    def _replaced(self) -> None:
        """Something of `place`, or of the view, is another."""
        if not self._stopped:
            self._host.routes.follow(self.mesh_id)

    def _serves(self) -> bool:
        """Whether what is sent here for another mesh gets on: the interface stands, and the mesh is heard."""
        view = self.view()
        own = self._own_member()
        is_down = own is not None and own.liveness is Liveness.DOWN
        others = any(key != view.node_key for key in view.members)
        connected = self._reach.connected(self._host.clock(), linked=bool(self.engine.links()), others=others)
        self._look_again(self._reach.until)
        return connected and not is_down and self.interface.serves and self._host.forwards()

    def _look_again(self, when: float) -> None:
        """The mesh may be out of reach then; a timer may come a little early."""
        when += _RESOLUTION
        if self._reach_timer is None or self._reach_timer.when() != when:
            if self._reach_timer is not None:
                self._reach_timer.cancel()
            self._reach_timer = self._loop.call_at(when, self._replaced)

    def _stored_routes(self) -> tuple[BridgedRoute, ...]:
        """What this node announced before it was started anew: it holds until it knows better."""
        own = self._own_member()
        return own.entry.routes if own is not None and self.declaration.bridge else ()

    def advertised(self) -> tuple[Prefix, ...]:
        """The prefixes that it says now it forwards to."""
        reached = self._upstream is None or self._upstream.reached
        return self.declaration.advertise if reached and self._host.forwards() else ()

    def _watch_exits(self) -> None:
        """Ping the exits that are used, from the moment in which they could answer."""
        if not self._host.tunnels or self._stopped or not self.interface.stands:
            return
        members = self.view().members
        offered = self._host.routes.exits(self.mesh_id)
        used = self._host.routes.used(self.mesh_id) | (self._exits.unreachable & offered)
        addresses = {key: members[key].address for key in (used | offered) & members.keys()}
        addresses.pop(self._host.keys.node_key, None)
        try:
            self._exits.watch({key: addresses[key] for key in used & addresses.keys()}, addresses)
        except PlaneError as error:
            self._log.error("%s", error)

    def _exit_changed(self, key: bytes, reached: bool) -> None:
        """An exit is out of reach, or back."""
        member = self.view().members.get(key)
        if member is not None:
            what = "answers again" if reached else "does not answer and is passed over"
            self._log.warning("exit %s %s", member.entry.name, what)
        self._replaced()
        self._watch_exits()  # one that is back need not be in use

    def _make_upstream(self, *, reached: bool) -> Upstream | None:
        """Who looks after what the declaration says that this exit must reach; `reached` until it is known better."""
        if self.declaration.health is None or not self._host.tunnels:
            return None
        return Upstream(self.declaration.health, self._upstream_changed, reached=reached)

    def _stored_reached(self) -> bool:
        """Whether this exit advertised something before it was started anew, or never ran."""
        own = self._own_member()
        return own is None or bool(own.entry.advertise)

    def _watch_upstream(self) -> None:
        if self._upstream is not None:
            try:
                self._upstream.start()
            except PlaneError as error:
                self._log.error("%s", error)

    def _change_upstream(self) -> None:
        """The declaration says something else of it."""
        before, self._upstream = (
            self._upstream,
            self._make_upstream(reached=self._upstream is None or self._upstream.reached),
        )
        if before is not None:
            before.close()
        self._watch_upstream()
        self._speak()

    def _upstream_changed(self) -> None:
        assert self._upstream is not None
        target = self.declaration.health.target if self.declaration.health else None
        self._log.warning("health target %s %s", target, "answers" if self._upstream.reached else "does not answer")
        self._speak()
        self._replaced()

    def _speak(self) -> None:
        """Say in the own entry what is so now."""
        try:
            self._input(self.engine.set_entry, self._entry())
        except ValueError as error:
            if self._speak_problem is None:
                self._log.error("not announced: %s", error)
            self._speak_problem = f"not announced: {error}"
        else:
            self._speak_problem = None

    def forwarding_changed(self) -> None:
        """The host forwards now, or does not any more."""
        self._speak()
        self._replaced()

    # The interface and what is seen through it.

    def _interface_up(self, created: bool) -> None:
        self._on_up()
        self._replaced()
        self._watch_exits()
        if created:
            self._greet(self.view().members.keys())
            if self.hooks.declared("post_up"):
                self._begin(self.hooks.run("post_up"), "post_up")

    def _interface_changed(self) -> None:
        """It failed, or is as planned again, and has the tunnel key then that it could not take before."""
        self._speak()
        self._replaced()

    def _greet(self, members: Collection[bytes]) -> None:
        """Ping these for a moment: a new interface has no sessions, and WireGuard peers that still
        hold ours from before send into the void for 15 s unless we begin a new one."""
        if self._greeting is not None:
            self._greeting.cancel()
        self._greeted = (self._greeted | frozenset(members)) - {self._host.keys.node_key}
        self._sessions.begun(self._greeted, self._host.clock())
        self._greeting = self._loop.call_later(_GREETING, self._end_greeting)
        self._watch()

    def _rotated(self, tunnels: Collection[bytes]) -> None:
        """Members have other tunnel keys. A session with them is begun from here: theirs was refused until now."""
        members = self.view().members.items()
        self._greet([key for key, member in members if member.entry.tunnel_key in tunnels])

    def _end_greeting(self) -> None:
        self._greeted = frozenset()
        self._watch()

    def _watch(self) -> None:
        if not self._host.tunnels:
            return
        members = self.view().members
        wanted = self._watched | self._greeted | self._sessions.pending(self._host.clock())
        try:
            targets = ((key, members[key].address) for key in wanted & members.keys())
            self._prober.watch(targets, self._probe_pause)
        except PlaneError as error:
            if self._probe_problem is None:
                self._log.error("%s", error)
            self._probe_problem = str(error)

    def _probed(self, node_key: bytes, answered: bool, sent: float) -> None:
        now = self._host.clock()
        pending = self._sessions.pending(now)
        if answered:
            self._host.routes.heard()
            self._sessions.answered(node_key)
        elif self._sessions.missed(node_key, sent, self.engine.heard(node_key), now):
            self._renew(node_key)
        if node_key in self._watched:
            self._input(self.engine.probe_result, node_key, answered)
        elif self._sessions.pending(now) != pending or node_key not in pending:
            self._watch()

    def _renew(self, node_key: bytes) -> None:
        member = self.view().members.get(node_key)
        if member is not None:
            self._begin(self.interface.renew(member.entry.tunnel_key), "renew")

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do it beside the rest, until it is done or the mesh stops."""
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Where others reach this host, and what it says of itself.

    def _make_discovery(self) -> Discovery | None:
        declaration = self.declaration
        if declaration.role is not Role.PEER or declaration.endpoint_discovery == "static":
            return None
        overlay = self._host.routes.overlay
        outwards = declaration.endpoint_discovery == "outgoing"
        find = (
            outgoing(self._host, declaration, overlay)
            if outwards
            else observed(self.engine.observed, self._peers, overlay)
        )
        return Discovery(find, self._stored_addresses(), self._speak, self._log)

    def _peers(self) -> int:
        """How many others could say where they see this host."""
        members = self.view().members.values()
        others = (member for member in members if member.node_key != self._host.keys.node_key)
        return sum(member.entry.role is Role.PEER and member.liveness is Liveness.ALIVE for member in others)

    def _stored_addresses(self) -> tuple[Address, ...]:
        """What was found before the agent was started anew: it holds until something else is found."""
        own = self._own_member()
        hosts = [parse_address(text)[0] for text in own.entry.links] if own is not None else []
        declared = self.declaration.endpoint.host if self.declaration.endpoint is not None else None
        found = (outside_address(host, (mesh_prefix(self.mesh_id),)) for host in hosts if host != declared)
        return tuple(address for address in found if address is not None)

    def _look(self, *, unless_found: bool = False) -> None:
        if self._discovery is not None and not (unless_found and self._discovery.addresses):
            self._discovery.look()

    def _reached_at(self) -> Iterator[HostPort]:
        """Where others reach this peer, best first."""
        if self.declaration.endpoint is not None:
            yield self.declaration.endpoint
        for address in self._discovery.addresses if self._discovery is not None else ():
            yield HostPort(str(address), None)

    def _renew_backup(self, node_key: bytes) -> None:
        """A client's backup may have been booted since: without a session it does not even know where the client is.

        Nothing but keepalives is sent to it, so WireGuard would notice after two minutes only (Rekey-After-Time).
        """
        own = self._own_member()
        if own is not None and own.entry.role is Role.CLIENT and own.entry.backup == node_key:
            self._renew(node_key)

    def _entry(self) -> Entry:
        declaration = self.declaration
        reached_at = list(self._reached_at()) if declaration.role is Role.PEER else []
        endpoints = dict.fromkeys(each.text(self.interface.port) for each in reached_at)
        links = dict.fromkeys(each._replace(port=None).text(self._host.link_port) for each in reached_at)
        return Entry(
            name=self._credentials.certificate.grant.node_name,
            role=declaration.role,
            tunnel_key=self.interface.keys.tunnel_key,
            tunnel_proof=self.interface.keys.proof,
            endpoints=tuple(endpoints),
            links=tuple(links),
            alias=declaration.alias,
            description=declaration.description,
            services=dict(declaration.services),
            advertise=tuple(map(str, self.advertised())),
            bridge=declaration.bridge,
            routes=self._announced if declaration.bridge else (),
            masquerade=declaration.masquerade,
            accept=_accept(declaration) if declaration.role is Role.CLIENT else (),
            preshared=self._pairs.said(),
            static_peers={peer.name: peer.public_key for peer in declaration.static_peers},
            agent=smegmesh.__version__,
        )


def _accepted(declaration: Declaration) -> Accepted:
    return Accepted(declaration.accept_routes, declaration.accept_all, declaration.accept_default)


def _accept(declaration: Declaration) -> tuple[str, ...]:
    """The same as an entry says it."""
    default = (str(DEFAULT),) if declaration.accept_default else ()
    every = (ACCEPT_ALL,) if declaration.accept_all else ()
    return (*map(str, declaration.accept_routes), *every, *default)
