"""When to begin a new WireGuard session with a peer whose tunnel stays silent.

A host that came back may have lost the session we hold; WireGuard itself notices
only after 15 s of unanswered packets (whitepaper, section 6.5).
"""

from __future__ import annotations

from collections.abc import Collection

_MISSES = 3
_PAUSE = 10.0  # seconds between renewals with one peer


class SilentSessions:
    """Counts probes without an answer, by node key."""

    def __init__(self) -> None:
        self._missed: dict[bytes, int] = {}
        self._renewed: dict[bytes, float] = {}

    def watch(self, keys: Collection[bytes]) -> None:
        """Only these nodes are probed from now on; forget the others."""
        self._missed = {key: missed for key, missed in self._missed.items() if key in keys}
        self._renewed = {key: when for key, when in self._renewed.items() if key in keys}

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
