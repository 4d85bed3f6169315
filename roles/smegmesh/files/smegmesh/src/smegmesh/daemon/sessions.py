"""When to begin a new WireGuard session with a peer whose tunnel stays silent.

A host that came back may have lost the session we hold; WireGuard itself notices
only after 15 s of unanswered packets (whitepaper, section 6.5). To begin anew is to
forget our half: from then on the other one sends into the void, until our next packet
makes a handshake. So whoever was renewed is probed until it answers, watched or not.
"""

from __future__ import annotations

from collections.abc import Collection

_MISSES = 3
_PAUSE = 10.0  # seconds between renewals with one peer
_EXPIRY = 180.0  # seconds after which the other side has dropped the old session (Reject-After-Time, section 6.1)


class SilentSessions:
    """Counts probes without an answer, by node key; `now` is in seconds."""

    def __init__(self) -> None:
        self._missed: dict[bytes, int] = {}
        self._renewed: dict[bytes, float] = {}

    def watch(self, keys: Collection[bytes], now: float) -> None:
        """These are watched from now on: what is counted of others means nothing, unless it is pending."""
        kept = {*keys, *self.pending(now)}
        self._missed = {key: missed for key, missed in self._missed.items() if key in kept}
        self._renewed = {key: when for key, when in self._renewed.items() if key in kept}

    def pending(self, now: float) -> frozenset[bytes]:
        """Who has not answered since the session with it was renewed."""
        return frozenset(key for key, when in self._renewed.items() if now < when + _EXPIRY)

    def probed(self, key: bytes, answered: bool, now: float) -> bool:
        """Note a probe; True when the session should be renewed now."""
        if answered:
            self._missed.pop(key, None)
            self._renewed.pop(key, None)
            return False
        self._missed[key] = self._missed.get(key, 0) + 1
        if self._missed[key] < _MISSES or now - self._renewed.get(key, float("-inf")) < _PAUSE:
            return False
        self._renewed[key] = now
        return True
