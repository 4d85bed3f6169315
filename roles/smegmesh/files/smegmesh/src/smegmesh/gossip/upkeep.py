"""Upkeep of links: pings, comparisons of digests, and the end of silent and surplus links."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from smegmesh.crdt.map import MeshMap
from smegmesh.gossip.codec import Ping, Root
from smegmesh.gossip.links import Link, Links
from smegmesh.gossip.settings import Settings

#: Close the link, and why.
Reason = str
Action = tuple[Link, Ping | Root | Reason]

#: Until digests agreed once on a link, whoever dialled it compares them this often (seconds).
_FIRST_COMPARE = 1.0
#: Pings due within so many seconds go out together, so that the agent wakes up less often.
TOGETHER = 0.15


class Upkeep:
    """What is to be done on the links as time passes."""

    def __init__(self, settings: Settings, random: Random, links: Links, now: float) -> None:
        self._settings = settings
        self._random = random
        self._links = links
        self._compare = now + settings.sync_interval

    def step(
        self, mesh: MeshMap, watched: Callable[[bytes], bool], needed: Callable[[Link], bool], now: float
    ) -> Iterator[Action]:
        """What to send and to close now. `watched` nodes are pinged each second."""
        ready = self._links.ready()
        if now >= self._compare and ready:
            self._compare = now + self._settings.sync_interval
            link = self._random.choice(ready)
            link.compared = now
            yield link, Root(mesh.root)
        for link in self._links:
            reason = self._ends(link, now)
            if reason is not None:
                yield link, reason
                continue
            if not link.ready:
                continue
            if now >= self._ping_due(link, watched) - TOGETHER:
                link.pinged = now
                yield link, Ping()
            if link.agreed is None and link.dialled and now >= link.compared + _FIRST_COMPARE:
                link.compared = now
                yield link, Root(mesh.root)
            yield from self._surplus(link, needed, now)

    def next_timer(self, watched: Callable[[bytes], bool]) -> float:
        """When `step` has something next."""
        due = [self._compare if self._links.ready() else float("inf")]
        for link in self._links:
            if not link.ready:
                due.append(link.up + self._settings.hello_timeout)
                continue
            due.append(self._ping_due(link, watched))
            due.append(link.heard + self._settings.silence)
            if link.agreed is None and link.dialled:
                due.append(link.compared + _FIRST_COMPARE)
            if link.surplus is not None and link.agreed is not None:
                due.append(max(link.surplus, link.agreed) + self._settings.surplus_wait)
        return min(due)

    def doubt(self, now: float) -> None:
        """This node itself was late: no link was silent."""
        for link in self._links:
            link.heard = now
            link.up = max(link.up, now) if not link.ready else link.up

    def _ping_due(self, link: Link, watched: Callable[[bytes], bool]) -> float:
        pause = self._settings.ping_interval if watched(link.node_key) else self._settings.idle_ping
        return max(link.heard, link.pinged) + pause

    def _ends(self, link: Link, now: float) -> Reason | None:
        if not link.ready:
            return "said no hello" if now >= link.up + self._settings.hello_timeout else None
        return "is silent" if now >= link.heard + self._settings.silence else None

    def _surplus(self, link: Link, needed: Callable[[Link], bool], now: float) -> Iterator[Action]:
        if needed(link):
            link.surplus = None
            return
        if link.surplus is None:
            link.surplus = now
        if link.agreed is not None and now >= max(link.surplus, link.agreed) + self._settings.surplus_wait:
            yield link, "is not needed"
