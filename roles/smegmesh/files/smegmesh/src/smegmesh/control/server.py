"""The API server on the agent's Unix socket."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from smegmesh.control.accepting import accept
from smegmesh.control.listener import Listener, find_group
from smegmesh.control.loading import load_routes
from smegmesh.control.types import StatusSource

if TYPE_CHECKING:
    from aiohttp import web

_log = logging.getLogger(__name__)


class ControlServer:
    """Serves what `source` says at `path`, to root, the agent's user and members of `group`."""

    def __init__(self, path: Path, group: str | None, source: StatusSource) -> None:
        """`group` None is the agent's own. ControlError if there is none of that name."""
        self._path = path
        self._group = find_group(group) if group is not None else os.getegid()
        self._source = source
        self._listener: Listener | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; ControlError if that cannot be."""
        self._listener = Listener(self._path, self._group)
        self._accepting = asyncio.create_task(self._accept(self._listener.socket), name="control-accept")

    async def stop(self) -> None:
        """Take the socket away and close what is open."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _peer = await accept(listener, "control socket")
            try:
                runner = self._runner = self._runner or await self._load()
                assert runner.server is not None
                await loop.connect_accepted_socket(runner.server, connection)
            except Exception:  # whatever became of this one, the next may be served
                _log.exception("control socket: a connection could not be served")
                connection.close()

    async def _load(self) -> web.AppRunner:
        routes = await load_routes()
        runner: web.AppRunner = routes.make_runner(self._source, self._group)
        await runner.setup()
        return runner
