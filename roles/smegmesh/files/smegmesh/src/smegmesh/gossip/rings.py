"""Rings: K pseudo-random orders of the peers, which everyone computes alike.

On each ring a peer keeps a link to its successor and its predecessor. The union of
K random cycles is an expander with high probability (Law and Siu, "Distributed
construction of random expander networks", 2003): diameter O(log n), and no small
cut that a few dead peers could be.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Iterable, Iterator, Set
from functools import lru_cache
from hashlib import sha256
from itertools import filterfalse, islice, takewhile

_HASH = 8  # bytes of a place before the key
#: The members of a large mesh; beyond that it costs hashes.
_REMEMBERED = 16_384
#: Of a subset: more than the one share of all left out are too many to skip, until they are less than the other.
_MOST, _MANY = 0.75, 0.5


@lru_cache(_REMEMBERED)
def _places(count: int, key: bytes) -> tuple[bytes, ...]:
    """Where a peer stands on each ring: the start of a hash, then its key."""
    return tuple(sha256(b"smegmesh/ring\0" + bytes([ring]) + key).digest()[:_HASH] + key for ring in range(count))


class Rings:
    """The peers by node key on `count` rings. A key need not be on the rings to have neighbours."""

    def __init__(self, count: int) -> None:
        self._rings: list[list[bytes]] = [[] for _ring in range(count)]
        self._shared = False  # with a copy, until either changes
        self.keys: list[bytes] = []  # ascending; to be read only

    @classmethod
    def of(cls, count: int, keys: Iterable[bytes]) -> Rings:
        """These peers, each there once, on `count` rings."""
        rings = cls(0)
        rings.keys = sorted(keys)
        places = [_places(count, key) for key in rings.keys]
        rings._rings = [sorted(ring) for ring in zip(*places, strict=True)] or [[] for _ring in range(count)]
        return rings

    @property
    def count(self) -> int:
        """How many rings there are."""
        return len(self._rings)

    def copy(self) -> Rings:
        """The same peers, going their own way; costs nothing before it does."""
        copy = Rings(0)
        copy._rings, copy.keys = self._rings, self.keys
        copy._shared = self._shared = True
        return copy

    def __contains__(self, key: bytes) -> bool:
        at = bisect_left(self.keys, key)
        return at < len(self.keys) and self.keys[at] == key

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, key: bytes) -> None:
        """Put a peer on every ring."""
        if key not in self:
            self._part()
            insort(self.keys, key)
            for ring, place in zip(self._rings, _places(len(self._rings), key), strict=True):
                insort(ring, place)

    def remove(self, key: bytes) -> None:
        """Take a peer off every ring."""
        if key in self:
            self._part()
            del self.keys[bisect_left(self.keys, key)]
            for ring, place in zip(self._rings, _places(len(self._rings), key), strict=True):
                del ring[bisect_left(ring, place)]

    def _part(self) -> None:
        """Have lists of its own, to change them."""
        if self._shared:
            self._rings, self.keys = [ring.copy() for ring in self._rings], self.keys.copy()
            self._shared = False

    def walks(self, key: bytes) -> Iterator[Iterator[bytes]]:
        """For each ring and direction, the other peers from the nearest outward."""
        for ring, place in zip(self._rings, _places(len(self._rings), key), strict=True):
            at = bisect_left(ring, place)
            present = at < len(ring) and ring[at] == place
            yield _walk(ring, at + 1 if present else at, 1, len(ring) - present)
            yield _walk(ring, at - 1, -1, len(ring) - present)

    def nearest(self, key: bytes) -> set[bytes]:
        """For each ring and direction, the nearest other peer."""
        return {other for walk in self.walks(key) for other in islice(walk, 1)}

    def around(self, key: bytes, among: Container[bytes], limit: int) -> Iterator[bytes]:
        """For each ring and direction, the others that are `among` these, up to the first that is not."""
        for walk in self.walks(key):
            yield from islice(takewhile(among.__contains__, walk), limit)


class Subset:
    """The peers without some, who are skipped; where they are most, those who are in have rings of their own.

    `out`: who is left out, peer or not; a live set, of which each change is told.
    """

    def __init__(self, everybody: Rings, out: Set[bytes]) -> None:
        self._everybody = everybody
        self._few: Rings | None = None
        self._out = out

    def nearest(self, key: bytes) -> set[bytes]:
        """For each ring and direction, the nearest other peer that is in."""
        if self._few is not None:
            return self._few.nearest(key)
        if not self._out:
            return self._everybody.nearest(key)
        out = self._out
        walks = self._everybody.walks(key)
        return {other for walk in walks for other in islice(filterfalse(out.__contains__, walk), 1)}

    def changed(self, key: bytes) -> None:
        """A node is left out now, or is no more; or a peer came or went."""
        out, everybody = len(self._out), len(self._everybody)
        if self._few is not None and out <= everybody * _MANY:
            self._few = None
        elif self._few is not None:
            (self._few.add if key in self._everybody and key not in self._out else self._few.remove)(key)
        elif out > everybody * _MOST:
            self._few = Rings.of(self._everybody.count, [key for key in self._everybody.keys if key not in self._out])


def _walk(ring: list[bytes], first: int, step: int, count: int) -> Iterator[bytes]:
    size = len(ring)
    for offset in range(count):
        yield ring[(first + step * offset) % size][_HASH:]
