"""smegd: the agent. `smegd --help` lists its options."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path

import smegmesh
from smegmesh.control.client import SOCKET_PATH
from smegmesh.control.errors import ControlError
from smegmesh.control.server import ControlServer
from smegmesh.daemon.daemon import Daemon, Platform
from smegmesh.daemon.host import Directories
from smegmesh.daemon.journal import configure_logging
from smegmesh.daemon.notify import Notifier
from smegmesh.daemon.service import Service
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
    keys = load_keys(directories.state)
    store, problem = open_store(directories.state / "state.db")
    if problem is not None:
        _log.error("%s", problem)
    try:
        daemon = Daemon(directories, settings, keys, store, platform, problem)
        control = ControlServer(directories.run / SOCKET_PATH.name, None, daemon)
        service = Service(daemon, Notifier(os.environ))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, daemon.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, service.request_reload)
        await control.start()
        try:
            await service.run()
        finally:
            await control.stop()
    finally:
        store.close()


def _platform(directories: Directories, settings: AgentSettings) -> Platform:
    requests = directories.run / "devices"
    launcher: Launcher = SystemdLauncher(requests=requests) if requests.is_dir() else ProcessLauncher()
    plane_named = partial(choose_plane, launcher=launcher)
    plane = plane_named(settings.plane)
    if settings.plane == "memory":
        return Platform(plane, plane_named, MemorySystem(), tunnels=False)
    return Platform(plane, plane_named, LinuxSystem())


if __name__ == "__main__":
    sys.exit(main())
