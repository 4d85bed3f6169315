"""What the doctor tries on the network: echoes through tunnels, connections to ports. Each within a bounded time."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

from smegmesh.routing.tables import MARK

ECHO_SECONDS = 6.0  # WireGuard tries a handshake again after 5 s
_SIZE_SECONDS = 2.0
_LINK_SECONDS = 3.0
_UDP_SECONDS = 1.0
_HEADERS = 48  # bytes, of IPv6 and of an ICMPv6 echo

Key = TypeVar("Key")
Value = TypeVar("Value")


def run_all(jobs: Mapping[Key, Callable[[], Value]], seconds: float) -> dict[Key, Value]:
    """Run jobs at once; the results of those that are done within so many seconds.

    The others' threads are left to themselves and do not hold up the end of the process: resolvers take their time.
    """
    results: dict[Key, Value] = {}

    def run(key: Key, job: Callable[[], Value]) -> None:
        results[key] = job()

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in jobs.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return results.copy()


def echo(address: str) -> bool | None:
    """Whether an address answers a ping, sent again until it does; None if nobody can tell."""
    return _ping(address, ECHO_SECONDS, [])


def passes(address: str, size: int) -> bool | None:
    """Whether an address answers an echo of so many bytes, IPv6 header and all, that may not be fragmented."""
    return _ping(address, _SIZE_SECONDS, ["-M", "do", "-s", str(size - _HEADERS)])


def _ping(address: str, seconds: float, options: list[str]) -> bool | None:
    command = ["ping", "-6", "-n", "-q", "-c", "1", "-w", f"{seconds:.0f}", *options, address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 1, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and any(word in done.stderr for word in ("permitted", "invalid", "unrecognized")):
        return None  # not of this program, or not for this user
    return done.returncode == 0


def link(address: str) -> str:
    """Connect to a port for links; empty if somebody accepts, else why nobody does."""
    return _connect(address, socket.SOCK_STREAM, _LINK_SECONDS)


def udp(address: str) -> str:
    """Send a byte to a WireGuard port, which ignores it; why it was refused, empty if nobody said so."""
    return _connect(address, socket.SOCK_DGRAM, _UDP_SECONDS)


def _connect(address: str, kind: socket.SocketKind, seconds: float) -> str:
    host, _colon, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=kind)
    except (OSError, UnicodeError):
        return "the name is unknown"
    reasons = [_reason(partial(_try, family, kind, where, seconds)) for family, *_more, where in found[:4]]
    return "" if "" in reasons else reasons[0]


def _reason(attempt: Callable[[], None]) -> str:
    try:
        attempt()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timed out"
    except PermissionError:
        return "this host's own firewall does not let it out"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _try(family: int, kind: socket.SocketKind, where: tuple[object, ...], seconds: float) -> None:
    with socket.socket(family, kind) as sock:
        with suppress(PermissionError):  # else it may go another way than the agent's
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        sock.settimeout(seconds)
        sock.connect(where)
        if kind is socket.SOCK_DGRAM:
            sock.send(b"\0")
            with suppress(TimeoutError):
                sock.recv(1)
