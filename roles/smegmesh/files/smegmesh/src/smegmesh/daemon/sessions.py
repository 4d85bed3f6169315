"""When to begin a new WireGuard session with a peer whose tunnel stays silent.

A host that came back may have lost the session we hold; WireGuard itself notices
only after 15 s of unanswered packets (whitepaper, section 6.5). To begin anew is to
forget our half: from then on the other one sends into the void, until our next packet
makes a handshake. So whoever was renewed is probed until it answers, watched or not.

If nobody answers it may be this host that is cut off: a session that is given up then is
missing when the cable is back, and a handshake that was lost is made again after 5 s only.
"""

from __future__ import annotations

from collections.abc import Collection

_MISSES = 3
_MISSES_OF_ALL = 15  # the same while nobody else answers either
_LATELY = 2.0  # seconds since somebody answered
_PAUSE = 10.0  # seconds between renewals with one peer
_EXPIRY = 180.0  # seconds after which the other side has dropped the old session (Reject-After-Time, section 6.1)


class SilentSessions:
    """Counts probes without an answer, by node key; `now` is in seconds."""

    def __init__(self) -> None:
        self._missed: dict[bytes, int] = {}
        self._renewed: dict[bytes, float] = {}
        self._watched: frozenset[bytes] = frozenset()
        self._heard = float("-inf")  # when anybody answered last

    def watch(self, keys: Collection[bytes], now: float) -> None:
        """These are watched from now on: what is counted of others means nothing, unless it is pending."""
        self._watched = frozenset(keys)
        kept = {*keys, *self.pending(now)}
        self._missed = {key: missed for key, missed in self._missed.items() if key in kept}
        self._renewed = {key: when for key, when in self._renewed.items() if key in kept}

    def pending(self, now: float) -> frozenset[bytes]:
        """Who has not answered since the session with it was renewed."""
        return frozenset(key for key, when in self._renewed.items() if now < when + _EXPIRY)

    def probed(self, key: bytes, answered: bool, now: float) -> bool:
        """Note a probe; True when the session should be renewed now."""
        if answered:
            self._heard = now
            self._missed.pop(key, None)
            self._renewed.pop(key, None)
            return False
        self._missed[key] = self._missed.get(key, 0) + 1
        alone = len(self._watched) > 1 and now - self._heard > _LATELY
        if (
            self._missed[key] < (_MISSES_OF_ALL if alone else _MISSES)
            or now - self._renewed.get(key, float("-inf")) < _PAUSE
        ):
            return False
        self._renewed[key] = now
        return True
