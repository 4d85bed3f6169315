"""A port of brief connections: what goes wrong with one is told, and keeps nobody else from being served."""

from __future__ import annotations

import asyncio
import socket

import pytest
from https_hosts import LOOPBACK, free_port

from smegmesh.control.brief import DEFAULTS, BriefServer, send_last


async def test_what_fails_is_logged_and_the_next_is_served(caplog: pytest.LogCaptureFixture) -> None:
    async def converse(connection: socket.socket, _address: str) -> None:
        asked = await asyncio.get_running_loop().sock_recv(connection, 100)
        if asked == b"what nobody thought of":
            raise ValueError("not thought of")
        await send_last(connection, b"answer")

    port = free_port()
    server = BriefServer("join", f"{LOOPBACK}:{port}", converse, DEFAULTS)
    server.start()
    await asyncio.sleep(0)  # it listens from its first step on
    try:
        for asked, answer in ((b"what nobody thought of", b""), (b"question", b"answer")):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(asked)
            assert await asyncio.wait_for(reader.read(), 10) == answer
            writer.transport.abort()
    finally:
        await server.stop()
    (record,) = [each for each in caplog.records if each.name == "smegmesh.control.brief"]
    assert "join: a connection could not be served" in caplog.text and "not thought of" in caplog.text
    assert record.levelname == "ERROR"
