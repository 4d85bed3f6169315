"""A TCP port whose connections are brief: one question, one answer, and little time for it.

Who can reach the port costs the agent no more than these bounds let them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from smegmesh.control.accepting import accept
from smegmesh.control.ports import Port, open_tcp

_log = logging.getLogger(__name__)
_READ = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """Times are seconds: of a connection as a whole, between attempts to listen."""

    connections: int = 16
    connection_time: float = 10.0
    listen_pause: float = 10.0


DEFAULTS = Limits()
Converse = Callable[[socket.socket, str], Awaitable[None]]


class BriefServer:
    """Listens at `listen`, and has `converse(connection, address)` for each connection. See `problem`: nothing raises.

    `name` is the key of agent.yml. `admit(address)` says whether a connection of an IP address is taken at all.
    """

    def __init__(
        self,
        name: str,
        listen: str,
        converse: Converse,
        limits: Limits,
        admit: Callable[[str], bool] = lambda _address: True,
    ) -> None:
        self._name = name
        self._port = Port(name, listen, limits.listen_pause)
        self._converse = converse
        self._limits = limits
        self._admit = admit
        self._accepting: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def problem(self) -> str | None:
        """What keeps it from serving, None if nothing does."""
        return self._port.problem

    def start(self) -> None:
        """Listen as soon as that can be."""
        self._accepting = asyncio.create_task(self._port.serve(open_tcp, self._accept), name=f"{self._name}-accept")

    async def stop(self) -> None:
        """Listen no more and end what is open."""
        tasks = [*self._connections, *([self._accepting] if self._accepting is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, peer = await accept(listener, self._name)
            address = str(peer[0])
            if len(self._connections) >= self._limits.connections or not self._admit(address):
                connection.close()
                continue
            task = asyncio.create_task(self._serve(connection, address), name=f"{self._name}-connection")
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _serve(self, connection: socket.socket, address: str) -> None:
        """One conversation, within its time."""
        with connection:
            try:
                await asyncio.wait_for(self._converse(connection, address), self._limits.connection_time)
            except (OSError, asyncio.TimeoutError):  # ssl.SSLError, too
                return
            except Exception:  # whatever became of this one, the next may be served
                _log.exception("%s: a connection could not be served", self._name)


async def send_last(connection: socket.socket, answer: bytes) -> None:
    """Send what is the last, and wait until the other side closes: with something unread it might be lost."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, answer)
    connection.shutdown(socket.SHUT_WR)
    await loop.sock_recv(connection, _READ)
