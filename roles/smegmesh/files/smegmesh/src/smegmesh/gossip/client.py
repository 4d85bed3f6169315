"""A client's choice of home and backup, and what it finds of them through the tunnel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from smegmesh.gossip.homes import choose
from smegmesh.gossip.settings import Settings


@dataclass(slots=True)
class _Probes:
    answered: bool = False
    missed: int = 0


class HomeChoice:
    """Home and backup of this node. Times are monotonic seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._probes: dict[bytes, _Probes] = {}
        self._until: dict[bytes, float] = {}
        self.home: bytes | None = None
        self.backup: bytes | None = None

    @property
    def unreachable(self) -> frozenset[bytes]:
        """Peers that this node alone cannot reach through the tunnel."""
        return frozenset(self._until)

    def probed(self, key: bytes, answered: bool, now: float) -> None:
        """The result of a ping through the tunnel; three misses disqualify at once."""
        if key not in (self.home, self.backup):
            return
        probes = self._probes.setdefault(key, _Probes())
        if answered:
            probes.answered, probes.missed = True, 0
            self._until.pop(key, None)
            return
        probes.missed += 1
        if probes.missed >= (self._settings.misses if probes.answered else self._settings.misses_first):
            self._until[key] = now + self._settings.disqualified

    def forgive(self, key: bytes) -> None:
        """A new link with a peer is a new chance."""
        self._until.pop(key, None)

    def update(
        self, order: Iterable[bytes], keeps: Callable[[bytes], bool], takes: Callable[[bytes], bool], now: float
    ) -> bool:
        """Choose anew where a choice ended; says whether that changed anything.

        Who is unreachable is taken last: it may serve again before anybody else does.
        """
        self._until = {key: until for key, until in self._until.items() if until > now}
        before = self.home, self.backup
        self.home, self.backup = choose(
            sorted(order, key=self._until.__contains__),
            self.home,
            self.backup,
            lambda key: key not in self._until and keeps(key),
            takes,
        )
        self._probes = {key: probes for key, probes in self._probes.items() if key in (self.home, self.backup)}
        return before != (self.home, self.backup)

    def next_timer(self) -> float:
        """When a disqualified peer counts again."""
        return min(self._until.values(), default=float("inf"))
