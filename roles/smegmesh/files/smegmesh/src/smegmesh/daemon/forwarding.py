"""What the host as a whole needs to forward for its meshes: sysctls and the nft table."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from smegmesh.daemon.signal import Signal
from smegmesh.dataplane import firewall
from smegmesh.dataplane.forwarding import enable_forwarding, restore_forwarding
from smegmesh.dataplane.plane import PlaneError
from smegmesh.store import Store, StoreError

_log = logging.getLogger(__name__)
_RETRY = 10.0  # seconds after a failure


class Forwarding:
    """Follows the set of mesh interfaces. `devices` says which are up, `peers` which of them forward."""

    def __init__(
        self, store: Store, devices: Callable[[], Collection[str]], peers: Callable[[], Collection[str]]
    ) -> None:
        self.problem: str | None = None
        self._store = store
        self._devices = devices
        self._peers = peers
        self._dirty = Signal()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._run(), name="forwarding")

    def changed(self) -> None:
        """The interfaces are others now."""
        self._idle.clear()
        self._dirty.set()

    async def settled(self) -> None:
        """Wait until the last change was acted on."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stop following; what was set stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._dirty.wait(_RETRY if self.problem else None)
            try:
                await asyncio.to_thread(self._apply, sorted(self._devices()), bool(self._peers()))
            except (PlaneError, StoreError) as error:
                if self.problem != str(error):
                    _log.error("forwarding: %s", error)
                self.problem = str(error)
            else:
                self.problem = None
            if not self._dirty.is_set():
                self._idle.set()

    def _apply(self, devices: list[str], forward: bool) -> None:
        # The table first: from the moment packets are forwarded it says which.
        if devices:
            firewall.install(devices)
        if forward:
            self._store.keep_sysctls(enable_forwarding())
        else:
            self._restore()
        if not devices:
            firewall.remove()

    def _restore(self) -> None:
        originals = self._store.sysctls()
        restore_forwarding(originals)
        for name in originals:
            self._store.forget_sysctl(name)
