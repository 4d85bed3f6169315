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
        self._rings: list[list[_Place]] = [[] for _ring in range(count)]
        self._keys: dict[bytes, tuple[_Place, ...]] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes) -> None:
        """Put a peer on every ring."""
        if key not in self._keys:
            self._keys[key] = places = self._places(key)
            for ring, place in zip(self._rings, places, strict=True):
                insort(ring, place)

    def remove(self, key: bytes) -> None:
        """Take a peer off every ring."""
        if key in self._keys:
            for ring, place in zip(self._rings, self._keys.pop(key), strict=True):
                del ring[bisect_left(ring, place)]

    def walks(self, key: bytes) -> Iterator[Iterator[bytes]]:
        """For each ring and direction, the other peers from the nearest outward."""
        for ring, place in zip(self._rings, self._keys.get(key) or self._places(key), strict=True):
            at = bisect_left(ring, place)
            present = at < len(ring) and ring[at] == place
            yield _walk(ring, at + 1 if present else at, 1, len(ring) - present)
            yield _walk(ring, at - 1, -1, len(ring) - present)

    def nearest(self, key: bytes, passes: Callable[[bytes], bool]) -> set[bytes]:
        """For each ring and direction, the nearest other peer that passes."""
        found: set[bytes] = set()
        for walk in self.walks(key):
            for other in walk:
                if passes(other):
                    found.add(other)
                    break
        return found

    def _places(self, key: bytes) -> tuple[_Place, ...]:
        return tuple(_place(number, key) for number in range(len(self._rings)))


def _walk(ring: list[_Place], first: int, step: int, count: int) -> Iterator[bytes]:
    for offset in range(count):
        yield ring[(first + step * offset) % len(ring)][1]
