"""A wall clock that certificates hold up.

A host may start with its clock years behind. No certificate was issued in the
future, so the newest one seen bounds the time from below. That is an authority's
word: an enroller could date ahead what it issues, and have all others expire.
"""

from __future__ import annotations

from collections.abc import Callable


class CertificateClock:
    """Seconds since the epoch, no earlier than the newest verified certificate seen.

    One for each authority: another's certificates must not move it. `newest`
    starts from what the state kept.
    """

    __slots__ = ("_wall", "newest")

    def __init__(self, wall: Callable[[], float], newest: float = 0.0) -> None:
        self._wall = wall
        self.newest = newest

    def saw(self, issued: float) -> None:
        """Note since when a certificate is valid that the authority itself issued, once its signature was verified."""
        self.newest = max(self.newest, issued)

    def now(self) -> float:
        return max(self._wall(), self.newest)
