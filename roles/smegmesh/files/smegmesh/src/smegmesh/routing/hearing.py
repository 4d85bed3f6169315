"""Whether this host hears anybody: what it finds of others while it does not may be its own outage."""

from __future__ import annotations

from collections.abc import Callable

_LATELY = 2.0  # seconds; who is observed talks each second, or as much more rarely as the observer's pace says
_LONGEST = 60.0  # seconds for which a choice is kept at most
_GRACE = 3.0  # seconds in which those who come back are found again, one sooner than another
_NEVER = float("-inf")


class Hearing:
    """Tells when the choice of bridges and exits is to stay as it is. Times are monotonic seconds.

    `pace` says how many times as rarely as usual others are asked for a word, once at least.

    A host that is cut off finds one member after the other down, and when it is back, one after the other alive: each
    of these pictures would move its flows to another exit, where no connection survives.
    """

    def __init__(self, pace: Callable[[], float]) -> None:
        self._pace = pace
        self._heard = _NEVER
        self._kept = _NEVER  # since when all is kept as it was; ended by a time in which what is found counts
        self._until = _NEVER  # when what is found counts, after somebody was heard again

    def heard(self, now: float) -> bool:
        """Somebody, in whatever mesh, sent or answered something; whether that ends a silence."""
        silent, before = now - self._heard, self._heard
        self._heard = now
        if not self._is_silence(silent):
            return False
        if before >= self._until:
            self._kept = before
        self._until = now + _GRACE
        return True

    def due(self, now: float) -> float | None:
        """None if what is found now counts; else when to ask again."""
        if self._is_silence(now - self._heard):
            until = self._heard + _LONGEST
            return until if self._heard >= self._until else self._last(until, now)
        return self._last(self._until, now) if now < self._until else None

    def _is_silence(self, seconds: float) -> bool:
        """Each frame asks this, so the pace is looked at last."""
        return _LATELY < seconds < _LONGEST and _LATELY * self._pace() < seconds

    def _last(self, until: float, now: float) -> float | None:
        """The same, but not for longer than that since it began."""
        until = min(until, self._kept + _LONGEST)
        return until if now < until else None
