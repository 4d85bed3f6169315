"""Token bucket: how much a link may take in, on average and at once."""

from __future__ import annotations


class TokenBucket:
    """`rate` tokens a second, `burst` at most at once.

    It may go into debt, so that one message larger than the burst passes, and
    the next waits until the debt is paid.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, amount: float, now: float) -> float:
        """Take tokens; the seconds to wait before the next, 0 while there are some left."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._updated) * self._rate) - amount
        self._updated = now
        return max(0.0, -self._tokens / self._rate)
