"""Endpoints as entries name them -> addresses WireGuard takes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address

Endpoint = tuple[str, int]


def split_endpoint(text: str) -> Endpoint:
    """`host:port` or `[v6]:port` -> (host, port); ValueError names what is wrong."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"endpoint {text!r}: an IPv6 address needs brackets, as in [2001:db8::1]:51820")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"endpoint {text!r} is not host:port")
    return host, int(port)


def join_endpoint(host: str, port: int) -> str:
    """The text form of an endpoint, with brackets where IPv6 needs them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Resolver:
    """Resolves endpoints, keeps the last good answer of a name, asks again after `lifetime` seconds."""

    def __init__(self, clock: Callable[[], float], lifetime: float = 60.0, timeout: float = 2.0) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._timeout = timeout
        self._known: dict[str, tuple[float, str]] = {}

    async def resolve(self, endpoints: Iterable[str]) -> dict[str, Endpoint]:
        """Each endpoint that has an address now -> (IP literal, port); the others are left out."""
        split = {}
        for text in endpoints:
            try:
                split[text] = split_endpoint(text)
            except ValueError:
                continue  # the entry of a foreign or newer agent; a peer without endpoint
        names = {host for host, _ in split.values() if not _is_literal(host)}
        await asyncio.gather(*(self._refresh(name) for name in names))
        answers = {}
        for text, (host, port) in split.items():
            address = host if _is_literal(host) else self._known.get(host, (0.0, ""))[1]
            if address:
                answers[text] = (address, port)
        return answers

    async def _refresh(self, name: str) -> None:
        asked, _ = self._known.get(name, (float("-inf"), ""))
        if self._clock() - asked < self._lifetime:
            return
        loop = asyncio.get_running_loop()
        try:
            found = await asyncio.wait_for(loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM), self._timeout)
        except (OSError, asyncio.TimeoutError):
            return  # the last answer stands; the next resolve asks again
        self._known[name] = (self._clock(), str(found[0][4][0]))


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
