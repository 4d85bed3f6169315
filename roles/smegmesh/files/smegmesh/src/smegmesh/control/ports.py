"""A port that people configure: its address as text, and what listens there."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from smegmesh.control.errors import ControlError

_Opened = TypeVar("_Opened")
OpenAt = Callable[[str, int, str], AbstractContextManager[_Opened]]  # at a host and port, which a key of agent.yml says

_log = logging.getLogger(__name__)
_BACKLOG = 64
_LISTEN = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})", re.ASCII)


def parse_listen(text: str) -> tuple[str, int]:
    """Address and port of `[IPv6]:PORT` or `IPv4:PORT`; ControlError says what is wrong with it."""
    match = _LISTEN.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        host = str(IPv6Address(match["six"]) if match["six"] else IPv4Address(match["four"]))
        port = int(match["port"])
        if not 1 <= port <= 65535:
            raise ValueError
    except ValueError:
        raise ControlError(
            f"{text!r} is no address to listen on",
            "write an address of this host and a port, like '[::]:4080' or '198.18.0.1:4080'",
        ) from None
    return host, port


class Port:
    """Listens where people said, as soon as that can be. `problem` is what keeps it, or whoever serves there, from it.

    `name` is the key of agent.yml that holds `listen`, and what log and problem begin with.
    """

    def __init__(self, name: str, listen: str, pause: float) -> None:
        """`pause`: seconds between attempts to listen."""
        self.problem: str | None = None
        self._name = name
        self._listen = listen
        self._pause = pause

    async def serve(self, open_at: OpenAt[_Opened], accept: Callable[[_Opened], Awaitable[None]]) -> None:
        """Have `accept` take what comes to what `open_at` opens, for ever; return where `listen` is no address."""
        try:
            host, port = parse_listen(self._listen)
        except ControlError as error:
            self.note(str(error))
            return
        while True:
            try:
                with open_at(host, port, f"{self._name}.listen") as opened:
                    self.problem = None
                    _log.info("%s: listening on %s", self._name, self._listen)
                    await accept(opened)
            except ControlError as error:
                self.note(f"{error}; tried again every {self._pause:g} s")
            await asyncio.sleep(self._pause)

    def note(self, problem: str) -> None:
        """Keep a problem for the status, and log it once."""
        problem = f"{self._name}: {problem}"
        if problem != self.problem:
            _log.error("%s", problem)
        self.problem = problem


def open_tcp(host: str, port: int, key: str) -> socket.socket:
    """A listening socket; for `::` one that takes IPv4 too. ControlError says why not, and what to do about `key`."""
    return _open(host, port, key, socket.SOCK_STREAM)


def open_udp(host: str, port: int, key: str) -> socket.socket:
    """A socket that takes datagrams. ControlError as above."""
    return _open(host, port, key, socket.SOCK_DGRAM)


def _open(host: str, port: int, key: str, kind: socket.SocketKind) -> socket.socket:
    try:
        info = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST)
        return _bound(info[0][0], kind, info[0][4])
    except OSError as error:
        protocol = "tcp" if kind is socket.SOCK_STREAM else "udp"
        what, fix = _what_to_do(error, key)
        raise ControlError(f"cannot listen on {host} port {port}/{protocol}: {what}", fix) from None


def _bound(family: int, kind: socket.SocketKind, address: tuple[str | int | bytes, ...]) -> socket.socket:
    bound = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind is socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        if kind is socket.SOCK_STREAM:
            bound.listen(_BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def _what_to_do(error: OSError, key: str) -> tuple[str, str]:
    """What is wrong, and the fix."""
    if error.errno == errno.EADDRINUSE:
        return "the port is in use", f"stop what listens there (`ss -lntup` shows it) or give {key} another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this host has the address", f"give {key} one that has"
    if error.errno == errno.EACCES:
        return "not permitted", f"give {key} a port above 1023"
    return error.strerror or str(error), f"give {key} another address or port"
