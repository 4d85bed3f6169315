"""What the host as a whole needs to forward for its meshes: sysctls and the nft table."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from smegmesh.daemon.signal import Signal
from smegmesh.daemon.threads import in_thread
from smegmesh.dataplane import firewall
from smegmesh.dataplane.forwarding import enable_forwarding, restore_forwarding
from smegmesh.dataplane.plane import PlaneError
from smegmesh.store import Store, StoreError

_log = logging.getLogger(__name__)
_RETRY = 10.0  # seconds after a failure


@dataclass(frozen=True, slots=True)
class Controls:
    """What is done to the host, from worker threads. Each raises PlaneError."""

    install: Callable[[Collection[str]], None] = firewall.install
    remove: Callable[[], None] = firewall.remove
    enable: Callable[[], dict[str, str]] = enable_forwarding
    restore: Callable[[Mapping[str, str]], None] = restore_forwarding
    foreign_drops: Callable[[], list[str]] = firewall.foreign_drops


class Forwarding:
    """Follows the set of mesh interfaces. `devices` says which there are, `peers` which of them forward.

    `problem` says why the host is not as it should be; `obstacles` what of others is in the way.
    """

    def __init__(
        self,
        store: Store,
        devices: Callable[[], Collection[str]],
        peers: Callable[[], Collection[str]],
        controls: Controls | None = None,
        retry: float = _RETRY,
    ) -> None:
        self.problem: str | None = None
        self.obstacles: list[str] = []
        self._store = store
        self._devices = devices
        self._peers = peers
        self._controls = controls or Controls()
        self._retry = retry
        self._originals: dict[str, str] = {}
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
            await self._dirty.wait(self._retry if self.problem else None)
            try:
                await self._apply(sorted(self._devices()), bool(self._peers()))
            except (PlaneError, StoreError, OSError) as error:
                if self.problem != str(error):
                    _log.error("forwarding: %s", error)
                self.problem = str(error)
            except Exception as error:  # a fault of ours, told and tried again like any other: nobody else follows
                _log.exception("forwarding could not be followed")
                self.problem = f"forwarding: unexpected {type(error).__name__}: see `journalctl -u smegd`"
            else:
                self.problem = None
            if not self._dirty.is_set():
                self._idle.set()

    async def _apply(self, devices: list[str], forward: bool) -> None:
        # The table first: from the moment packets are forwarded it says which.
        if devices:
            await in_thread(self._controls.install, devices)
        if forward:
            await self._enable()
        else:
            await self._restore()
        if not devices:
            await in_thread(self._controls.remove)
        self._tell(await in_thread(self._controls.foreign_drops) if forward else [], devices)

    def _tell(self, chains: list[str], devices: list[str]) -> None:
        obstacles = [
            f"the firewall chain {chain} drops what is forwarded: let it accept {', '.join(devices)}"
            for chain in chains
        ]
        for obstacle in obstacles:
            if obstacle not in self.obstacles:
                _log.warning("forwarding: %s", obstacle)
        self.obstacles = obstacles

    # The store is asked in the event loop alone: it takes one call at a time.

    async def _enable(self) -> None:
        self._originals = {**await in_thread(self._controls.enable), **self._originals}
        if self._originals:
            self._store.keep_sysctls(self._originals)
            self._originals = {}

    async def _restore(self) -> None:
        originals = {**self._originals, **self._store.sysctls()}
        await in_thread(self._controls.restore, originals)
        self._originals = {}
        for name in originals:
            self._store.forget_sysctl(name)
