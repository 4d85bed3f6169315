"""Upkeep of links: pings, comparisons of digests, and the end of silent and surplus links."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
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
_TOGETHER = 0.15
#: What is due so little earlier (seconds) is not noted anew: as the pace falls, all is due a little earlier each time.
_SAME = 0.1
#: So many times the patience of an observer is a link silent before another is tried.
_SILENT = 2.0
#: The higher of two keys waits so much longer (seconds): as long as the lower pings it need not.
_DEFERENCE = 0.3


class Upkeep:
    """What is to be done on the links as time passes. A link is looked at when it is due, not each time.

    `watched` nodes are pinged each second, or at the `pace` of the observer. Times are monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        random: Random,
        mesh: MeshMap,
        links: Links,
        watched: Callable[[bytes], bool],
        pace: Callable[[], float],
        now: float,
    ) -> None:
        self._settings = settings
        self._random = random
        self._map = mesh
        self._links = links
        self._watched = watched
        self._pace = pace
        self._compare = now + settings.sync_interval
        self._dues: list[tuple[float, int]] = []  # a heap; of a link that is there more than once the first counts

    def touch(self, link: Link) -> None:
        """Something may be due on a link earlier than it seemed."""
        due = self._due(link)
        if due < link.due - _SAME:
            link.due = due
            heappush(self._dues, (due, link.number))

    def step(self, now: float) -> Iterator[Action]:
        """What to send and to close now."""
        if now >= self._compare:
            self._compare = now + self._settings.sync_interval
            if self._links.ready():
                link = self._random.choice(self._links.needed())
                link.compared = now
                yield link, Root(self._map.root)
        for link in self._due_links(now):
            yield from self._look_after(link, now)
            link.due = float("inf")
            if self._links.get(link.number) is link:
                self.touch(link)

    def next_timer(self) -> float:
        """When `step` has something next."""
        return min(self._compare, self._dues[0][0]) if self._dues else self._compare

    def need(self, needed: Callable[[bytes], bool], now: float) -> None:
        """Note which links are needed: with whom this node is to be linked may have changed."""
        for link in self._links.ready():
            if needed(link.node_key) is (link.surplus is not None):
                link.check = link.surplus is not None  # news passed it by
                link.surplus = now if link.surplus is None else None
                self._links.changed()
                self.touch(link)

    def doubt(self, now: float) -> None:
        """This node itself was late: no link was silent."""
        for link in self._links:
            link.heard = now
            link.up = max(link.up, now) if not link.ready else link.up

    def _due_links(self, now: float) -> list[Link]:
        """The links with something to do now, and those whose ping may as well go now."""
        found = []
        while self._dues and self._dues[0][0] <= now + _TOGETHER:
            due, number = heappop(self._dues)
            link = self._links.get(number)
            if link is not None and link.due == due:
                found.append(link)
        return found

    def _look_after(self, link: Link, now: float) -> Iterator[Action]:
        if not link.ready:
            if now >= link.up + self._settings.hello_timeout:
                yield link, "said no hello"
            return
        if now >= self._silent(link):
            yield link, "is silent"
            return
        if now >= self._ping_due(link) - _TOGETHER:
            link.pinged = now
            yield link, Ping()
        if link.check or (self._compares(link) and now >= link.compared + _FIRST_COMPARE):
            link.compared, link.check = now, False
            yield link, Root(self._map.root)
        if now >= self._spent(link):
            yield link, "is not needed"

    def _due(self, link: Link) -> float:
        if not link.ready:
            return link.up + self._settings.hello_timeout
        if link.check:
            return 0.0
        due = min(self._ping_due(link), self._silent(link), self._spent(link))
        return min(due, link.compared + _FIRST_COMPARE) if self._compares(link) else due

    def _silent(self, link: Link) -> float:
        """When a link gets closed: a new one comes sooner than an old one recovers."""
        longest = self._settings.silence
        if self._watched(link.node_key):
            longest = min(longest, _SILENT * self._settings.ping_timeout * self._pace())
        return link.heard + longest

    def _ping_due(self, link: Link) -> float:
        watched = self._watched(link.node_key)
        pause = self._settings.ping_interval * self._pace() if watched else self._settings.idle_ping
        return max(link.heard, link.pinged) + pause + (_DEFERENCE if self._links.own > link.node_key else 0.0)

    def _compares(self, link: Link) -> bool:
        """Whether digests are compared again and again until they agree: not with strangers, if others are there."""
        if link.agreed is not None or not link.dialled:
            return False
        return link.surplus is None or not self._have_needed()

    def _spent(self, link: Link) -> float:
        """When a link that is not needed has done what it could: digests agreed, or others do better."""
        if link.surplus is None or (link.agreed is None and not self._have_needed()):
            return float("inf")
        return max(link.surplus, link.agreed or link.surplus) + self._settings.surplus_wait

    def _have_needed(self) -> bool:
        needed = self._links.needed()
        return bool(needed) and needed[0].surplus is None
