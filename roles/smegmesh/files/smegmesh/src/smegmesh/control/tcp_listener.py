"""The TCP port of the API: its address as text, and the listening socket."""

from __future__ import annotations

import errno
import re
import socket
from ipaddress import IPv4Address, IPv6Address

from smegmesh.control.errors import ControlError

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
            f"{text!r} is no address to listen on: write an address of this host and a port, like '[::]:4080' or "
            "'198.18.0.1:4080'"
        ) from None
    return host, port


def open_tcp(host: str, port: int) -> socket.socket:
    """A listening socket; for `::` one that takes IPv4 too. ControlError says why not and what to do."""
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST)
        return _listen(info[0][0], info[0][4])
    except OSError as error:
        raise ControlError(f"cannot listen on {host} port {port}/tcp: {_what_to_do(error)}") from None


def _listen(family: int, address: tuple[str | int | bytes, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _what_to_do(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use: stop what listens there (`ss -ltnp` shows it) or give api.listen another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this host has the address: give api.listen one that has, or '[::]' for all"
    if error.errno == errno.EACCES:
        return "not permitted: give api.listen a port above 1023"
    return error.strerror or str(error)
