"""Accepting connections, whatever the host runs out of."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

_log = logging.getLogger(__name__)
_PAUSE = 1.0  # seconds; after accept failed (no descriptors left), which does not mend itself at once


async def accept(listener: socket.socket, name: str) -> tuple[socket.socket, Any]:
    """The next connection and the address of its other side; `name` is the listener's in the log."""
    while True:
        try:
            return await asyncio.get_running_loop().sock_accept(listener)
        except OSError as error:
            _log.warning("%s: cannot accept: %s", name, error)
            await asyncio.sleep(_PAUSE)
