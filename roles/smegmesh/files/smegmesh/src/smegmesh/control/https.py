"""The API over TLS, for operators: what may be read on the Unix socket, and nothing else.

Whoever can reach the port may try, so everything has a bound: handshakes, connections, what a connection
may take. A connection carries one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from smegmesh.control.accepting import accept
from smegmesh.control.errors import ControlError
from smegmesh.control.loading import load_routes
from smegmesh.control.ports import Port, open_tcp
from smegmesh.control.tls import ApiTls, explain, server_context
from smegmesh.control.types import StatusSource
from smegmesh.identity.certificate import CertificateError

if TYPE_CHECKING:
    from aiohttp import web

_log = logging.getLogger(__name__)
_LINES = 30  # about refusals, at once; then one each second


@dataclass(frozen=True, slots=True)
class Limits:
    """Times are seconds: of a handshake, a connection as a whole, one that is refused, between attempts to listen."""

    handshakes: int = 64
    connections: int = 64
    handshake_time: float = 5.0
    connection_time: float = 30.0
    refused_time: float = 3.0
    listen_pause: float = 10.0


_DEFAULTS = Limits()


class HttpsServer:
    """Serves what `source` says at `listen` to operators. Nothing that is wrong with it raises: see `problem`.

    `credentials` is asked at each connection, so that it follows renewals; None while there are none.
    """

    def __init__(
        self,
        listen: str,
        source: StatusSource,
        credentials: Callable[[], ApiTls | None],
        limits: Limits = _DEFAULTS,
    ) -> None:
        self._port = Port("api", listen, limits.listen_pause)
        self._source = source
        self._credentials = credentials
        self._limits = limits
        self._context: tuple[ApiTls, ssl.SSLContext] | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # one a connection
        self._handshakes: dict[asyncio.Task[None], socket.socket] = {}  # the oldest first
        self._connections: dict[asyncio.Task[None], bool] = {}  # whether it is an operator's
        self._runner: web.AppRunner | None = None
        self._unsaid = 0
        self._lines = float(_LINES)
        self._refused_last = 0.0

    @property
    def problem(self) -> str | None:
        """What keeps it from serving, None if nothing does."""
        return self._port.problem

    def start(self) -> None:
        """Listen as soon as that can be."""
        self._accepting = asyncio.create_task(self._port.serve(open_tcp, self._accept), name="api-accept")

    async def stop(self) -> None:
        """Listen no more and end what is open."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None
        for task in self._tasks - self._handshakes.keys():
            task.cancel()
        for connection in self._handshakes.values():
            _hang_up(connection)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._limits.handshake_time)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, peer = await accept(listener, "api")
            try:
                server = (await self._load()).server
                assert server is not None
            except Exception:  # whatever became of this one, the next may be served
                _log.exception("api: a connection could not be served")
                connection.close()
                continue
            except asyncio.CancelledError:
                connection.close()
                raise
            if len(self._handshakes) >= self._limits.handshakes:
                _hang_up(self._handshakes.pop(next(iter(self._handshakes))))
            task = asyncio.create_task(self._serve(connection, str(peer[0]), server), name="api-connection")
            self._tasks.add(task)
            self._handshakes[task] = connection
            task.add_done_callback(self._ended)
            await asyncio.sleep(0)  # accepting never waits while there are many

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._handshakes.pop(task, None)
        self._connections.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            _log.error("api: a connection could not be served", exc_info=task.exception())

    async def _serve(self, connection: socket.socket, peer: str, server: web.Server) -> None:
        """One connection from its handshake to its end."""
        opened = await self._open(connection, peer, server)
        if opened is None:
            return
        transport, closed, tls = opened
        try:
            if closed.done():
                return
            admitted = self._admitted(tls, transport, peer)
            if self._find_place(admitted):
                limit = self._limits.connection_time if admitted else self._limits.refused_time
                await asyncio.wait([closed], timeout=limit)
            else:
                self._refused(peer, "too many connections")
        finally:
            if not closed.done():
                _abort(transport)

    async def _open(
        self, connection: socket.socket, peer: str, server: web.Server
    ) -> tuple[asyncio.Transport, asyncio.Future[None], ApiTls] | None:
        """The connection after its handshake, what is done at its end, and under which settings it was made."""
        try:
            tls, context = self._tls()
        except ControlError as error:
            connection.close()
            self._refused(peer, str(error))
            return None
        try:
            transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Watched(server()), connection, ssl=context, ssl_handshake_timeout=self._limits.handshake_time
            )
        except OSError as error:
            self._refused(peer, explain(error))
            return None
        return transport, protocol.closed, tls

    def _admitted(self, tls: ApiTls, transport: asyncio.BaseTransport, peer: str) -> bool:
        try:
            tls.admit(_certificate_of(transport))
        except CertificateError as error:
            self._refused(peer, str(error))
            return False
        return True

    def _find_place(self, admitted: bool) -> bool:
        """Whether this connection may go on; one that is refused anyway makes room for an operator's."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._handshakes.pop(task, None)
        if len(self._connections) >= self._limits.connections:
            refused = next((other for other, operator in self._connections.items() if not operator), None)
            if refused is None or not admitted:
                return False
            del self._connections[refused]
            refused.cancel()
        self._connections[task] = admitted
        return True

    def _tls(self) -> tuple[ApiTls, ssl.SSLContext]:
        tls = self._credentials()
        if tls is None:
            raise ControlError("no mesh runs here, so there is no certificate to show", "see `smegctl status`")
        if self._context is None or self._context[0] != tls:
            try:
                self._context = tls, server_context(tls)
            except ControlError as error:
                self._port.note(str(error))
                raise
        self._port.problem = None
        return self._context

    async def _load(self) -> web.AppRunner:
        if self._runner is None:
            routes = await load_routes()
            runner: web.AppRunner = routes.make_reading_runner(self._source, self._refusal)
            await runner.setup()
            self._runner = runner
        return self._runner

    def _refusal(self, transport: asyncio.BaseTransport | None) -> str | None:
        """Why a request of this connection is refused now; None if it is not."""
        tls = self._credentials()
        if transport is None or tls is None:
            return "nobody can be admitted now"
        try:
            tls.admit(_certificate_of(transport))
        except CertificateError as error:
            return str(error)
        return None

    def _refused(self, peer: str, reason: str) -> None:
        """Log who was refused; of many at once, some."""
        now = asyncio.get_running_loop().time()
        self._lines = min(_LINES, self._lines + now - self._refused_last)
        self._refused_last = now
        if self._lines < 1:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more before)" if self._unsaid else ""
        _log.info("api: refused a connection from %s: %s%s", peer, reason, more)
        self._lines, self._unsaid = self._lines - 1, 0


class _Watched(asyncio.Protocol):
    """Another protocol, and when its connection ended."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inner = inner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        if not self.closed.done():
            self.closed.set_result(None)


def _hang_up(connection: socket.socket) -> None:
    """End a handshake as if the other side had: asyncio may lose a transport whose making is cancelled."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _abort(transport: asyncio.Transport) -> None:
    try:
        transport.abort()
    except AttributeError:  # before Python 3.12 one that was closed twice does not know its connection any more
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _certificate_of(transport: asyncio.BaseTransport) -> bytes | None:
    session: Any = transport.get_extra_info("ssl_object")
    certificate: bytes | None = session.getpeercert(binary_form=True) if session is not None else None
    return certificate
