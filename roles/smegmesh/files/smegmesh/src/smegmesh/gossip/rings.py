"""Rings: K pseudo-random orders of the peers, which everyone computes alike.

On each ring a peer keeps a link to its successor and its predecessor. The union of
K random cycles is an expander with high probability (Law and Siu, "Distributed
construction of random expander networks", 2003): diameter O(log n), and no small
cut that a few dead peers could be.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Iterator
from functools import lru_cache
from hashlib import sha256

_HASH = 8  # bytes of a place before the key
#: As many results as a mesh may have members.
_REMEMBERED = 65_536


@lru_cache(_REMEMBERED)
def _places(count: int, key: bytes) -> tuple[bytes, ...]:
    """Where a peer stands on each ring: the start of a hash, then its key."""
    return tuple(sha256(b"smegmesh/ring\0" + bytes([ring]) + key).digest()[:_HASH] + key for ring in range(count))


class Rings:
    """The peers by node key on `count` rings. A key need not be on the rings to have neighbours."""

    def __init__(self, count: int) -> None:
        self._rings: list[list[bytes]] = [[] for _ring in range(count)]

    def copy(self) -> Rings:
        """The same peers, going their own way."""
        copy = Rings(0)
        copy._rings = [ring.copy() for ring in self._rings]
        return copy

    def __contains__(self, key: bytes) -> bool:
        if not self._rings:
            return False
        ring, place = self._rings[0], _places(len(self._rings), key)[0]
        at = bisect_left(ring, place)
        return at < len(ring) and ring[at] == place

    def __len__(self) -> int:
        return len(self._rings[0]) if self._rings else 0

    def add(self, key: bytes) -> None:
        """Put a peer on every ring."""
        if key not in self:
            for ring, place in zip(self._rings, _places(len(self._rings), key), strict=True):
                insort(ring, place)

    def remove(self, key: bytes) -> None:
        """Take a peer off every ring."""
        if key in self:
            for ring, place in zip(self._rings, _places(len(self._rings), key), strict=True):
                del ring[bisect_left(ring, place)]

    def walks(self, key: bytes) -> Iterator[Iterator[bytes]]:
        """For each ring and direction, the other peers from the nearest outward."""
        for ring, place in zip(self._rings, _places(len(self._rings), key), strict=True):
            at = bisect_left(ring, place)
            present = at < len(ring) and ring[at] == place
            yield _walk(ring, at + 1 if present else at, 1, len(ring) - present)
            yield _walk(ring, at - 1, -1, len(ring) - present)

    def nearest(self, key: bytes, skipped: Container[bytes]) -> set[bytes]:
        """For each ring and direction, the nearest other peer that is not to be skipped."""
        found: set[bytes] = set()
        for walk in self.walks(key):
            for other in walk:
                if other not in skipped:
                    found.add(other)
                    break
        return found

    def through(self, key: bytes, skipped: Container[bytes]) -> set[bytes]:
        """For each ring and direction, the others up to the nearest that is not to be skipped, that one included."""
        found: set[bytes] = set()
        for walk in self.walks(key):
            for other in walk:
                found.add(other)
                if other not in skipped:
                    break
        return found


def _walk(ring: list[bytes], first: int, step: int, count: int) -> Iterator[bytes]:
    size = len(ring)
    for offset in range(count):
        yield ring[(first + step * offset) % size][_HASH:]
