"""Has expressions searched by a process of its own, bounded in time, memory and the size of what it says.

One that has answered waits a minute for the next question, so that who asks often need not wait for it to start.
"""

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
_IDLE = 60.0  # seconds that a process without a question is kept

Known = Callable[[], Awaitable[tuple[Status, dict[str, list[Member]]]]]


class NotSearched(ValueError):
    """One line on what is wrong with an expression."""


class TooManySearches(Exception):
    """As many as may wait do so already."""


class Searcher:
    """Searches for all who ask an agent; to be closed in the event loop it was used in."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._asking = 0
        self._idle: _Process | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

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
                return await self._ask(await asyncio.to_thread(_question, expression, *await known()))
        finally:
            self._asking -= 1

    async def close(self) -> None:
        """End the process that waits."""
        process = self._take()
        if process is not None:
            await process.end()
        if self._ending is not None:
            await self._ending

    async def _ask(self, question: bytes) -> bytes:
        from smegmesh.control.query import BAD, FOUND, TOO_MUCH  # with its library, which is not needed before

        process = self._take()
        if process is not None and process.ended:
            await process.end()
            process = None
        process = process or await _Process.start()
        code = None
        try:
            code, said = await asyncio.wait_for(process.ask(question), _TIME)
        except asyncio.TimeoutError:
            raise NotSearched(_too_much()) from None
        finally:
            if code in (FOUND, BAD) and self._idle is None:
                self._keep(process)
            else:
                await process.end()
        if code == BAD:
            raise NotSearched(said.decode())
        if code == TOO_MUCH:
            raise NotSearched(_too_much())
        return said

    def _keep(self, process: _Process) -> None:
        self._idle = process
        self._expiry = asyncio.get_running_loop().call_later(_IDLE, self._expire)

    def _take(self) -> _Process | None:
        """The process that waits, if one does."""
        process, self._idle = self._idle, None
        if self._expiry is not None:
            self._expiry.cancel()
        return process

    def _expire(self) -> None:
        process = self._take()
        if process is not None:
            self._ending = asyncio.create_task(process.end(), name="end of a search process")


class _Process:
    """`python -m smegmesh.control.query`, which answers one line with another."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> _Process:
        from smegmesh.control.query import ANSWER

        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "smegmesh.control.query"]
        environment = {**os.environ, "PYTHONUTF8": "1"}
        return cls(
            await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, cwd="/", env=environment, limit=ANSWER + 64
            )
        )

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def ask(self, question: bytes) -> tuple[int, bytes]:
        """FOUND, BAD or TOO_MUCH, and what it says. A process that ended at its limits found it too much."""
        from smegmesh.control.query import TOO_MUCH

        writer, reader = self._process.stdin, self._process.stdout
        assert writer is not None and reader is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            writer.write(question + b"\n")
            await writer.drain()
        line = await reader.readline()
        if line.endswith(b"\n"):  # else it ended while it wrote
            code, _space, said = line[:-1].partition(b" ")
            return int(code), said
        ended = await self._process.wait()
        if ended < 0:  # a signal: the limits of the process
            return TOO_MUCH, b""
        raise RuntimeError(f"the search ended with {ended} and without an answer")

    async def end(self) -> None:
        if not self.ended:
            with suppress(ProcessLookupError):
                self._process.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.communicate()


def _question(expression: str, status: Status, members: dict[str, list[Member]]) -> bytes:
    return msgspec.json.encode([expression, {"status": status, "meshes": status.meshes, "members": members}])


def _too_much() -> str:
    return "takes more time or memory than there is for a search: ask for less"
