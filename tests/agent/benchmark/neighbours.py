"""Peers that are there for one agent: they answer as neighbours do, and need none of their own.

    python neighbours.py HOST...      directories of AgentHost, until SIGTERM

Each is the real engine behind real links. It dials nobody and accuses nobody: those
who do not run are none of its business.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom

from agent_host import MESH, AgentHost
from members import entry_of

from smegmesh.gossip.engine import Engine
from smegmesh.gossip.events import Close, Send
from smegmesh.gossip.settings import Settings, Stored
from smegmesh.identity.certificate import Authority, NodeCertificate, certificate_der
from smegmesh.identity.clock import CertificateClock
from smegmesh.store import open_store
from smegmesh.transport.links import Links
from smegmesh.transport.tls import MeshTls

#: An agent compares digests with one of its links in turn; this one has but one of six or so.
_SYNC = 6 * Settings(MESH).sync_interval
_NEVER = 1e9


class Neighbour:
    """One peer."""

    def __init__(self, host: AgentHost) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        authority = Authority(host.authority_file.read_bytes())
        node = host.node
        store, _problem = open_store(host.state / "state.db")
        state = store.load(MESH, node.keys.node_key)
        store.close()
        self._engine = Engine(
            Settings(MESH, ping_timeout=_NEVER, sync_interval=_SYNC),
            node.keys.identity,
            authority.verify(certificate_der(node.certificate)),
            authority,
            SystemRandom(),
            self._loop.time(),
            Stored(state.records, state.certificates, state.number),
        )
        self._links = Links(
            on_up=self._link_up,
            on_frame=lambda _mesh, link, frame: self._input(self._engine.receive, link, frame),
            on_down=lambda _mesh, link, _reason: self._input(self._engine.link_down, link),
            on_dial_failed=lambda _mesh, _dial, _reason: None,
            monotonic=self._loop.time,
        )
        clock = CertificateClock(time.time)
        self._links.set_mesh(MESH, MeshTls(authority, host.certificate_file, host.identity_key, clock))

    async def start(self) -> None:
        """Listen, and be a member."""
        host, _, port = self._host.node.link.rpartition(":")
        await self._links.start(host, int(port))
        self._input(self._engine.set_entry, entry_of(self._host.node))

    async def stop(self) -> None:
        """Go without a word."""
        if self._timer is not None:
            self._timer.cancel()
        await self._links.stop()

    def _link_up(self, _mesh: str, link: int, certificate: NodeCertificate, dialled: bool) -> None:
        self._input(self._engine.link_up, link, certificate, dialled)

    def _input(self, method: Callable[..., None], *arguments: object) -> None:
        method(*arguments, self._loop.time())
        for event in self._engine.events():
            if isinstance(event, Send):
                self._links.send(event.link, event.frame)
            elif isinstance(event, Close):
                self._links.close(event.link, event.reason)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._engine.next_timer(), self._input, self._engine.timer)


async def main(directories: list[Path]) -> None:
    """Be all of them until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    neighbours = [Neighbour(AgentHost.opened(directory)) for directory in directories]
    for neighbour in neighbours:
        await neighbour.start()
    await stopping.wait()
    for neighbour in neighbours:
        await neighbour.stop()


if __name__ == "__main__":
    asyncio.run(main([Path(argument) for argument in sys.argv[1:]]))
