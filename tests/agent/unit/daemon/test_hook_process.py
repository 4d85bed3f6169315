"""Hooks as real processes: small scripts that behave, and some that do not."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from daemons import eventually

from smegmesh.daemon.hook_process import Limits, Lines, run_hook
from smegmesh.daemon.hooks import HookError

ME = os.getuid()
SOON = Limits(time=0.3, grace=0.3)


class Script:
    """A hook in a directory of its own, and what it said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []

    def write(self, text: str, mode: int = 0o755) -> None:
        self.path.write_text(f"#!/bin/sh\n{text}\n")
        self.path.chmod(mode)

    async def run(self, limits: Limits | None = None, owner: int = ME) -> None:
        await run_hook(str(self.path), {"PATH": "/usr/bin:/bin", "WORD": "a b"}, self.said.append, limits, owner)

    async def error(self, limits: Limits | None = None, owner: int = ME) -> str:
        with pytest.raises((HookError, OSError)) as caught:
            await self.run(limits, owner)
        return str(caught.value)

    def process(self, name: str) -> Callable[[], bool]:
        """Whether the process whose id the script has written to this file runs (one that is dead and unburied
        does not)."""
        number = int((self.path.parent / name).read_text())

        def runs() -> bool:
            try:
                stat = Path(f"/proc/{number}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                return False
            return stat.rpartition(")")[2].split()[0] != "Z"

        return runs

    async def written(self, name: str) -> None:
        path = self.path.parent / name
        await eventually(lambda: path.exists() and path.read_text().strip(), f"{name} is written")


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path / "hook")


async def test_it_gets_its_environment_and_nothing_else(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    script.write('env | sort | grep -v "^_="; pwd; read line || echo no input; echo error >&2')
    await script.run()
    assert script.said == ["PATH=/usr/bin:/bin", "PWD=/", "WORD=a b", "/", "no input", "error"]


async def test_it_leads_a_session_of_its_own(script: Script) -> None:
    script.write("cut -d' ' -f5,6 /proc/$$/stat; echo $$")  # group and session
    await script.run()
    group_and_session, own = script.said
    assert group_and_session == f"{own} {own}"


@pytest.mark.parametrize(
    ("text", "error"),
    [("exit 3", "exit code 3"), ("kill -9 $$", "ended by signal 9"), ("exit 0 & false", "exit code 1")],
)
async def test_how_it_ended(script: Script, text: str, error: str) -> None:
    script.write(text)
    assert await script.error() == error


@pytest.mark.parametrize(("mode", "error"), [(0o775, "may write it"), (0o757, "may write it"), (0o644, "not execute")])
async def test_others_may_not_write_it_and_the_agent_must_execute_it(script: Script, mode: int, error: str) -> None:
    script.write("echo ran", mode)
    assert error in await script.error()
    assert script.said == []


async def test_it_belongs_to_root(script: Script) -> None:
    script.write("echo ran")
    assert f"belongs to user {ME}, not to {ME + 1}" in await script.error(owner=ME + 1)
    assert script.said == []


async def test_what_is_no_program(script: Script) -> None:
    assert "No such file" in await script.error()
    script.path.mkdir()
    assert await script.error() == "is not a regular file"
    script.path.rmdir()
    script.path.write_text("neither a script nor a program")
    script.path.chmod(0o755)
    assert "Exec format error" in await script.error()


async def test_it_is_checked_before_each_run(script: Script) -> None:
    script.write("true")
    await script.run()
    script.path.chmod(0o777)
    assert "may write it" in await script.error()


async def test_the_whole_group_ends_when_its_time_is_over(script: Script) -> None:
    script.write(f"cd {script.path.parent}; sleep 60 & echo $! >child; echo $$ >own; wait")
    assert await script.error(SOON) == "not done within 0.3 s"
    assert not script.process("own")()
    await eventually(lambda: not script.process("child")(), "the child has ended, too")


async def test_what_ignores_sigterm_is_killed_after_the_grace(script: Script) -> None:
    script.write(f"cd {script.path.parent}; trap '' TERM; echo $$ >own; while :; do sleep 0.05; done")
    began = time.monotonic()
    await script.error(SOON)
    assert 0.6 <= time.monotonic() - began < 5
    assert not script.process("own")()


async def test_what_cleans_up_at_sigterm_has_the_grace_for_it(script: Script) -> None:
    script.write("trap 'echo bye; exit 0' TERM; sleep 60 & wait")
    assert await script.error(Limits(time=0.3, grace=5.0)) == "not done within 0.3 s"
    assert script.said == ["bye"]


async def test_a_caller_that_is_cancelled_ends_it(script: Script) -> None:
    script.write(f"cd {script.path.parent}; echo $$ >own; exec sleep 60")
    running = asyncio.ensure_future(script.run())
    await script.written("own")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not script.process("own")()


async def test_what_it_leaves_in_the_background_is_not_waited_for(script: Script) -> None:
    script.write(f"cd {script.path.parent}; sleep 60 & echo $! >child; echo done")
    began = time.monotonic()
    await script.run()
    assert time.monotonic() - began < 5
    assert script.said == ["done"]
    assert script.process("child")()
    os.kill(int((script.path.parent / "child").read_text()), 9)


async def test_a_flood_is_cut(script: Script) -> None:
    script.write("seq 100000; exit 5")
    assert await script.error(Limits(lines=3)) == "exit code 5"
    assert script.said == ["1", "2", "3", "(what else it prints is left out)"]


async def test_no_descriptor_is_left_behind(script: Script) -> None:
    script.write("echo x")
    await script.run()
    before = len(os.listdir("/proc/self/fd"))
    for _turn in range(3):
        await script.run()
    script.path.write_text("no program")
    await script.error()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"one\ntw", b"o\nthree"], ["one", "two", "three"]),
        ([b"\n\n  \nx\r\n"], ["x"]),
        ([b"a\x1b[1\tb\xff"], ["a\ufffd[1 b\ufffd"]),
        ([b"0123456789"], ["01234567…"]),
        ([b"0123", b"4567", b"8" * 1000, b"9\nnext"], ["01234567…", "next"]),
        (["äöüäöüäöü".encode()], ["äöüäöüäö…"]),
        ([b"1\n2\n3\n4\n5\n6"], ["1", "2", "3", "4", "(what else it prints is left out)"]),
    ],
)
def test_lines(pieces: list[bytes], lines: list[str]) -> None:
    said: list[str] = []
    reader = Lines(said.append, Limits(lines=4, width=8))
    for piece in pieces:
        reader.feed(piece)
    reader.end()
    assert said == lines
