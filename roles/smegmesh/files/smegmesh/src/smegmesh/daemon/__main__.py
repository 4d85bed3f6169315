"""smegd: the agent. `smegd --help` lists its options."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import smegmesh
from smegmesh.control.client import SOCKET_PATH
from smegmesh.control.errors import ControlError
from smegmesh.control.server import ControlServer
from smegmesh.daemon.daemon import Daemon, Platform
from smegmesh.daemon.host import Directories
from smegmesh.daemon.journal import configure_logging
from smegmesh.daemon.notify import Notifier
from smegmesh.dataplane.launcher import Launcher, ProcessLauncher, SystemdLauncher
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.select import choose_plane
from smegmesh.dataplane.system import LinuxSystem, MemorySystem
from smegmesh.declaration import AgentSettings, DeclarationError, load_agent
from smegmesh.store import StoreError, open_store
from smegmesh.store.keys import load_keys
from smegmesh.transport.sockets import ListenError

_log = logging.getLogger("smegmesh.daemon")


def main() -> int:
    """Run until SIGTERM; 1 with one line on standard error when it cannot start."""
    arguments = _parse()
    directories = Directories(etc=arguments.etc, state=arguments.state, run=arguments.run)
    try:
        settings = load_agent(directories.etc / "agent.yml")
        configure_logging(settings.log_level, journal="JOURNAL_STREAM" in os.environ)
        # Before the event loop: pyroute2's synchronous sockets refuse to work inside one.
        platform = _platform(directories, settings)
        asyncio.run(_run(directories, settings, platform))
    except (DeclarationError, StoreError, PlaneError, ListenError, ControlError) as error:
        print(f"smegd: {error}", file=sys.stderr)
        return 1
    return 0


def _parse() -> argparse.Namespace:
    default = Directories()
    parser = argparse.ArgumentParser(prog="smegd", description="The smegmesh agent.")
    parser.add_argument("--etc", type=Path, default=default.etc, metavar="DIR", help="configuration (%(default)s)")
    parser.add_argument("--state", type=Path, default=default.state, metavar="DIR", help="state (%(default)s)")
    parser.add_argument("--run", type=Path, default=default.run, metavar="DIR", help="socket (%(default)s)")
    parser.add_argument("--version", action="version", version=smegmesh.__version__)
    return parser.parse_args()


async def _run(directories: Directories, settings: AgentSettings, platform: Platform) -> None:
    loop = asyncio.get_running_loop()
    notifier = Notifier(os.environ)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    keys = load_keys(directories.state)
    store, problem = open_store(directories.state / "state.db")
    if problem is not None:
        _log.error("%s", problem)
    try:
        daemon = Daemon(directories, settings, keys, store, platform, problem)
        await _serve(daemon, directories, notifier, stopping)
    finally:
        store.close()


async def _serve(daemon: Daemon, directories: Directories, notifier: Notifier, stopping: asyncio.Event) -> None:
    control = ControlServer(directories.run / SOCKET_PATH.name, None, daemon)
    await control.start()
    reloads = _Reloads(daemon, notifier)
    try:
        await daemon.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloads.request)
        notifier.ready(reloads.summary())
        watchdog = asyncio.create_task(_keep_alive(notifier), name="watchdog")
        await stopping.wait()
        notifier.stopping()
        watchdog.cancel()
    finally:
        await daemon.stop()
        await control.stop()


class _Reloads:
    """SIGHUP -> one reload after the other."""

    def __init__(self, daemon: Daemon, notifier: Notifier) -> None:
        self._daemon = daemon
        self._notifier = notifier
        self._tasks: set[asyncio.Task[None]] = set()

    def request(self) -> None:
        task = asyncio.create_task(self._reload(), name="reload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def summary(self) -> str:
        meshes = self._daemon.status().meshes
        return ", ".join(f"{mesh.mesh} {mesh.state}" for mesh in meshes) or "no mesh declared"

    async def _reload(self) -> None:
        self._notifier.reloading(asyncio.get_running_loop().time())
        await self._daemon.reload()
        self._notifier.ready(self.summary())


async def _keep_alive(notifier: Notifier) -> None:
    """A sign of life as long as the event loop turns."""
    while notifier.watchdog_interval is not None:
        notifier.alive()
        await asyncio.sleep(notifier.watchdog_interval)


def _platform(directories: Directories, settings: AgentSettings) -> Platform:
    if settings.plane == "memory":
        return Platform(choose_plane("memory", ProcessLauncher()), MemorySystem(), restrict=False)
    requests = directories.run / "devices"
    launcher: Launcher = SystemdLauncher(requests=requests) if requests.is_dir() else ProcessLauncher()
    return Platform(choose_plane(settings.plane, launcher), LinuxSystem())


if __name__ == "__main__":
    sys.exit(main())
