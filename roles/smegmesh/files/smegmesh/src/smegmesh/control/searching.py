"""Has an expression searched by a process of its own, bounded in time, memory and the size of what it says."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

import msgspec

from smegmesh.control.types import Member, Status

_TIME = 10.0  # seconds; more than a search may compute, on a host that has other things to do
_AT_ONCE = 2


class NotSearched(ValueError):
    """One line on what is wrong with an expression."""


class Searcher:
    """Searches for all who ask an agent."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def search(self, expression: str, status: Status, members: dict[str, list[Member]]) -> bytes:
        """`{"result": …}` in JSON; NotSearched says why not.

        What is searched has the shape that the lookup plugin mesh_query has: `status`, `meshes` and, by mesh id,
        `members`.
        """
        picture = {"status": status, "meshes": status.meshes, "members": members}
        async with self._turn:
            return await _run(msgspec.json.encode([expression, picture]))


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
