"""Whether this host hears anybody: what it finds of others while it does not may be its own outage."""

from __future__ import annotations

_LATELY = 2.0  # seconds; who is observed talks each second
_LONGEST = 60.0  # seconds without a word after which it is taken that all others are down indeed
_GRACE = 3.0  # seconds in which those who come back are found again, one sooner than another


class Hearing:
    """Tells when the choice of bridges and exits is to stay as it is. Times are monotonic seconds.

    A host that is cut off finds one member after the other down, and when it is back, one after the other alive: each
    of these pictures would move its flows to another exit, where no connection survives.
    """

    def __init__(self, now: float) -> None:
        self._heard = now
        self._until = now  # when what is found counts, after somebody was heard again

    def heard(self, now: float) -> bool:
        """Somebody, in whatever mesh, sent or answered something; whether that ends a silence."""
        silent, self._heard = now - self._heard, now
        if not _LATELY < silent < _LONGEST:
            return False
        self._until = now + _GRACE
        return True

    def due(self, now: float) -> float | None:
        """None if what is found now counts; else when to ask again."""
        if _LATELY < now - self._heard < _LONGEST:
            return self._heard + _LONGEST
        return self._until if now < self._until else None
