"""Runs one hook: a file of root's, checked, in a process group of its own, for a limited time."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from smegmesh.daemon.hooks import HookError

_CHUNK = 65536  # bytes; as much as a pipe holds
_OF_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a hook may take, how long it has after SIGTERM (seconds), and how much of what it prints is told."""

    time: float = 30.0
    grace: float = 2.0
    lines: int = 100
    width: int = 500  # characters


async def run_hook(
    file: str, environment: Mapping[str, str], say: Callable[[str], None], limits: Limits | None = None, owner: int = 0
) -> None:
    """Run the file to its end; HookError unless it is `owner`'s and ends with 0 in time.

    `say` gets what it prints. A caller that is cancelled ends it. What it leaves in the background
    stays, but is not heard any more.
    """
    limits = limits or Limits()
    check_file(file, owner)
    with closing(_Output(Lines(say, limits))) as output:
        process = await _start(file, environment, output)
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({ended}, timeout=limits.time)
            if not ended.done():
                raise HookError(f"not done within {limits.time:g} s")
        finally:
            if not ended.done():
                await _end(process, ended, output, limits.grace)
    code = ended.result()
    if code:
        raise HookError(f"exit code {code}" if code > 0 else f"ended by signal {-code}")


def check_file(file: str, owner: int = 0) -> None:
    """HookError unless it is an executable file that nobody but its owner can change."""
    status = os.stat(file)
    if not stat.S_ISREG(status.st_mode):
        raise HookError("is not a regular file")
    if status.st_uid != owner:
        raise HookError(f"belongs to user {status.st_uid}, not to {owner}: `chown {owner} {file}`")
    if status.st_mode & _OF_OTHERS:
        raise HookError(f"others than its owner may write it: `chmod go-w {file}`")
    if not os.access(file, os.X_OK):
        raise HookError(f"the agent may not execute it: `chmod 755 {file}`")


async def _start(file: str, environment: Mapping[str, str], output: _Output) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            file,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output.inlet,
            stderr=output.inlet,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )
    finally:
        output.close_inlet()


async def _end(process: asyncio.subprocess.Process, ended: asyncio.Future[int], output: _Output, grace: float) -> None:
    """SIGTERM to the group, and SIGKILL after the grace, unless it has ended and nobody can print any more."""
    everything: set[asyncio.Future[Any]] = {ended, output.ended}
    _signal(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait(everything, timeout=grace)
    finally:
        if not (ended.done() and output.ended.done()):
            _signal(process.pid, signal.SIGKILL)
    await ended


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


class _Output:
    """A pipe that is read in the event loop. Not asyncio's: whether a process with one of those has ended
    before its children let go of the pipe differs from one version of Python to the next."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._outlet, self.inlet = os.pipe()
        self._open = True
        os.set_blocking(self._outlet, False)
        self._loop.add_reader(self._outlet, self._read)

    def close_inlet(self) -> None:
        """The process has its own now."""
        if self._open:
            self._open = False
            os.close(self.inlet)

    def close(self) -> None:
        """Tell what is still in the pipe, and read no more."""
        self._loop.remove_reader(self._outlet)
        self._read()
        self._lines.end()
        self.close_inlet()
        os.close(self._outlet)

    def _read(self) -> None:
        try:
            data = os.read(self._outlet, _CHUNK)
        except BlockingIOError:
            return
        self._lines.feed(data)
        if not data and not self.ended.done():
            self._loop.remove_reader(self._outlet)
            self.ended.set_result(None)


class Lines:
    """Bytes in any pieces -> printable lines, cut where they are long; no more after so many."""

    def __init__(self, say: Callable[[str], None], limits: Limits) -> None:
        self._say = say
        self._left = limits.lines
        self._width = limits.width
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """What came."""
        *whole, rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._tell(line)
        self._rest = rest[: 4 * self._width + 1]  # UTF-8: more than `width` characters

    def end(self) -> None:
        """The last line may have no end."""
        self._tell(self._rest)
        self._rest = b""

    def _tell(self, line: bytes) -> None:
        text = line.decode(errors="replace").replace("\t", " ").rstrip()
        if not text or self._left < 0:
            return
        self._left -= 1
        if self._left < 0:
            self._say("(what else it prints is left out)")
            return
        text = text if len(text) <= self._width else f"{text[: self._width]}…"
        self._say("".join(character if character.isprintable() else "\ufffd" for character in text))
