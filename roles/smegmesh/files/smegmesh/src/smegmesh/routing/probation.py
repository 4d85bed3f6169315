"""Exits that this node alone finds out of reach, by pings through the tunnel."""

from __future__ import annotations

from collections.abc import Iterable, Set

MISSES = 3  # pings unanswered in a row before an exit is passed over
ANSWERS = 10  # answered in a row before it counts again


class Probation:
    """Counts pings, by node key; whom it passes over is to be pinged on."""

    def __init__(self) -> None:
        self._missed: dict[bytes, int] = {}
        self._answered: dict[bytes, int] = {}

    @property
    def unreachable(self) -> frozenset[bytes]:
        """Whom to pass over."""
        return frozenset(self._answered)

    def doubts(self, keys: Iterable[bytes]) -> bool:
        """Whether one of these, which is not passed over, missed the last ping."""
        return any(self._missed.get(key) for key in keys)

    def keep(self, keys: Set[bytes]) -> None:
        """Who may be passed over at all: what is counted of others is forgotten."""
        self._missed = {key: count for key, count in self._missed.items() if key in keys}
        self._answered = {key: count for key, count in self._answered.items() if key in keys}

    def probed(self, key: bytes, answered: bool, heard: bool = True) -> bool:
        """Note a ping; whether `unreachable` is another set now.

        `heard`: some other exit answered just now. If none did, it may be this node that is cut off: the exit is not
        passed over, as all connections through it would break when it is left, and again at the return.
        """
        if key in self._answered:
            self._answered[key] = self._answered[key] + 1 if answered else 0
            if self._answered[key] < ANSWERS:
                return False
            del self._answered[key]
            return True
        self._missed[key] = 0 if answered else _one_more(self._missed.get(key, 0), heard)
        if self._missed[key] < MISSES:
            return False
        del self._missed[key]
        self._answered[key] = 0
        return True


def _one_more(missed: int, heard: bool) -> int:
    """Misses in a row, after another one.

    After so many while nobody was heard, it takes twice as many: when this node is connected again, some answer later
    than others, and pings from before are still missed.
    """
    if heard or 0 <= missed < MISSES - 1:
        return missed + 1
    return -MISSES
