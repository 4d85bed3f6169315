"""Sockets of links: the listener, and the options that every link's socket gets."""

from __future__ import annotations

import errno
import socket

from smegmesh.transport.settings import LinkSettings

_BACKLOG = 256

# As socket.getaddrinfo gives it: host and port first, for IPv6 flow and scope too.
SocketAddress = tuple[str | int | bytes, ...]


class ListenError(OSError):
    """The port for links cannot be opened, and what to do."""


def open_listener(host: str, port: int, settings: LinkSettings) -> socket.socket:
    """A listening socket; for `::` one that takes IPv4 too. ListenError says why not and what to do."""
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST)[
            0
        ]
    except socket.gaierror:
        raise ListenError(f"cannot listen on {host!r}: give an IPv6 or IPv4 address, '::' for all") from None
    try:
        return _listen(info[0], info[4], settings)
    except OSError as error:
        raise ListenError(f"cannot listen for links on {host} port {port}/tcp: {_what_to_do(error)}") from None


def _listen(family: int, address: SocketAddress, settings: LinkSettings) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        set_options(listener, settings)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def set_options(sock: socket.socket, settings: LinkSettings) -> None:
    """Set what a link's socket needs; PermissionError says what is missing for the mark."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(settings.user_timeout * 1000))
    if settings.mark:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, settings.mark)
        except PermissionError as error:
            raise PermissionError(
                error.errno, f"may not mark sockets with {settings.mark:#x}: give the agent CAP_NET_ADMIN"
            ) from None


def _what_to_do(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use: stop what listens there (`ss -ltnp` shows it) or set another link_port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this host has the address: set listen to one that has, or '::' for all"
    if error.errno == errno.EACCES:
        return "not permitted: take a port above 1023 or give the agent CAP_NET_BIND_SERVICE"
    return error.strerror or str(error)
