"""Forgetting: who is down for how long, and is to be pruned for it. Times are monotonic seconds."""

from __future__ import annotations


class Forgetting:
    """Since when each member is down, as this node saw it without a break."""

    def __init__(self, after: float) -> None:
        self._after = after
        self._since: dict[bytes, float] = {}  # in order of time, so that the first is due next

    def down(self, key: bytes, now: float) -> None:
        """A member is down."""
        self._since.setdefault(key, now)

    def up(self, key: bytes) -> None:
        """A member is not down, or no member any more."""
        self._since.pop(key, None)
        if not self._since:
            self._since.clear()  # gives back the room of thousands, which it would keep

    def doubt(self, gap: float) -> None:
        """This node itself was late by so many seconds: it saw nobody down in that gap."""
        self._since = {key: since + gap for key, since in self._since.items()}

    def due(self, now: float) -> list[bytes]:
        """Who has been down for the forget time."""
        return [key for key, since in self._since.items() if now >= since + self._after]

    def next_timer(self) -> float:
        """When `due` may name somebody."""
        return next(iter(self._since.values()), float("inf")) + self._after
