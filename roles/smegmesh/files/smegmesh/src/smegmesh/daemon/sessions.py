"""When to begin a new WireGuard session with a peer whose tunnel stays silent.

A host that came back may have lost the session we hold; WireGuard itself notices
only after 15 s of unanswered packets (whitepaper, section 6.5).
"""

from __future__ import annotations

_MISSES = 3
_PAUSE = 10.0  # seconds between renewals with one peer


class SilentSessions:
    """Counts probes without an answer, by node key."""

    def __init__(self) -> None:
        self._missed: dict[bytes, int] = {}
        self._renewed: dict[bytes, float] = {}

    def probed(self, key: bytes, answered: bool, now: float) -> bool:
        """Note a probe; True when the session should be renewed now (`now` in seconds)."""
        if answered:
            self._missed.pop(key, None)
            self._renewed.pop(key, None)
            return False
        self._missed[key] = self._missed.get(key, 0) + 1
        if self._missed[key] < _MISSES or now - self._renewed.get(key, float("-inf")) < _PAUSE:
            return False
        self._renewed[key] = now
        return True
