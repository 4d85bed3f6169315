"""Server-sent events (WHATWG HTML, 9.2): the log of events as a stream."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from aiohttp import web

from smegmesh.control.events import EventLog
from smegmesh.control.operations import STREAM
from smegmesh.control.types import Event

_PAUSE = 15.0  # seconds without an event after which a comment shows whether the reader is still there
_WRITE_TIMEOUT = 10.0  # seconds that a reader may take for what is sent
_RETRY = 2000  # milliseconds after which a reader comes back


async def stream(
    request: web.Request, log: EventLog, place: int | None, mesh: str | None, lasting: float | None
) -> web.StreamResponse:
    """Send events from a place of the log on, of one mesh or of all, as long as the reader keeps up.

    `lasting` seconds at most, if that is not None: a stream that comes to its end is no error to a reader.
    """
    response = web.StreamResponse(headers={"Content-Type": STREAM, "Cache-Control": "no-store"})
    await response.prepare(request)
    try:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_tell(response, log, place, mesh), lasting)
        await response.write_eof()
    except ConnectionError:
        if request.transport is not None:
            request.transport.abort()
    return response


async def _tell(response: web.StreamResponse, log: EventLog, place: int | None, mesh: str | None) -> None:
    await _write(response, f"retry: {_RETRY}\n\n".encode())
    async for number, event in log.read(place, _PAUSE):
        if event is None:
            await _write(response, b":\n\n")
        elif event.mesh in (mesh, None) or mesh is None:
            await _write(response, _framed(number, event))


def _framed(number: str, event: Event) -> bytes:
    """The data is JSON, in which there are no ends of lines."""
    return f"id: {number}\nevent: {event.kind}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n"


async def _write(response: web.StreamResponse, data: bytes) -> None:
    try:
        await asyncio.wait_for(response.write(data), _WRITE_TIMEOUT)
    except asyncio.TimeoutError:
        raise ConnectionError("the reader does not keep up") from None
