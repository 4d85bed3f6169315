"""Reading what metrics are made of: at most once in a while, however many ask."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from smegmesh.control.exposition import expose
from smegmesh.daemon.mesh import Mesh
from smegmesh.daemon.metrics import AgentReading, MeshReading, Process, families
from smegmesh.daemon.threads import in_thread

_KEPT = 5.0  # seconds; to read a device costs what it has of peers, and the port may be anybody's to ask


class Scrape:
    """The text of the metrics; `read` is called for it, and no sooner again than after some seconds."""

    def __init__(
        self, read: Callable[[], Awaitable[AgentReading]], *, per_peer: bool, clock: Callable[[], float]
    ) -> None:
        self._read = read
        self._per_peer = per_peer
        self._clock = clock
        self._reading = asyncio.Lock()
        self._text = ""
        self._until = float("-inf")

    async def text(self) -> str:
        """What it is now, or was a moment ago."""
        async with self._reading:
            if self._clock() >= self._until:
                self._text = await in_thread(self._make, await self._read())
                self._until = self._clock() + _KEPT
            return self._text

    def _make(self, reading: AgentReading) -> str:
        return expose(families(reading, per_peer=self._per_peer))


async def read_mesh(mesh: Mesh, clock: Callable[[], float]) -> MeshReading:
    """A running mesh, as it is once its device was read."""
    device = await mesh.interface.state()
    engine, now = mesh.engine, clock()
    return MeshReading(
        view=mesh.view(),
        failed=engine.failed(),
        up=mesh.interface.up,
        links=len(engine.links()),
        sent=engine.sent,
        received=engine.received,
        counters=engine.counters,
        equal_age=now - (engine.equal if engine.equal is not None else mesh.began),
        change_age=now - engine.changed,
        certificate_end=mesh.credentials.certificate.not_after,
        authority_end=mesh.credentials.authority.not_after,
        apply_times=mesh.interface.apply_times,
        device=device,
    )


def read_process(started: float) -> Process:
    """This process, which was started then (seconds since the epoch)."""
    own = Path("/proc/self")
    return Process(
        cpu=time.process_time(),
        resident=int((own / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        started=started,
        descriptors=len(os.listdir(own / "fd")) - 1,  # that of the listing
    )
