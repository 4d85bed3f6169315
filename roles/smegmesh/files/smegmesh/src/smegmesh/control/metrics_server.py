"""Metrics over plain HTTP, where the host's settings ask for it: one path, read only, to whoever gets there.

A request is answered here and not by aiohttp, which 16 MB would be loaded for.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from smegmesh.control.brief import DEFAULTS, BriefServer, Limits, send_last
from smegmesh.control.exposition import CONTENT_TYPE

PATH = "/metrics"

_log = logging.getLogger(__name__)
_MAX_HEAD = 8 * 1024
_END = b"\r\n\r\n"


class MetricsServer:
    """Serves what `measure` returns at `listen`. Nothing that is wrong with it raises: see `problem`."""

    def __init__(self, listen: str, measure: Callable[[], Awaitable[str]], limits: Limits = DEFAULTS) -> None:
        self._server = BriefServer("metrics", listen, self._converse, limits)
        self._measure = measure

    @property
    def problem(self) -> str | None:
        """What keeps it from serving, None if nothing does."""
        return self._server.problem

    def start(self) -> None:
        """Listen as soon as that can be."""
        self._server.start()

    async def stop(self) -> None:
        """Listen no more and end what is open."""
        await self._server.stop()

    async def _converse(self, connection: socket.socket, _address: str) -> None:
        loop = asyncio.get_running_loop()
        head = b""
        while _END not in head and len(head) <= _MAX_HEAD:
            data = await loop.sock_recv(connection, _MAX_HEAD)
            if not data:
                return
            head += data
        await send_last(connection, await self._answer(head))

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
