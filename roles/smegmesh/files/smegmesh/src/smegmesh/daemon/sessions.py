"""When to begin a new WireGuard session with a peer whose tunnel stays silent.

A host that came back may have lost the session we hold; WireGuard itself notices
only after 15 s of unanswered packets (whitepaper, section 6.5). To begin anew is to
forget our half: from then on the other one sends into the void, until our next packet
makes a handshake. So it is done when the other host is heard on a link, not before: one
that was cut off goes on with the session it has, and a handshake that it never
saw is made again after 5 s only. Who was silent is probed until it answers, watched or not.
"""

from __future__ import annotations

from collections.abc import Collection

_MISSES = 3
_LATELY = 2.0  # seconds since it was heard on a link
_PAUSE = 10.0  # seconds between renewals with one peer
_EXPIRY = 180.0  # seconds after which the other side has dropped the old session (Reject-After-Time, section 6.1)


class SilentSessions:
    """Counts probes without an answer, by node key; `now` is in seconds."""

    def __init__(self) -> None:
        self._missed: dict[bytes, int] = {}
        self._silent: dict[bytes, float] = {}  # when the last of so many misses came while it was watched
        self._renewed: dict[bytes, float] = {}
        self._watched: frozenset[bytes] = frozenset()

    def watch(self, keys: Collection[bytes], now: float) -> None:
        """These are watched from now on: what is counted of others means nothing, unless it is pending."""
        self._watched = frozenset(keys)
        kept = {*keys, *self.pending(now)}
        for counted in (self._missed, self._silent, self._renewed):
            for key in counted.keys() - kept:
                del counted[key]

    def pending(self, now: float) -> frozenset[bytes]:
        """Who was silent through the tunnel, and has not answered since."""
        return frozenset(key for key, when in self._silent.items() if now < when + _EXPIRY)

    def probed(self, key: bytes, answered: bool, heard: float | None, now: float) -> bool:
        """Note a probe; True when the session should be renewed now. `heard`: the last frame on a link with it."""
        if answered:
            for counted in (self._missed, self._silent, self._renewed):
                counted.pop(key, None)
            return False
        self._missed[key] = self._missed.get(key, 0) + 1
        if self._missed[key] < _MISSES:
            return False
        if key in self._watched:
            self._silent[key] = now
        talks = heard is not None and now - heard < _LATELY
        if not talks or now - self._renewed.get(key, float("-inf")) < _PAUSE:
            return False
        self._renewed[key] = now
        return True
