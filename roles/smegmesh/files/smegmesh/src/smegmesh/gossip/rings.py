"""Rings: K pseudo-random orders of the peers, which everyone computes alike.

On each ring a peer keeps a link to its successor and its predecessor. The union of
K random cycles is an expander with high probability (Law and Siu, "Distributed
construction of random expander networks", 2003): diameter O(log n), and no small
cut that a few dead peers could be.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from hashlib import sha256

_Place = tuple[bytes, bytes]


def _place(ring: int, key: bytes) -> _Place:
    return sha256(b"smegmesh/ring\0" + bytes([ring]) + key).digest()[:8], key


class Rings:
    """The peers by node key on `count` rings. A key need not be on the rings to have neighbours."""

    def __init__(self, count: int) -> None:
        self._rings: list[list[_Place]] = [[] for _ in range(count)]
        self._keys: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes) -> None:
        """Put a peer on every ring."""
        if key not in self._keys:
            self._keys.add(key)
            for number, ring in enumerate(self._rings):
                insort(ring, _place(number, key))

    def remove(self, key: bytes) -> None:
        """Take a peer off every ring."""
        if key in self._keys:
            self._keys.remove(key)
            for number, ring in enumerate(self._rings):
                del ring[bisect_left(ring, _place(number, key))]

    def walks(self, key: bytes) -> Iterator[Iterator[bytes]]:
        """For each ring and direction, the other peers from the nearest outward."""
        for number in range(len(self._rings)):
            for step in (1, -1):
                yield self._walk(number, key, step)

    def nearest(self, key: bytes, passes: Callable[[bytes], bool]) -> set[bytes]:
        """For each ring and direction, the nearest other peer that passes."""
        found: set[bytes] = set()
        for walk in self.walks(key):
            for other in walk:
                if passes(other):
                    found.add(other)
                    break
        return found

    def _walk(self, number: int, key: bytes, step: int) -> Iterator[bytes]:
        ring = self._rings[number]
        start = bisect_left(ring, _place(number, key))
        present = key in self._keys
        first = start + 1 if step == 1 and present else start if step == 1 else start - 1
        for offset in range(len(ring) - present):
            yield ring[(first + step * offset) % len(ring)][1]
