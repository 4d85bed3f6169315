"""The ports of DNS on loopback: who is answered, and that nobody takes more than there is."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from https_hosts import free_port

from smegmesh.control.dns import DnsServer, Limits

HOST = "127.0.0.1"
FRAME = b"\0\x05hello"


def echo(data: bytes, *, tcp: bool) -> bytes | None:
    """An answer that tells the question and its way; none to `silent`, and `bad` is a fault."""
    if data == b"bad":
        raise RuntimeError("a fault")
    return None if data == b"silent" else ((b"tcp " if tcp else b"udp ") + data)[:65535]


async def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@asynccontextmanager
async def served(**limits: float) -> AsyncIterator[int]:
    port = free_port()
    server = DnsServer(f"{HOST}:{port}", echo, Limits(**limits))  # type: ignore[arg-type]
    server.start()
    try:
        await eventually(lambda: _listens(port))
        yield port
    finally:
        await server.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


async def ask(port: int, *questions: bytes) -> list[bytes]:
    """What comes back within a moment, by UDP."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
        asking.connect((HOST, port))
        for question in questions:
            asking.send(question)
        answers = []
        while True:
            try:
                answers.append(await asyncio.wait_for(loop.sock_recv(asking, 4096), 0.3))
            except asyncio.TimeoutError:
                return answers


async def test_datagrams_are_answered_and_a_fault_is_no_end(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as port:
        assert await ask(port, b"one", b"silent", b"bad", b"two", b"") == [b"udp one", b"udp two", b"udp "]
    assert "could not be answered" in caplog.text


async def test_more_datagrams_than_a_turn_takes_are_all_answered() -> None:
    async with served(turn=0.0) as port:
        questions = [str(number).encode() for number in range(50)]
        assert await ask(port, *questions) == [b"udp " + each for each in questions]


async def test_a_turn_of_the_loop_ends_in_time_however_long_an_answer_takes() -> None:
    loop = asyncio.get_running_loop()
    now, turns = 0.0, 0

    def slow(data: bytes, *, tcp: bool) -> bytes | None:
        nonlocal now
        now += 0.004
        return str(turns).encode()

    def next_turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(next_turn)

    port = free_port()
    server = DnsServer(f"{HOST}:{port}", slow)
    server.start()
    await eventually(lambda: _listens(port))
    real = loop.time
    loop.time = lambda: real() + now  # type: ignore[method-assign]
    next_turn()
    answers = await ask(port, *[b"x"] * 12)
    await server.stop()
    assert len(answers) == 12
    assert max(answers.count(turn) for turn in answers) <= 2


async def test_more_than_the_rate_is_dropped() -> None:
    async with served(rate=10) as port:
        assert 10 <= len(await ask(port, *[b"x"] * 100)) < 20


async def test_a_connection_asks_several_times_and_is_closed_when_it_gets_no_answer() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(FRAME + FRAME[:4])  # the second comes in pieces
        assert await reader.readexactly(11) == b"\0\x09tcp hello"
        writer.write(FRAME[4:])
        assert await reader.readexactly(11) == b"\0\x09tcp hello"
        writer.write(b"\0\x06silent")
        assert await asyncio.wait_for(_rest(reader), 5) == b""
        writer.close()


async def test_an_idle_connection_is_closed() -> None:
    async with served(idle_time=0.1) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(FRAME[:3])
        assert await asyncio.wait_for(_rest(reader), 5) == b""
        writer.close()


async def test_of_too_many_connections_the_oldest_gives_way() -> None:
    async with served(connections=2) as port:
        opened = [await asyncio.open_connection(HOST, port) for _ in range(2)]
        for reader, writer in opened:
            writer.write(FRAME)
            assert await reader.readexactly(11)
        newest, writing = await asyncio.open_connection(HOST, port)
        writing.write(FRAME)
        assert await newest.readexactly(11)
        assert await asyncio.wait_for(_rest(opened[0][0]), 5) == b""
        opened[1][1].write(FRAME)
        assert await opened[1][0].readexactly(11)
        for _reader, writer in [*opened, (newest, writing)]:
            writer.close()


async def test_who_does_not_read_is_closed() -> None:
    async with served(idle_time=0.2) as port:
        _reader, writer = await asyncio.open_connection(HOST, port, limit=1)
        writer.write((b"\xff\xff" + bytes(65535)) * 200)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(_drained(writer), 10)
        writer.close()


async def test_a_port_in_use_is_told_and_taken_when_it_is_free(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        port = free_port()
        taken.bind((HOST, port))
        server = DnsServer(f"{HOST}:{port}", echo, Limits(listen_pause=0.05))
        server.start()
        await eventually(lambda: server.problem)
        assert f"dns: cannot listen on {HOST} port {port}/udp: the port is in use: stop" in str(server.problem)
        assert "give dns.listen another port" in str(server.problem)
    await eventually(lambda: server.problem is None)
    assert await ask(port, b"one") == [b"udp one"]
    await server.stop()


@pytest.mark.parametrize(
    ("listen", "problem"),
    [
        ("53", "'53' is no address to listen on"),
        ("localhost:53", "'localhost:53' is no address to listen on"),
        ("[::]:53", ":: is every address of this host: give dns.listen one of them, like '[::1]:53'"),
        ("0.0.0.0:53", "0.0.0.0 is every address of this host"),
    ],
)
async def test_addresses_that_are_none_of_this_host_alone(listen: str, problem: str) -> None:
    server = DnsServer(listen, echo)
    server.start()
    await eventually(lambda: server.problem)
    assert f"dns: {problem}" in str(server.problem)
    await server.stop()


async def _drained(writer: asyncio.StreamWriter) -> None:
    while True:
        await writer.drain()
        await asyncio.sleep(0.01)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""
