"""The log of events: what a reader gets that follows, comes back, or is slow."""

from __future__ import annotations

import asyncio
import json
import select
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from control_agent import Agent, running

from smegmesh.control import routes, streaming
from smegmesh.control.events import EventLog
from smegmesh.control.types import Event


def event(text: str, mesh: str = "prod") -> Event:
    return Event(kind="alarm", time=1.0, mesh=mesh, text=text)


async def take(log: EventLog, place: int | None, count: int) -> list[tuple[str, str | None]]:
    """So many answers: their ids, and what they say."""
    taken = []
    async for number, said in log.read(place, 0.01):
        taken.append((number, None if said is None else said.text or said.kind))
        if len(taken) == count:
            break
    return taken


async def test_a_reader_gets_what_happens_from_now_on() -> None:
    log = EventLog()
    log.add(event("before"))
    place = log.place(None)
    log.add(event("one"))
    log.add(event("two"))
    first, second, nothing = await take(log, place, 3)
    assert (first[1], second[1], nothing[1]) == ("one", "two", None)
    assert nothing[0] == second[0], "who comes back after a pause has read the last event"


async def test_who_comes_back_misses_nothing_that_is_kept() -> None:
    log = EventLog(kept=3)
    log.add(event("0"))
    ((first, _),) = await take(log, 0, 1)
    for number in range(1, 4):
        log.add(event(str(number)))
    assert [text for _, text in await take(log, log.place(first), 3)] == ["1", "2", "3"]
    log.add(event("4"))
    assert log.place(first) is None
    assert [text for _, text in await take(log, log.place(first), 1)] == ["missed"]


@pytest.mark.parametrize(
    "last", ["", "x", "-1", "-", "aaaaaaaa-0", "{run}-9", "{run}--1", "{run}-²", "{run}-" + "9" * 99]
)
async def test_ids_of_others_are_no_places(last: str) -> None:
    log = EventLog()
    log.add(event("one"))
    ((run, _),) = await take(log, 0, 1)
    assert log.place(last.format(run=run.partition("-")[0])) is None


async def test_a_reader_that_is_too_slow_is_left_behind() -> None:
    log = EventLog(kept=2)
    reading = log.read(log.place(None), 0.01)
    log.add(event("0"))
    assert (await anext(reading))[1] == event("0")
    for number in range(4):
        log.add(event(str(number)))
    with pytest.raises(StopAsyncIteration):
        await anext(reading)


async def test_readers_end_with_the_agent() -> None:
    log = EventLog()
    waiting = asyncio.ensure_future(anext(log.read(log.place(None), 60)))
    await asyncio.sleep(0)
    log.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def lines(path: Path, headers: str = "", query: str = "") -> AsyncIterator[str]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"GET /v1/events{query} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
    try:
        while line := await asyncio.wait_for(reader.readline(), 5):
            yield line.decode().rstrip("\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


async def said(stream: AsyncIterator[str], count: int) -> list[tuple[str, str]]:
    """So many events: id and text."""
    found, number = [], ""
    async for line in stream:
        name, _, value = line.partition(": ")
        if name == "id":
            number = value
        elif name == "data":
            data = json.loads(value)
            found.append((number, data["text"] or data["kind"]))
            if len(found) == count:
                return found
    raise AssertionError(f"it ended after {found}")


async def begun(stream: AsyncIterator[str]) -> None:
    async for line in stream:
        if line.startswith("retry: "):
            return


async def test_the_stream_and_its_resumption(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with running(path) as agent:
        stream = lines(path, query="?mesh=prod")
        await begun(stream)
        for text, mesh in (("one\n\ndata: x", "prod"), ("other", "office"), ("two", "prod")):
            agent.events.add(event(text, mesh))
        (number, one), (_, two) = await said(stream, 2)
        assert (one, two) == ("one\n\ndata: x", "two")
        await stream.aclose()
        again = lines(path, f"Last-Event-ID: {number}\r\n")
        assert [text for _, text in await said(again, 2)] == ["other", "two"]
        await again.aclose()
        strange = lines(path, "Last-Event-ID: 1\r\n")
        assert [text for _, text in await said(strange, 1)] == ["missed"]
        await strange.aclose()


async def test_who_does_not_read_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_WRITE_TIMEOUT", 0.2)
    path = tmp_path / "api.sock"
    async with running(path) as agent:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(path))
            silent.sendall(b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await asyncio.to_thread(silent.recv, 1)
            for _ in range(400):
                agent.events.add(event("x" * 4000))
            other = lines(path)
            await begun(other)
            agent.events.add(event("still told"))
            assert [text for _, text in await said(other, 1)] == ["still told"]
            await other.aclose()
            ended = select.poll()
            ended.register(silent, select.POLLRDHUP)
            assert await asyncio.to_thread(ended.poll, 10_000), "it is dropped, though it has not read anything"


async def test_there_is_an_end_to_how_many_follow(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with running(path):
        streams = [lines(path) for _ in range(33)]
        for stream in streams[:32]:
            await begun(stream)
        first = await anext(streams[32])
        assert first.startswith("HTTP/1.1 503")
        for stream in streams:
            await stream.aclose()


async def test_over_the_network_a_stream_ends_before_its_connection_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_LASTING", 0.2)
    path = tmp_path / "api.sock"
    runner = routes.make_reading_runner(Agent(), lambda _transport: None)
    await runner.setup()
    try:
        await web.UnixSite(runner, path).start()
        assert [line async for line in lines(path) if line][-1] == "0", "the last chunk: it is whole"
    finally:
        await runner.cleanup()
