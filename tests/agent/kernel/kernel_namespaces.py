"""Network namespaces, made and entered."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000


def run(*command: str) -> str:
    """Output of a command in the namespace of this thread."""
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


class Namespace:
    """A network namespace with its loopback up."""

    def __init__(self, name: str) -> None:
        self.name = name

    @contextmanager
    def made(self) -> Iterator[Namespace]:
        run("ip", "netns", "add", self.name)
        try:
            run("ip", "-n", self.name, "link", "set", "lo", "up")
            yield self
        finally:
            run("ip", "netns", "del", self.name)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread inside the namespace, and what it starts there."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _set_namespace(inside)
            try:
                yield
            finally:
                _set_namespace(before)
        finally:
            os.close(inside)
            os.close(before)


def _set_namespace(descriptor: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
