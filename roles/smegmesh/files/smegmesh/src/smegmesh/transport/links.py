"""Links: one listener for all meshes, the dials, and the connections they make.

The server name of a connection is its mesh id. Callbacks are called from the
event loop, never from within a method of `Links`:

    on_up(mesh_id, link, certificate, dialled)   a link carries frames now
    on_frame(mesh_id, link, payload)
    on_down(mesh_id, link, reason)               once after each on_up, whoever ended it
    on_dial_failed(mesh_id, dial, reason)        a dial made no link; reasons per address

A dial that succeeds is an `on_up` with `dialled`; each dial ends in one of the
two, unless it is dropped with its mesh or by `stop`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from smegmesh.identity.certificate import NodeCertificate
from smegmesh.transport.bucket import TokenBucket
from smegmesh.transport.dialling import connect_first, resolve
from smegmesh.transport.link import Link
from smegmesh.transport.settings import LinkSettings
from smegmesh.transport.sockets import open_listener
from smegmesh.transport.tls import MeshContext, MeshContexts, MeshTls, TlsSession, listener_context, mesh_contexts

log = logging.getLogger(__name__)

_DEFAULTS = LinkSettings()
_LOOKUPS = 4  # names at a time

OnUp = Callable[[str, int, NodeCertificate, bool], None]
OnFrame = Callable[[str, int, bytes], None]
OnDown = Callable[[str, int, str], None]
OnDialFailed = Callable[[str, int, str], None]


class Links:
    """All links of a host. `counters` counts refusals (`refused.KIND`), limits and links by name."""

    def __init__(
        self,
        *,
        on_up: OnUp,
        on_frame: OnFrame,
        on_down: OnDown,
        on_dial_failed: OnDialFailed,
        monotonic: Callable[[], float],
        settings: LinkSettings = _DEFAULTS,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._on_up = on_up
        self._on_frame = on_frame
        self._on_down = on_down
        self._on_dial_failed = on_dial_failed
        self._monotonic = monotonic
        self._settings = settings
        self._contexts: dict[str, MeshContexts] = {}
        self._listener_context = listener_context(self.accept_context)
        self._server: asyncio.Server | None = None
        self._next_number = 1
        self._up: dict[int, Link] = {}
        self._connections: dict[Link, asyncio.Future[None]] = {}
        self._dials: dict[asyncio.Task[None], str] = {}
        self._outcomes: dict[Link, asyncio.Future[str | None]] = {}
        self._stopping = False
        self._lookups = _lookup_threads()
        self._log_bucket = TokenBucket(rate=1, burst=30, now=monotonic())

    # Life

    async def start(self, host: str, port: int) -> None:
        """Listen; ListenError says what port is taken, or what else is wrong, and what to do."""
        self._stopping = False
        listener = open_listener(host, port, self._settings)
        try:
            self._server = await asyncio.get_running_loop().create_server(self._accept, sock=listener)
        except BaseException:
            listener.close()
            raise

    @property
    def port(self) -> int:
        """The TCP port in use, 0 when not listening."""
        if self._server is None or not self._server.sockets:
            return 0
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the listener, the dials and all links, and wait until they are gone; `on_down` comes for each."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        await self._cancel_dials()
        for link in list(self._connections):
            if link.number in self._up:
                link.close("stopped")
            else:
                link.abort("stopped", "stopped")
        if self._connections:
            # Each link ends by itself within its linger.
            await asyncio.wait(list(self._connections.values()))
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None
        self._lookups.shutdown(wait=False, cancel_futures=True)
        self._lookups = _lookup_threads()  # for the next start
        await asyncio.sleep(0)  # what the last links have scheduled

    # Meshes

    def set_mesh(self, mesh_id: str, tls: MeshTls) -> None:
        """Accept and dial for a mesh from now on, or with renewed settings; links that are up stay.

        TlsSettingsError names the file that is wrong; the settings before remain.
        """
        self._contexts[mesh_id] = mesh_contexts(mesh_id, tls)

    def drop_mesh(self, mesh_id: str) -> None:
        """Take a mesh away: its links go down, its dials end in silence."""
        self._contexts.pop(mesh_id, None)
        for task, dialled_mesh in self._dials.items():
            if dialled_mesh == mesh_id:
                task.cancel()
        for link in list(self._connections):
            if link.mesh_id == mesh_id:
                link.close("the mesh was left")

    def accept_context(self, server_name: str | None) -> MeshContext | None:
        """The TLS context of the mesh that a connection names, None for one that is not set up."""
        contexts = self._contexts.get(server_name or "")
        return contexts.accept if contexts is not None else None

    # Links

    def dial(self, mesh_id: str, dial: int, addresses: Iterable[str]) -> None:
        """Try addresses (`host:port`, `[v6]:port`), best first, for a link; `dial` is the caller's name for it."""
        if self._stopping:
            return
        task = asyncio.ensure_future(self._dial(mesh_id, dial, tuple(addresses)))
        self._dials[task] = mesh_id
        task.add_done_callback(self._dials.pop)

    def send(self, link: int, payload: bytes) -> None:
        """Queue a frame of 1 MiB at most; to a link that is gone it is dropped."""
        connection = self._up.get(link)
        if connection is None:
            self.counters["frames.link_gone"] += 1
        else:
            connection.send(payload)

    def close(self, link: int, reason: str) -> None:
        """End a link after what is queued was sent; closing it again does nothing."""
        connection = self._up.get(link)
        if connection is not None:
            connection.close(reason)

    def remote(self, link: int) -> str | None:
        """The IP address of the other side of a link that is up."""
        connection = self._up.get(link)
        return connection.remote if connection is not None else None

    # Accepting and dialling

    def _accept(self) -> Link:
        return self._link(TlsSession(self._listener_context, server_side=True), dialled=False)

    async def _dial(self, mesh_id: str, dial: int, addresses: tuple[str, ...]) -> None:
        failures: list[str] = []
        if mesh_id not in self._contexts:
            failures.append("the mesh is not set up here")
        elif await self._dial_addresses(mesh_id, addresses, failures):
            return
        self.counters["dials.failed"] += 1
        self._on_dial_failed(mesh_id, dial, "; ".join(failures) or "no address")

    async def _dial_addresses(self, mesh_id: str, addresses: tuple[str, ...], failures: list[str]) -> bool:
        targets = await resolve(addresses, self._settings, self._lookups, failures)
        while targets:
            connected = await connect_first(targets, self._settings, failures)
            if connected is None:
                break
            sock, target = connected
            failure = await self._handshake(mesh_id, sock)
            if failure is None:
                return True
            failures.append(f"{target.text}: {failure}")
        return False

    async def _handshake(self, mesh_id: str, sock: socket.socket) -> str | None:
        """Make a link of a connected socket; None when it is up, else why not."""
        loop = asyncio.get_running_loop()
        contexts = self._contexts.get(mesh_id)
        if contexts is None:  # dropped meanwhile, and `wait_for` before Python 3.12 may swallow a cancellation
            sock.close()
            return "the mesh was left"
        session = TlsSession(contexts.dial, server_side=False, server_name=mesh_id)
        link = self._link(session, dialled=True)
        outcome: asyncio.Future[str | None] = loop.create_future()
        self._outcomes[link] = outcome
        try:
            await loop.create_connection(lambda: link, sock=sock)
            return await outcome
        except OSError as error:
            return str(error)
        finally:
            del self._outcomes[link]
            if not outcome.done() or outcome.cancelled():
                link.abort("dropped", "the dial was dropped")

    def _link(self, session: TlsSession, *, dialled: bool) -> Link:
        number = self._next_number
        self._next_number += 1
        return Link(self, number, session, dialled=dialled, settings=self._settings, monotonic=self._monotonic)

    async def _cancel_dials(self) -> None:
        tasks = list(self._dials)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What links report (LinkOwner)

    def link_made(self, link: Link) -> bool:
        self._connections[link] = asyncio.get_running_loop().create_future()
        if self._stopping:
            return False
        if not link.dialled:
            self._make_room()
        return True

    def link_up(self, link: Link, certificate: NodeCertificate) -> None:
        self._up[link.number] = link
        self.counters["links.dialled" if link.dialled else "links.accepted"] += 1
        self._settle_dial(link, None)
        self._on_up(link.mesh_id, link.number, certificate, link.dialled)

    def link_frame(self, link: Link, payload: bytes) -> None:
        self.counters["frames.received"] += 1
        self._on_frame(link.mesh_id, link.number, payload)

    def link_down(self, link: Link, reason: str) -> None:
        del self._up[link.number]
        self._on_down(link.mesh_id, link.number, reason)

    def link_failed(self, link: Link, kind: str, reason: str) -> None:
        if link.dialled:
            self._settle_dial(link, reason)
            return
        self.counters[f"refused.{kind}"] += 1
        self._log_refusal(link, reason)

    def link_lost(self, link: Link) -> None:
        self._connections.pop(link).set_result(None)

    def count(self, name: str) -> None:
        self.counters[name] += 1

    def _log_refusal(self, link: Link, reason: str) -> None:
        """In a flood of refusals some are enough for the journal; the counters have them all."""
        now = self._monotonic()
        if self._log_bucket.take(0, now) == 0:
            self._log_bucket.take(1, now)
            log.info("refused a connection from %s for mesh %s: %s", link.remote, link.mesh_id or "unknown", reason)

    def _make_room(self) -> None:
        """Over the limit end the oldest connection that is no link: in a flood it is the least likely to become one."""
        pending = [link for link in self._connections if not link.dialled and link.number not in self._up]
        if len(pending) > self._settings.max_pending:
            pending[0].abort("busy", "too many connections at once")

    def _settle_dial(self, link: Link, failure: str | None) -> None:
        outcome = self._outcomes.get(link)
        if outcome is not None and not outcome.done():
            outcome.set_result(failure)


def _lookup_threads() -> ThreadPoolExecutor:
    """Own threads, begun when needed: a dead name server must not take those that work on interfaces."""
    return ThreadPoolExecutor(_LOOKUPS, "dial")
