"""The daemon's life as a service: started, ready, reloaded, stopped, and the manager told of it."""

from __future__ import annotations

import asyncio
import logging

from smegmesh.daemon.daemon import Daemon
from smegmesh.daemon.notify import Notifier
from smegmesh.daemon.signal import Signal

_log = logging.getLogger(__name__)
_STATUS_INTERVAL = 10.0  # seconds between looks at the status, where no watchdog asks for more


class Service:
    """Runs a daemon from its start to `daemon.stopping`."""

    def __init__(self, daemon: Daemon, notifier: Notifier) -> None:
        self._daemon = daemon
        self._notifier = notifier
        self._reload = Signal()

    def request_reload(self) -> None:
        """Have the declarations read again; several requests in a row are one."""
        self._reload.set()

    async def run(self) -> None:
        """Start, serve, stop. Raises what `Daemon.start` raises, and why the daemon gave up, if it did."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._daemon.start()
            if not self._daemon.stopping.is_set():
                self._notifier.ready(self._daemon.summary())
                tasks += [
                    asyncio.create_task(self._follow_requests(), name="reloads"),
                    asyncio.create_task(self._keep_alive(), name="watchdog"),
                ]
            await self._daemon.stopping.wait()
            if self._daemon.failure is not None:
                raise self._daemon.failure
        finally:
            self._notifier.stopping()
            await self._daemon.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_requests(self) -> None:
        while True:
            await self._reload.wait(None)
            self._notifier.reloading(asyncio.get_running_loop().time())
            try:
                await self._daemon.reload()
            except Exception:  # the manager waits for the end of a reload, whatever became of it
                _log.exception("reload failed")
            if not self._daemon.stopping.is_set():
                self._notifier.ready(self._daemon.summary())

    async def _keep_alive(self) -> None:
        """A sign of life as long as the event loop turns, and the status when it has changed."""
        said = ""
        while True:
            if self._notifier.watchdog_interval is not None:
                self._notifier.alive()
            summary = self._daemon.summary()
            if summary != said:
                self._notifier.status(summary)
                said = summary
            await asyncio.sleep(min(self._notifier.watchdog_interval or _STATUS_INTERVAL, _STATUS_INTERVAL))
