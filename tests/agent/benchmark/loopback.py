"""A network of the benchmark's own: one namespace with nothing in it but its loopback.

All of 127.0.0.0/8 is there, an address for each agent, and the interface's counters
are all traffic between them.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import netns

_TIMEOUT = 20.0


class Loopback:
    """One namespace. Needs root."""

    def __init__(self, name: str) -> None:
        self._name = f"smegbench{os.getpid()}-{name}"
        _ip("netns", "add", self._name)
        _ip("-n", self._name, "link", "set", "lo", "up")

    def address(self, number: int) -> str:
        """Of the agent with this number, from 1 on."""
        return f"127.1.{number >> 8}.{number & 255}"

    def command(self, number: int, arguments: Sequence[str]) -> list[str]:
        """The command line that runs something in it for an agent; what it starts becomes that itself."""
        return ["ip", "netns", "exec", self._name, *arguments]

    def bytes_sent(self) -> int:
        """Since it was made, by everybody in it, headers included."""
        (link,) = json.loads(_ip("-n", self._name, "-s", "-j", "link", "show", "lo"))
        return int(link["stats64"]["tx"]["bytes"])

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread opens meanwhile are in it, and stay there."""
        with Path("/proc/thread-self/ns/net").open() as outside:
            netns.setns(self._name, flags=0)
            try:
                yield
            finally:
                netns.setns(outside.fileno())

    def close(self) -> None:
        """Delete it."""
        subprocess.run(["ip", "netns", "delete", self._name], capture_output=True, timeout=_TIMEOUT, check=False)


@contextmanager
def loopback(name: str) -> Iterator[Loopback]:
    """A network that is gone afterwards, whatever happens in between."""
    network = Loopback(name)
    try:
        yield network
    finally:
        network.close()


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()} (namespaces need root)")
    return done.stdout
