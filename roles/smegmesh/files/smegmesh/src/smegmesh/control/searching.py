"""Has an expression searched by a process of its own, bounded in time, memory and the size of what it says."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from smegmesh.control.types import Member, Status

_TIME = 10.0  # seconds; more than a search may compute, on a host that has other things to do
_AT_ONCE = 2
_WAITING = 8  # for their turn; with ten seconds for each, the last may wait 40

Known = Callable[[], Awaitable[tuple[Status, dict[str, list[Member]]]]]


class NotSearched(ValueError):
    """One line on what is wrong with an expression."""


class TooManySearches(Exception):
    """As many as may wait do so already."""


class Searcher:
    """Searches for all who ask an agent."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._asking = 0

    async def search(self, expression: str, known: Known) -> bytes:
        """`{"result": …}` in JSON; NotSearched says why not. TooManySearches: ask again later.

        What is searched has the shape that the lookup plugin mesh_query has: `status`, `meshes` and, by mesh id,
        `members`. `known` gives status and members when it is this search's turn, so that who waits holds none.
        """
        if self._asking >= _AT_ONCE + _WAITING:
            raise TooManySearches
        self._asking += 1
        try:
            async with self._turn:
                return await _run(await asyncio.to_thread(_question, expression, *await known()))
        finally:
            self._asking -= 1


def _question(expression: str, status: Status, members: dict[str, list[Member]]) -> bytes:
    return msgspec.json.encode([expression, {"status": status, "meshes": status.meshes, "members": members}])


async def _run(question: bytes) -> bytes:
    from smegmesh.control.query import BAD, FOUND, TOO_MUCH  # with its library, which is not needed before

    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "smegmesh.control.query"]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd="/", env=environment)
    try:
        said, _errors = await asyncio.wait_for(process.communicate(question), _TIME)
    except asyncio.TimeoutError:
        raise NotSearched(_too_much()) from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    code = await process.wait()
    if code == BAD:
        raise NotSearched(said.decode().strip())
    if code == TOO_MUCH or code < 0:  # a signal: the limits of the process
        raise NotSearched(_too_much())
    if code != FOUND:
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return said


def _too_much() -> str:
    return "takes more time or memory than there is for a search: ask for less"
