"""What a node tells in each of its meshes of what it reaches through the others, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from smegmesh.crdt.entry import BridgedRoute

COALESCE = 0.1  # seconds in which what is announced anew is put together; what is withdrawn goes at once
SETTLING = 5.0  # seconds after a start for which what was announced before it holds, at most

Routes = tuple[BridgedRoute, ...]


class Announcer:
    """Remembers what was told. `due` is when `update` is to be called again, None if there is nothing to wait for.

    `now` is monotonic seconds.

    What was told before a start holds until this node knows what the others know: else each restart of a bridge's
    agent would have everybody take another bridge, and come back.
    """

    def __init__(self) -> None:
        self.due: float | None = None
        self._told: dict[str, Routes] = {}
        self._held_until = float("-inf")

    def begin(self, mesh: str, told: Routes, now: float) -> None:
        """A mesh was started, in which this node told something before."""
        self._told[mesh] = told
        if told:
            self._held_until = max(self._held_until, now + SETTLING)

    def end(self, mesh: str) -> None:
        """A mesh was left."""
        self._told.pop(mesh, None)

    def update(self, announced: Mapping[str, Routes], now: float, *, informed: bool) -> dict[str, Routes]:
        """What is to be told now, by mesh; `informed`: this node knows what the others know, in all its meshes."""
        news = {mesh: announced.get(mesh, ()) for mesh, told in self._told.items() if announced.get(mesh, ()) != told}
        if not news:
            self.due = None
            return {}
        if now < self._held_until and not informed:
            self.due = self._held_until
            return {}
        withdrawn = any(_ends(self._told[mesh]) - _ends(routes) for mesh, routes in news.items())
        if not withdrawn and (self.due is None or now < self.due):
            self.due = now + COALESCE if self.due is None else self.due
            return {}
        self.due = None
        self._told |= news
        return news


def _ends(routes: Iterable[BridgedRoute]) -> set[tuple[str, str | None]]:
    """Where routes lead, whatever the way."""
    return {(route.path[-1] if route.prefix is None else "", route.prefix) for route in routes}
