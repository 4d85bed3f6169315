"""The ports at which names are asked for: messages in, answers out, within bounds.

Whoever can reach the port may ask, and the agent has other things to do: all have so many answers a second together, a
turn of the event loop answers datagrams for so long, and connections are few and short.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from smegmesh.control.errors import ControlError
from smegmesh.control.ports import Port, open_tcp, open_udp

_log = logging.getLogger(__name__)
_EVERYWHERE = ("::", "0.0.0.0")
_LONGEST = 4096  # bytes of a datagram; a question has no more than 300
_Sockets = tuple[socket.socket, socket.socket]
_T = TypeVar("_T")


class Answer(Protocol):
    """What answers messages; None to one that gets no answer."""

    def __call__(self, data: bytes, *, tcp: bool) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """`rate` is answers a second. Times are seconds: how long a turn of the event loop answers datagrams, how long a
    connection may be idle, and between attempts to listen."""

    rate: float = 10_000.0
    turn: float = 0.005
    connections: int = 64
    idle_time: float = 10.0
    listen_pause: float = 10.0


_DEFAULTS = Limits()


class DnsServer:
    """Serves what `answer` says at `listen`, by UDP and TCP. Nothing that is wrong with it raises: see `problem`."""

    def __init__(self, listen: str, answer: Answer, limits: Limits = _DEFAULTS) -> None:
        self._port = Port("dns", listen, limits.listen_pause)
        self._answer = answer
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._left = limits.rate  # answers
        self._counted = self._loop.time()
        self._task: asyncio.Task[None] | None = None
        self._connections: dict[asyncio.Task[None], None] = {}  # the oldest first

    @property
    def problem(self) -> str | None:
        """What keeps it from serving, None if nothing does."""
        return self._port.problem

    def start(self) -> None:
        """Listen as soon as that can be."""
        self._task = asyncio.create_task(self._port.serve(_open, self._serve), name="dns-listen")

    async def stop(self) -> None:
        """Listen no more and end what is open."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _serve(self, sockets: _Sockets) -> None:
        datagrams, connections = sockets
        server = await asyncio.start_server(self._connected, sock=connections)
        self._loop.add_reader(datagrams, self._readable, datagrams)
        try:
            await self._loop.create_future()  # until it is cancelled
        finally:
            self._loop.remove_reader(datagrams)
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _readable(self, datagrams: socket.socket) -> None:
        ends = self._loop.time() + self._limits.turn
        while True:
            try:
                data, sender = datagrams.recvfrom(_LONGEST)
            except OSError:  # none left, or what became of an answer
                return
            answer = self._answered(data, tcp=False) if self._may_answer() else None
            if answer is not None:
                with suppress(OSError):  # who asked is gone, or its way is full
                    datagrams.sendto(answer, sender)
            if self._loop.time() >= ends:
                return

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= self._limits.connections:
            next(iter(self._connections)).cancel()
        self._connections[task] = None
        try:
            while await self._answer_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            pass
        finally:
            del self._connections[task]
            writer.transport.abort()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        data = await self._soon(_read(reader))
        answer = self._answered(data, tcp=True) if self._may_answer() else None
        if answer is None:
            return False
        writer.write(len(answer).to_bytes(2, "big") + answer)
        await self._soon(writer.drain())
        return True

    async def _soon(self, work: Awaitable[_T]) -> _T:
        return await asyncio.wait_for(work, self._limits.idle_time)

    def _answered(self, data: bytes, *, tcp: bool) -> bytes | None:
        try:
            return self._answer(data, tcp=tcp)
        except Exception:  # whatever became of this one, the next may be answered
            _log.exception("dns: a question could not be answered")
            return None

    def _may_answer(self) -> bool:
        now = self._loop.time()
        self._left = min(self._limits.rate, self._left + (now - self._counted) * self._limits.rate)
        self._counted = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@contextmanager
def _open(host: str, port: int, key: str) -> Iterator[_Sockets]:
    """For datagrams, and for connections."""
    if host in _EVERYWHERE:
        raise ControlError(f"{host} is every address of this host", f"give {key} one of them, like '[::1]:53'")
    with open_udp(host, port, key) as datagrams, open_tcp(host, port, key) as connections:
        yield datagrams, connections


async def _read(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
