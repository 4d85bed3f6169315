"""Metrics over plain HTTP, where the host's settings ask for it: one path, read only, to whoever gets there.

A request is answered here and not by aiohttp, which 16 MB would be loaded for. Who can reach the port costs the
agent no more than these bounds let them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

from smegmesh.control.accepting import accept
from smegmesh.control.exposition import CONTENT_TYPE
from smegmesh.control.ports import Port, open_tcp

PATH = "/metrics"

_log = logging.getLogger(__name__)
_MAX_HEAD = 8 * 1024
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """Times are seconds: of a connection as a whole, between attempts to listen."""

    connections: int = 16
    connection_time: float = 10.0
    listen_pause: float = 10.0


_DEFAULTS = Limits()


class MetricsServer:
    """Serves what `measure` returns at `listen`. Nothing that is wrong with it raises: see `problem`."""

    def __init__(self, listen: str, measure: Callable[[], Awaitable[str]], limits: Limits = _DEFAULTS) -> None:
        self._port = Port("metrics", listen, limits.listen_pause)
        self._measure = measure
        self._limits = limits
        self._accepting: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def problem(self) -> str | None:
        """What keeps it from serving, None if nothing does."""
        return self._port.problem

    def start(self) -> None:
        """Listen as soon as that can be."""
        self._accepting = asyncio.create_task(self._port.serve(open_tcp, self._accept), name="metrics-accept")

    async def stop(self) -> None:
        """Listen no more and end what is open."""
        tasks = [*self._connections, *([self._accepting] if self._accepting is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _peer = await accept(listener, "metrics")
            if len(self._connections) >= self._limits.connections:
                connection.close()
                continue
            task = asyncio.create_task(self._serve(connection), name="metrics-connection")
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _serve(self, connection: socket.socket) -> None:
        """One request, within its time."""
        with connection:
            try:
                await asyncio.wait_for(self._converse(connection), self._limits.connection_time)
            except (OSError, asyncio.TimeoutError):
                return

    async def _converse(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        head = b""
        while _END not in head and len(head) <= _MAX_HEAD:
            data = await loop.sock_recv(connection, _MAX_HEAD)
            if not data:
                return
            head += data
        await loop.sock_sendall(connection, await self._answer(head))
        connection.shutdown(socket.SHUT_WR)
        await loop.sock_recv(connection, _MAX_HEAD)  # closed with something unread, the answer might be lost

    async def _answer(self, head: bytes) -> bytes:
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if _END not in head:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST)
        method, target, _version = words
        if target.partition("?")[0] != PATH:
            return _response(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, more="Allow: GET, HEAD\r\n")
        try:
            text = await self._measure()
        except Exception:
            _log.exception("metrics: could not be measured")
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR)
        return _response(HTTPStatus.OK, text, CONTENT_TYPE, with_body=method == "GET")


def _response(
    status: HTTPStatus, text: str | None = None, kind: str = "text/plain", *, with_body: bool = True, more: str = ""
) -> bytes:
    body = (text if text is not None else f"{status.phrase}: ask GET {PATH}\n").encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
    return f"{head}Connection: close\r\n\r\n".encode("latin-1") + (body if with_body else b"")
