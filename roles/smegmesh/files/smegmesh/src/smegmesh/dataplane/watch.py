"""Waiting for a change in a directory: inotify, with a bound."""

from __future__ import annotations

import ctypes
import os
import select
import time
from collections.abc import Callable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_CREATE, _DELETE, _MOVED = 0x100, 0x200, 0xC0
_CLOEXEC, _NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK

# A file's events do not tell all (a socket is bound before it listens), so look again at least this often.
_LOOK_AGAIN = 0.1


def wait_until(true: Callable[[], bool], directory: Path, timeout: float) -> bool:
    """Wait for a condition that changes with a directory's entries; False after `timeout` seconds.

    The directory itself may yet have to appear. OSError if its parent is not there either.
    """
    deadline = time.monotonic() + timeout
    descriptor = _LIBC.inotify_init1(_CLOEXEC | _NONBLOCK)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        _add_watch(descriptor, directory.parent)
        while True:
            if directory.is_dir():
                _add_watch(descriptor, directory)
            if true():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if poll.poll(min(left, _LOOK_AGAIN) * 1000):
                os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


def _add_watch(descriptor: int, directory: Path) -> None:
    """Watch a directory's entries; to do it again is nothing."""
    if _LIBC.inotify_add_watch(descriptor, os.fsencode(directory), _CREATE | _DELETE | _MOVED) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(directory))
