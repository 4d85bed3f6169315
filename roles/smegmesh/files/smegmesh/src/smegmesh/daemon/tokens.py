"""One-time tokens that are out: their public keys, for which mesh, until when. Pure: `now` is monotonic seconds."""

from __future__ import annotations

MOST = 32
LONGEST = 24 * 3600.0  # seconds


class Tokens:
    """Few, for a while, and each good for one host."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, bytes], float] = {}

    def add(self, mesh: str, public: bytes, seconds: float, now: float) -> None:
        """A new one; ValueError if it is for too long or there are too many."""
        if not 0 < seconds <= LONGEST:
            raise ValueError(f"a token is good for 1 to {LONGEST:.0f} seconds")
        self._forget(now)
        if len(self._until) >= MOST:
            raise ValueError(f"there are {MOST} tokens already: use them, or wait until they are over")
        self._until[mesh, public] = now + seconds

    def holds(self, mesh: str, public: bytes, now: float) -> bool:
        """Whether a token is good for the mesh."""
        self._forget(now)
        return (mesh, public) in self._until

    def use(self, mesh: str, public: bytes) -> None:
        """It is good no more."""
        del self._until[mesh, public]

    def _forget(self, now: float) -> None:
        self._until = {token: until for token, until in self._until.items() if until > now}
