"""Homes: which two peers a client goes through.

Rendezvous hashing (Thaler and Ravishankar, 1998): everybody computes the same
order, and the loss of a peer moves its own clients only.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator
from hashlib import sha256
from heapq import nsmallest

#: A client that prefers so many peers to all others need not know in which order it prefers those.
_AT_HAND = 64
_ENOUGH = 32


def weight(key: bytes, other: bytes) -> bytes:
    """How far back `other` comes in the order that `key` prefers."""
    return sha256(b"smegmesh/home\0" + key + other).digest()


class Preference:
    """The peers in the order in which a client prefers them: the first of them, the rest when they are needed.

    `everybody` are all peers; they are looked through anew when too few are left at hand,
    or none of those will do.
    """

    def __init__(self, client: bytes, everybody: Callable[[], Collection[bytes]]) -> None:
        self._client = client
        self._everybody = everybody
        self._first: list[tuple[bytes, bytes]] = []
        self._complete = False  # whether there are no others

    def __iter__(self) -> Iterator[bytes]:
        if len(self._first) < _ENOUGH and not self._complete:
            self._first = nsmallest(_AT_HAND, self._places())
            self._complete = len(self._first) == len(self._everybody())
        first = self._first.copy()
        yield from (key for _weight, key in first)
        if not self._complete:
            yield from (key for _weight, key in sorted(self._places())[len(first) :])

    def put(self, key: bytes, present: bool) -> None:
        """A peer came or went."""
        if not self._first and not self._complete:
            return  # nobody asked yet
        place = (weight(self._client, key), key)
        at = bisect_left(self._first, place)
        held = at < len(self._first) and self._first[at] == place
        if present and not held and (at < len(self._first) or self._complete):
            insort(self._first, place)
            if len(self._first) > _AT_HAND:
                self._first.pop()
                self._complete = False
        elif held and not present:
            del self._first[at]

    def _places(self) -> Iterator[tuple[bytes, bytes]]:
        return ((weight(self._client, key), key) for key in self._everybody())


def choose(
    order: Iterable[bytes],
    home: bytes | None,
    backup: bytes | None,
    keeps: Callable[[bytes], bool],
    takes: Callable[[bytes], bool],
) -> tuple[bytes | None, bytes | None]:
    """Home and backup, given those chosen before.

    A choice ends only when `keeps` says no; a backup then becomes the home, and the
    first of `order` that `takes` accepts fills the gap. Where there is nobody to take,
    a home that fails stays named: no choice is better, and it may come back.
    """
    chosen = list(dict.fromkeys(key for key in (home, backup) if key is not None and keeps(key)))
    for key in order:
        if len(chosen) == 2:
            break
        if key not in chosen and takes(key):
            chosen.append(key)
    if not chosen:
        return home, backup
    if len(chosen) == 1 and backup is not None:
        return chosen[0], backup if backup != chosen[0] else None
    return chosen[0], chosen[1] if len(chosen) == 2 else None
