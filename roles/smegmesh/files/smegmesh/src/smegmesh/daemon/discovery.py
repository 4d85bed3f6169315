"""The addresses at which others reach this host, where the declaration leaves it to the agent to find them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv6Network, ip_address

from smegmesh.daemon.host import Host
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.signal import Signal
from smegmesh.daemon.threads import in_thread
from smegmesh.dataplane.plane import PlaneError
from smegmesh.declaration import Declaration
from smegmesh.gossip.observed import Address, believe, follow, outside_address
from smegmesh.routing.tables import MARK

Find = Callable[[tuple[Address, ...]], Awaitable[tuple[Address, ...]]]
Overlay = Callable[[], Iterable[IPv6Network]]

INTERVAL = 60.0  # seconds between looks
_MOST = 4  # addresses that are told
_SETTLE = 0.5  # seconds in which what others say is put together
#: Documentation addresses: nobody has them, and the way to them is the default route's.
_ANYWHERE = ("192.0.2.1", "2001:db8::1")


class Discovery:
    """Looks each minute, and soon after `look`. `found` is called when `addresses` are others; the best is first.

    `find` gives the addresses of now, with those of before at hand. What it begins with is what was found
    before the agent was started anew.
    """

    def __init__(self, find: Find, begin: tuple[Address, ...], found: Callable[[], None], log: NodeLogger) -> None:
        self.addresses = begin
        self.problem: str | None = None
        self._find = find
        self._found = found
        self._log = log
        self._asked = Signal()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with a look."""
        self._task = asyncio.create_task(self._run(), name="discovery")

    def look(self) -> None:
        """Something happened by which the addresses may be others."""
        self._asked.set()

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                self._take(await self._find(self.addresses))
            except PlaneError as error:
                if self.problem != str(error):
                    self._log.error("%s", error)
                self.problem = str(error)
            except Exception as error:  # a fault of ours, told and tried again like any other: nobody else looks
                self._log.exception("the addresses of this host could not be found out")
                self.problem = f"endpoint: unexpected {type(error).__name__}: see `journalctl -u smegd`"
            await self._asked.wait(INTERVAL)
            await asyncio.sleep(_SETTLE)

    def _take(self, addresses: tuple[Address, ...]) -> None:
        self.problem = None if addresses else "no endpoint: no address is known at which others could reach this host"
        addresses = addresses[:_MOST]
        if addresses != self.addresses:
            self._log.info("others reach this host at %s", ", ".join(map(str, addresses)) or "no address")
            self.addresses = addresses
            self._found()


def outgoing(host: Host, declaration: Declaration, overlay: Overlay) -> Find:
    """The addresses from which this host sends to its bootstrap peers, or else to anywhere."""
    bootstrap = [entry.address for entry in declaration.bootstrap]

    async def find(before: tuple[Address, ...]) -> tuple[Address, ...]:
        found = await host.resolver.resolve_all(bootstrap)
        near = [address for text in bootstrap if text in found for address in found[text][0]]
        return follow(before, await _sources(host, near, overlay) or await _sources(host, _ANYWHERE, overlay))

    return find


async def _sources(host: Host, targets: Iterable[str], overlay: Overlay) -> list[Address]:
    within = tuple(overlay())
    ways = [each for each in targets if not any(ip_address(each) in network for network in within)]
    sources = await in_thread(host.system.sources, ways, MARK if host.tunnels else 0)
    usable = (outside_address(source, within) for source in sources)
    return [address for address in usable if address is not None]


def observed(said: Callable[[], dict[bytes, Address]], peers: Callable[[], int], overlay: Overlay) -> Find:
    """The addresses at which the peers say that they see this host; `peers`: how many others could."""

    async def find(before: tuple[Address, ...]) -> tuple[Address, ...]:
        within = tuple(overlay())
        usable = {key: address for key, address in said().items() if outside_address(str(address), within) is not None}
        return believe(before, usable, peers())

    return find
