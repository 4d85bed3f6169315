"""The port for hosts that have no certificate yet: TLS, one request, one answer.

The server name is the mesh id, the request one of PKCS #10 in PEM, the answer a line of JSON. Whoever can reach the
port may try, so nothing is begun for one that comes too often.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from smegmesh.control.brief import DEFAULTS, BriefServer, send_last
from smegmesh.identity.joining import MAX_REQUEST
from smegmesh.transport.tls import ChooseContext, TlsSession, listener_context

_END = b"-----END CERTIFICATE REQUEST-----\n"
_READ = 4096


def join_server(
    listen: str,
    choose: ChooseContext,
    admit: Callable[[str], bool],
    answer: Callable[[str, bytes, str], bytes],
) -> BriefServer:
    """A server at `listen`.

    `admit(address)` says whether a connection of an IP address is taken, `answer(mesh, request, address)` what it gets.
    """
    context = listener_context(choose, anybody=True)

    async def converse(connection: socket.socket, address: str) -> None:
        session = TlsSession(context, server_side=True)
        request = await _read_request(connection, session)
        if request is None:
            return
        session.encrypt(answer(session.mesh_id, request, address))
        session.end()
        await send_last(connection, session.take())

    return BriefServer("join", listen, converse, DEFAULTS, admit)


async def _read_request(connection: socket.socket, session: TlsSession) -> bytes | None:
    """What the other side says up to the end of a request, or more than one may have; None if it ends before."""
    loop = asyncio.get_running_loop()
    request = b""
    while not request.endswith(_END) and len(request) <= MAX_REQUEST:
        data = await loop.sock_recv(connection, _READ)
        if not data:
            return None
        try:
            request += session.feed(data)
        except ssl.SSLError:
            await loop.sock_sendall(connection, session.take())  # the alert that says why
            raise
        await loop.sock_sendall(connection, session.take())
    return request
