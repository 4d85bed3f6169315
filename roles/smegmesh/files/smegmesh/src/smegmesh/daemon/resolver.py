"""Endpoints as entries name them -> addresses WireGuard takes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Network, ip_address

from smegmesh.dataplane.plane import Endpoint
from smegmesh.routing.endpoints import FAMILIES
from smegmesh.transport.dialling import parse_address

_LOOKUPS = 4  # at a time


def _look_up(name: str) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)]


class Resolver:
    """Resolves endpoints, keeps the last good answer of a name, asks again after `lifetime` seconds.

    A name that did not resolve within `timeout` seconds is asked again after `retry` seconds, so
    that a dead name server does not hold up every change. `lookup` blocks; it gives IP
    literals, best first, or raises OSError or ValueError. An address that a name keeps keeps its
    place: name servers deal out the same ones in another order each time.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        lookup: Callable[[str], Sequence[str]] = _look_up,
        *,
        lifetime: float = 60.0,
        retry: float = 4.0,
        timeout: float = 2.0,
    ) -> None:
        self._clock = clock
        self._lookup = lookup
        self._lifetime = lifetime
        self._retry = retry
        self._timeout = timeout
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._ask_at: dict[str, float] = {}
        # Its own threads: slow answers must not take those that work on interfaces.
        self._threads = ThreadPoolExecutor(_LOOKUPS, "resolve")

    def close(self) -> None:
        """Ask nobody any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, endpoints: Iterable[str], families: frozenset[int] = FAMILIES) -> dict[str, Endpoint]:
        """Each endpoint that has an address now -> (IP literal, port); the others are left out.

        Of several addresses it is the first of these families, or else the first.
        """
        found = await self.resolve_all(endpoints)
        return {text: (choose_address(addresses, families), port) for text, (addresses, port) in found.items()}

    async def resolve_all(self, endpoints: Iterable[str]) -> dict[str, tuple[tuple[str, ...], int]]:
        """Each endpoint that has addresses now -> (all of them, port)."""
        split = {}
        for text in endpoints:
            try:
                split[text] = parse_address(text)
            except ValueError:
                continue  # the entry of a foreign or newer agent; a peer without endpoint
        names = {host for host, _port in split.values() if not _is_literal(host)}
        due = [name for name in names if self._clock() >= self._ask_at.get(name, float("-inf"))]
        if due:
            await self._ask(due)
        answers = {}
        for text, (host, port) in split.items():
            addresses = (host,) if _is_literal(host) else self._addresses.get(host)
            if addresses:
                answers[text] = (addresses, port)
        return answers

    async def _ask(self, names: Iterable[str]) -> None:
        """The last answer for a name stands until there is another."""
        loop = asyncio.get_running_loop()
        asked = {loop.run_in_executor(self._threads, self._lookup, name): name for name in names}
        try:
            done, _pending = await asyncio.wait(asked, timeout=self._timeout)
        finally:
            for answer in asked:
                answer.cancel()  # nothing happens to those that are done
        for answer, name in asked.items():
            good = answer in done and not isinstance(answer.exception(), (OSError, ValueError))
            self._ask_at[name] = self._clock() + (self._lifetime if good else self._retry)
            if good:
                before, now = self._addresses.get(name, ()), dict.fromkeys(answer.result())
                self._addresses[name] = tuple(dict.fromkeys([*(each for each in before if each in now), *now]))


def choose_address(addresses: Sequence[str], families: frozenset[int]) -> str:
    """The first address of these families, or else the first of all; there must be one."""
    return next((each for each in addresses if ip_address(each).version in families), addresses[0])


def outside(overlay: Iterable[IPv6Network], endpoints: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
    """The endpoints that are not in the mesh itself: packets to those would go round in their own tunnel."""
    networks = tuple(overlay)
    return {
        text: endpoint
        for text, endpoint in endpoints.items()
        if not any(ip_address(endpoint[0]) in network for network in networks)
    }


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
