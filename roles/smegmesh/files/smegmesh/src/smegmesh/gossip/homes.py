"""Homes: which two peers a client goes through.

Rendezvous hashing (Thaler and Ravishankar, 1998): everybody computes the same
order, and the loss of a peer moves its own clients only.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256


def weight(key: bytes, other: bytes) -> bytes:
    """How far back `other` comes in the order that `key` prefers."""
    return sha256(b"smegmesh/home\0" + key + other).digest()


class Preference:
    """The peers in the order in which a client prefers them."""

    def __init__(self, client: bytes) -> None:
        self._client = client
        self._peers: list[tuple[bytes, bytes]] = []

    def __iter__(self) -> Iterator[bytes]:
        return (key for _weight, key in self._peers)

    def put(self, key: bytes, present: bool) -> None:
        """Add a peer or take it out."""
        place = (weight(self._client, key), key)
        at = bisect_left(self._peers, place)
        held = at < len(self._peers) and self._peers[at] == place
        if present and not held:
            insort(self._peers, place)
        elif held and not present:
            del self._peers[at]


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
