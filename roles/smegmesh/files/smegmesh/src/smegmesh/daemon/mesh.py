"""One mesh on this host: its engine, links, interface and probes, wired together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any

from smegmesh.control import types
from smegmesh.crdt.entry import BridgedRoute, Entry, Role
from smegmesh.daemon.credentials import Credentials
from smegmesh.daemon.effects import Effects
from smegmesh.daemon.endpoints import Endpoints
from smegmesh.daemon.engine import EngineDriver, make_engine
from smegmesh.daemon.graph import GraphReader
from smegmesh.daemon.hooks import Hooks, hook_environment
from smegmesh.daemon.host import Host
from smegmesh.daemon.interface import Interface
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.members import MemberReader
from smegmesh.daemon.own_entry import make_entry
from smegmesh.daemon.pairs import HeldPairs, PairKeys
from smegmesh.daemon.probing import Probing
from smegmesh.daemon.serving import Serving
from smegmesh.daemon.sessions import in_session
from smegmesh.daemon.watching import Watcher
from smegmesh.declaration import Declaration, Prefix
from smegmesh.gossip.events import Alarm, Close, Dial, Event, Observed, Probe, Send, ViewChanged
from smegmesh.gossip.view import View
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.identity.keys import encode_key
from smegmesh.identity.revocation import read_revocation
from smegmesh.routing.host import Place

_KEPT_ALARMS = 20
_KEPT_FAILURES = 100
_IN_VAIN = 0.1  # seconds by which the first message of a handshake goes ahead of the news
_REVOKED = "its authority has revoked this node, for good: give the host new keys, with uninstall and site"


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
        self._speak_problem: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.engine = make_engine(host, declaration, credentials, log)
        node_name = credentials.certificate.grant.node_name
        self._pairs = HeldPairs(self.mesh_id, node_name, pair_keys, self.engine.view())
        environment = hook_environment(declaration, port, node_name, host.keys.node_key)
        self.hooks = Hooks(declaration, environment, host.run_hook, log)
        self.interface = Interface(
            host,
            declaration,
            port,
            self.engine.view,
            partial(host.routes.allowed, self.mesh_id),
            self._interface_up,
            self._changed,
            self._rotated,
            log,
            self.hooks.prepare,
            self._pairs.keyring,
        )
        self.members = MemberReader(self.view, declaration.role, self.interface.state, host.clock)
        self.graph = GraphReader(self.view)
        self.watcher = Watcher(self.view(), on_event)
        before = self._own_entry()
        self._probing = Probing(
            host, declaration.interface, self.view, self.engine.heard, self._probed, self._renew, log
        )
        self._serving = Serving(
            host,
            declaration,
            self.engine,
            self.interface,
            self._changed,
            self._replaced,
            log,
            advertised=before is None or bool(before.advertise),
        )
        self._announced = before.routes if before is not None and declaration.bridge else ()  # until it knows better
        self._endpoints = Endpoints(host, declaration, self.engine, before, self._speak, log)
        commit = partial(host.store.commit, self.mesh_id, host.keys.node_key)
        self._effects = Effects(commit, self._carry_out, host.give_up, log)
        self._driver = EngineDriver(self.engine, self._effects, self._became_informed, host.clock)
        self.engine.set_entry(self._entry(), host.clock())

    @property
    def mesh_id(self) -> str:
        """Its name."""
        return self.declaration.mesh

    @property
    def informed(self) -> bool:
        """Whether this node knew at one time since its start all that others know."""
        return self._driver.informed

    @property
    def revoked(self) -> bool:
        """Whether its authority has taken this node out of it."""
        return self.engine.revoked(self._host.keys.node_key)

    @property
    def problems(self) -> list[str]:
        """What keeps it from working as it should, but for the interface's own."""
        revoked = _REVOKED if self.revoked else None
        unfound = self._endpoints.problem if not self.declaration.endpoint else None
        own = (self._effects.problem, self._probing.problem, self._speak_problem)
        found = (revoked, *own, unfound, *self.hooks.problems, *self._pairs.problems)
        return [problem for problem in found if problem]

    @property
    def pace(self) -> float:
        """How many times as rarely as usual this node asks others for a sign of life."""
        return self.engine.pace

    def view(self) -> View:
        """The picture of this moment."""
        return self.engine.view()

    def _own_entry(self) -> Entry | None:
        """What this node says, None before it said anything."""
        own = self.view().members.get(self._host.keys.node_key)
        return own.entry if own is not None else None

    def start(self) -> None:
        """Join: accept and dial links, publish the own entry, bring the interface up. Raises TlsSettingsError."""
        self._host.links.set_mesh(self.mesh_id, self._credentials.for_links(self._host))
        self._host.viewed(self.view())
        self._host.routes.add(self.mesh_id, self, self._announced)
        self._driver.follow()
        self._serving.start()
        self._endpoints.start()
        self.interface.start()

    @property
    def credentials(self) -> Credentials:
        """With what it takes part now."""
        return self._credentials

    def update(self, declaration: Declaration, credentials: Credentials, pair_keys: PairKeys) -> bool:
        """Follow what needs no restart; whether the declaration differs. New links use new credentials, old ones stay.

        Raises TlsSettingsError or ValueError, and then goes on as it was.
        """
        if credentials != self._credentials:
            self._host.links.set_mesh(self.mesh_id, credentials.for_links(self._host))
            self._credentials = credentials
            self._driver.input(self.engine.set_certificate, credentials.certificate)
            self._replaced()
        if self._pairs.take(pair_keys, self.view()):
            self.interface.take_keyring(self._pairs.keyring)
            self._speak()
        if declaration == self.declaration:
            return False
        before, self.declaration = self.declaration, declaration
        try:
            self._driver.input(self.engine.set_entry, self._entry())
        except ValueError:
            self.declaration = before
            raise
        self.hooks.follow(declaration)
        self.interface.follow(declaration)
        if self._serving.follow(declaration):
            self._speak()
        self._replaced()
        return True

    async def stop(self, *, leave: bool) -> None:
        """End, and tell the others whether it is for good or a restart. The interface stays as it is."""
        self._driver.input(self.engine.leave if leave else self.engine.announce_restart)
        if leave and self._effects.problem:
            self._log.warning("left without telling the others: %s", self._effects.problem)
        self._driver.stop()
        self._serving.close()
        if leave:
            self._host.routes.drop(self.mesh_id)
        else:
            self._host.routes.pause(self.mesh_id)
        self._effects.close()
        self._host.links.drop_mesh(self.mesh_id)
        await self.interface.close()  # before what it would begin anew
        self._probing.close()
        await self._endpoints.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # The host's tunnel key.

    async def rekey(self) -> None:
        """Take the host's tunnel key of now, and tell the others.

        In this order: until they have heard, their packets come in under the old sessions, and what this host sends is
        held back by WireGuard. The other way round they would refuse what it sends.

        They begin the new sessions. If a handshake from here crossed theirs both would fail, and be made again after
        5 s only; so this host tries at once, in vain, and WireGuard lets it not try again for so long.
        """
        held = self._with_tunnel_keys(in_session(await self.interface.state(), time.time()))
        await self.interface.rekey()
        if held:
            self._probing.greet(held)
            await asyncio.sleep(_IN_VAIN)
        self._speak()

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
            self._driver.input(self.engine.revoke, data)
        return revocation.node_key, not known

    def prune(self, node_key: bytes) -> None:
        """Take out a member that is down; ValueError for any other."""
        self._driver.input(self.engine.prune, node_key)

    # What links tell.

    def link_up(self, link: int, certificate: NodeCertificate, dialled: bool) -> None:
        """A link to a member stands."""
        self.dial_problem = None
        self._dial_failures.clear()
        heard_from = partial(self.engine.link_up, remote=self._host.links.remote(link))
        self._host.routes.heard()
        self._driver.input(heard_from, link, certificate, dialled)
        self._replaced()
        self._renew_backup(certificate.grant.node_key)

    def link_down(self, link: int) -> None:
        """A link is gone."""
        self._driver.input(self.engine.link_down, link)
        self._replaced()

    def frame(self, link: int, data: bytes) -> None:
        """A frame came."""
        self._host.routes.heard()
        self._driver.input(self.engine.receive, link, data)

    def dial_failed(self, dial: int, reason: str) -> None:
        """Nobody was reached, and why."""
        if reason not in self._dial_failures:
            self._log.warning("no link: %s", reason)
            if len(self._dial_failures) == _KEPT_FAILURES:
                self._dial_failures.clear()
            self._dial_failures.add(reason)
        self.dial_problem = reason
        self._driver.input(self.engine.dial_failed, dial)

    # The engine and what it asks for.

    def _became_informed(self) -> None:
        self.interface.informed()
        self._host.routes.informed()

    def _carry_out(self, event: Event) -> None:
        if isinstance(event, Send):
            self._host.links.send(event.link, event.frame)
        elif isinstance(event, Dial):
            self._host.links.dial(self.mesh_id, event.dial, event.addresses)
        elif isinstance(event, Close):
            self._host.links.close(event.link, event.reason)
        elif isinstance(event, Probe):
            self._probing.watch(event.node_keys, event.pause)
        elif isinstance(event, ViewChanged):
            self.watcher.follow(self.view())
            self.members.viewed()
            self._host.viewed(self.view())
            self.interface.view_changed()
            if self._pairs.follow(self.view()):
                self._speak()
            self._replaced()
            self._endpoints.look(unless_found=True)  # who it is that said something of this host may be known only now
        elif isinstance(event, Observed):
            self._endpoints.look()
        elif isinstance(event, Alarm):
            self.alarms.append(event.text)
            self.watcher.alarm(event.text)
            self._log.error("%s: %s", event.kind, event.text)

    # Routing between meshes and out of them.

    def place(self) -> Place:
        """Where it is on this host, and how it routes, but for the offers of its members."""
        return self._serving.place(self.declaration, self._credentials.certificate.grant)

    def advertised(self) -> tuple[Prefix, ...]:
        """The prefixes that it says now it forwards to."""
        return self._serving.advertised(self.declaration)

    def rerouted(self) -> None:
        """What its members carry beyond the mesh is something else now."""
        self.interface.view_changed()
        self._follow_exits()

    def announce(self, routes: tuple[BridgedRoute, ...]) -> None:
        """Tell its members what this node reaches through its other meshes."""
        self._announced = routes
        self._speak()

    def _replaced(self) -> None:
        """Something of `place`, or of the view, is another."""
        if not self._driver.stopped:
            self._host.routes.follow(self.mesh_id)

    def _follow_exits(self) -> None:
        if not self._driver.stopped:
            self._serving.follow_exits()

    def _speak(self) -> None:
        """Say in the own entry what is so now."""
        try:
            self._driver.input(self.engine.set_entry, self._entry())
        except ValueError as error:
            if self._speak_problem is None:
                self._log.error("not announced: %s", error)
            self._speak_problem = f"not announced: {error}"
        else:
            self._speak_problem = None

    def _changed(self) -> None:
        """What this node says is something else, and so is its place: by its interface, or by its health."""
        self._speak()
        self._replaced()

    def forwarding_changed(self) -> None:
        """The host forwards now, or does not any more."""
        self._changed()

    # The interface and what is seen through it.

    def _interface_up(self, created: bool) -> None:
        self._on_up()
        self._replaced()
        self._follow_exits()
        if created:
            self._probing.greet(self.view().members.keys())
            if self.hooks.declared("post_up"):
                self._begin(self.hooks.run("post_up"), "post_up")

    def _rotated(self, tunnels: Collection[bytes]) -> None:
        """Members have other tunnel keys. A session with them is begun from here: theirs was refused until now."""
        self._probing.greet(self._with_tunnel_keys(tunnels))

    def _with_tunnel_keys(self, tunnels: Collection[bytes]) -> list[bytes]:
        return [key for key, member in self.view().members.items() if member.entry.tunnel_key in tunnels]

    def _probed(self, node_key: bytes, answered: bool) -> None:
        self._driver.input(self.engine.probe_result, node_key, answered)

    def _renew(self, node_key: bytes) -> None:
        member = self.view().members.get(node_key)
        if member is not None:
            self._begin(self.interface.renew(member.entry.tunnel_key), "renew")

    def _renew_backup(self, node_key: bytes) -> None:
        """A client's backup may have been booted since: without a session it does not even know where the client is.

        Nothing but keepalives is sent to it, so WireGuard would notice after two minutes only (Rekey-After-Time).
        """
        own = self._own_entry()
        if own is not None and own.role is Role.CLIENT and own.backup == node_key:
            self._renew(node_key)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do it beside the rest, until it is done or the mesh stops."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What it says of itself.

    def _entry(self) -> Entry:
        return make_entry(
            self.declaration,
            name=self._credentials.certificate.grant.node_name,
            keys=self.interface.keys,
            port=self.interface.port,
            link_port=self._host.link_port,
            reached_at=self._endpoints.best_first(self.declaration.endpoint),
            advertised=self.advertised(),
            announced=self._announced,
            preshared=self._pairs.said(),
        )
