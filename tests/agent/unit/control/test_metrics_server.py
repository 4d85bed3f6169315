"""Metrics over plain HTTP on loopback: what is told, and what becomes of those who ask for something else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from https_hosts import LOOPBACK, free_port
from hypothesis import given
from hypothesis import strategies as st

from smegmesh.control.exposition import CONTENT_TYPE
from smegmesh.control.metrics_server import Limits, MetricsServer

TEXT = "# HELP smegmesh_x Of no use.\n# TYPE smegmesh_x gauge\nsmegmesh_x 1\n"


async def measure() -> str:
    return TEXT


@asynccontextmanager
async def serving(limits: Limits | None = None, measured: object = measure) -> AsyncIterator[int]:
    port = free_port()
    server = MetricsServer(f"{LOOPBACK}:{port}", measured, limits or Limits())  # type: ignore[arg-type]
    server.start()
    try:
        await asyncio.sleep(0)  # it listens from its first step on
        yield port
        assert server.problem is None
    finally:
        await server.stop()


async def say(port: int, request: bytes) -> bytes:
    """All that is answered, until the other side ends it."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.transport.abort()


async def test_prometheus_asks() -> None:
    async with serving() as port:
        request = b"GET /metrics HTTP/1.1\r\nHost: a1\r\nAccept: text/plain;version=0.0.4\r\nConnection: close\r\n\r\n"
        head, _, body = (await say(port, request)).partition(b"\r\n\r\n")
        assert head.splitlines()[0] == b"HTTP/1.1 200 OK"
        assert f"Content-Type: {CONTENT_TYPE}".encode() in head.splitlines()
        assert f"Content-Length: {len(TEXT)}".encode() in head.splitlines()
        assert body.decode() == TEXT
        assert (await say(port, b"GET /metrics?x=1 HTTP/1.0\r\n\r\n")).endswith(body)
        assert (await say(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")).endswith(b"close\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /v1/status HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /v1/reload HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", b"405"),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + bytes(9000), b"431"),
    ],
)
async def test_nothing_else_is_there(request_: bytes, status: bytes) -> None:
    async with serving() as port:
        answer = await say(port, request_)
        assert answer.split(b" ")[:2] == [b"HTTP/1.1", status]
        assert b"ask GET /metrics" in answer


@given(head=st.one_of(st.binary(max_size=200), st.from_regex(rb"[A-Z]{3,6} /[ -~]* HTTP/1.1\r\n(.*\r\n)*\r\n")))
def test_whatever_is_said_has_an_answer(head: bytes) -> None:
    answer = asyncio.run(MetricsServer("127.0.0.1:1", measure)._answer(head))
    assert re.match(rb"HTTP/1.1 (200|400|404|405|431) [A-Z]", answer)
    assert b"\r\nConnection: close\r\n\r\n" in answer


async def test_who_is_slow_or_many_has_its_bounds() -> None:
    async with serving(Limits(connections=2, connection_time=0.3)) as port:
        slow = [await asyncio.open_connection(LOOPBACK, port) for _ in range(2)]
        with contextlib.suppress(ConnectionError):
            assert await say(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b"", "one too many"
        for reader, writer in slow:
            writer.write(b"GET /met")
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.transport.abort()
        assert b"200 OK" in await say(port, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_a_fault_of_ours_is_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> str:
        raise RuntimeError("a secret detail")

    async with serving(measured=fail) as port:
        with caplog.at_level(logging.ERROR):
            answer = await say(port, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"secret" not in answer and "a secret detail" in caplog.text


async def test_what_is_wrong_is_told() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        for listen, problem in (
            ("everywhere", "metrics: 'everywhere' is no address to listen on"),
            (f"{LOOPBACK}:{taken.getsockname()[1]}", "or give metrics.listen another port"),
        ):
            server = MetricsServer(listen, measure)
            server.start()
            await asyncio.sleep(0)
            assert problem in (server.problem or "")
            await server.stop()


def test_it_does_without_aiohttp() -> None:
    """Its memory is what makes a server of its own worth while."""
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import smegmesh.control.metrics_server; print('aiohttp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
