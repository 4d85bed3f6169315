"""The daemon's small edges: systemd, the journal, signals, silent sessions, worker threads."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smegmesh.daemon.journal import NodeLogger, configure_logging
from smegmesh.daemon.notify import Notifier
from smegmesh.daemon.sessions import SilentSessions
from smegmesh.daemon.signal import Signal
from smegmesh.daemon.threads import in_thread


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_the_manager_is_told(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    for tell, text in (
        (lambda: notifier.ready("prod up"), b"READY=1\nSTATUS=prod up"),
        (lambda: notifier.reloading(2.5), b"RELOADING=1\nMONOTONIC_USEC=2500000"),
        (lambda: notifier.status("prod failed"), b"STATUS=prod failed"),
        (notifier.alive, b"WATCHDOG=1"),
        (notifier.stopping, b"STOPPING=1"),
    ):
        tell()
        assert manager.recv(1000) == text


def test_an_abstract_socket_is_reached_too() -> None:
    name = f"smegmesh-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).alive()
        listening.settimeout(5)
        assert listening.recv(1000) == b"WATCHDOG=1"


def test_without_a_manager_nothing_is_told(tmp_path: Path) -> None:
    Notifier({}).ready("up")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("up")


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_gets_two_signs_in_its_time(environment: dict[str, str], interval: float | None) -> None:
    assert Notifier(environment).watchdog_interval == interval


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_for_the_journal(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", journal=True)
    log = NodeLogger(logging.getLogger("test"), {"mesh": "prod", "node": "p1"})
    log.error("broken: %s", "one\ntwo")
    log.warning("odd")
    log.info("fine")
    log.debug("not shown")
    assert capsys.readouterr().err.splitlines() == [
        "<3>mesh=prod node=p1: broken: one",
        "<3>two",
        "<4>mesh=prod node=p1: odd",
        "<6>mesh=prod node=p1: fine",
    ]


def test_a_line_for_a_terminal(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", journal=False)
    NodeLogger(logging.getLogger("test"), {}).warning("odd")
    assert capsys.readouterr().err.endswith(" WARNING odd\n")


async def test_a_signal_wakes_who_waits_and_who_will() -> None:
    signal = Signal()
    waiting = asyncio.create_task(signal.wait(None))
    await asyncio.sleep(0)
    signal.set()
    await waiting
    assert not signal.is_set()
    signal.set()
    signal.set()
    await signal.wait(None)
    await signal.wait(0.001)


async def test_a_cancellation_is_not_lost_when_the_signal_comes_with_it() -> None:
    signal = Signal()
    waiting = asyncio.create_task(signal.wait(10))
    await asyncio.sleep(0)
    signal.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_cancelled_caller_waits_for_its_thread() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(5)
        ended.set()
        raise OSError("nobody hears this")

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    asyncio.get_running_loop().call_soon(may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_what_a_thread_says_is_passed_on() -> None:
    assert await in_thread(max, 1, 2) == 2
    with pytest.raises(ValueError, match="bad"):
        await in_thread(_refuse)


def _refuse() -> None:
    raise ValueError("bad")


def _miss(sessions: SilentSessions, key: bytes, sent: float, heard: float | None) -> bool:
    return sessions.missed(key, sent, heard, sent + 1)


def test_the_session_with_one_that_talks_is_renewed_after_three_misses_and_then_seldom() -> None:
    sessions = SilentSessions()
    renewed = [sent for sent in range(1, 20) if _miss(sessions, b"a", sent, sent + 0.5)]
    assert renewed == [3, 15]
    sessions.answered(b"a")
    assert [_miss(sessions, b"a", sent, sent + 0.5) for sent in (21, 22, 23)] == [False, False, True]


def test_the_session_with_one_that_is_not_heard_is_kept_until_it_is() -> None:
    sessions = SilentSessions()
    sessions.watch({b"a"}, 0)
    assert not any(_miss(sessions, b"a", sent, None) for sent in range(1, 9))
    assert not _miss(sessions, b"a", 9, 1), "what was heard before it fell silent"
    sessions.watch((), 9)  # it is reached again
    assert sessions.pending(9) == {b"a"}
    assert not _miss(sessions, b"a", 9.5, 9.8), "it may not have been back yet when the last was sent"
    assert _miss(sessions, b"a", 10, 9.8)


@given(
    begin=st.integers(3000, 4999),
    length=st.integers(1, 6000),
    frames=st.integers(300, 1000),
    pause=st.sampled_from([400, 500, 1000]),
    late=st.integers(0, 50),
)
def test_no_outage_of_all_between_two_hosts_renews_their_session(
    begin: int, length: int, frames: int, pause: int, late: int
) -> None:
    """Milliseconds: an echo each `pause`, something on the link each `frames`, both but for `length` from `begin` on.

    An echo sent up to `late` before may be lost: its answer was on the way.
    """
    sessions, heard = SilentSessions(), None
    arrivals = {at for at in range(0, 14000, frames) if not begin <= at < begin + length}
    for now in range(1000, 14000):
        heard = now if now in arrivals else heard
        sent = now - 1000
        if sent % pause:
            continue
        if begin - late <= sent < begin + length:
            assert not sessions.missed(b"a", sent, heard, now)
        else:
            sessions.answered(b"a")


def test_a_session_that_was_begun_just_now_is_left_alone() -> None:
    sessions = SilentSessions()
    sessions.begun({b"a"}, 1)
    sessions.watch((), 2)
    assert [sent for sent in range(1, 20) if _miss(sessions, b"a", sent, sent + 0.5)] == [12]


def test_who_was_silent_is_pending_until_it_answers_or_has_forgotten() -> None:
    sessions = SilentSessions()
    sessions.watch({b"a", b"b"}, 0)
    for now in (1, 2, 3):
        for key in (b"a", b"b"):
            sessions.missed(key, now - 1, None, now)
    sessions.watch((), 4)
    assert sessions.pending(4) == {b"a", b"b"}
    sessions.answered(b"a")
    assert sessions.pending(182) == {b"b"}
    assert sessions.pending(183) == frozenset()


def test_sessions_do_not_count_for_each_other() -> None:
    sessions = SilentSessions()
    assert not any(_miss(sessions, key, 1, 1.5) for key in (b"a", b"b", b"c", b"a", b"b", b"c"))
    sessions.watch({b"b"}, 1)
    assert [_miss(sessions, key, 2, 2.5) for key in (b"a", b"b")] == [False, True]
