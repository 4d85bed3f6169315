"""What a map holds of one node: its highest entry, removal and verdict."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from smegmesh.crdt.order import Order
from smegmesh.crdt.removal import Removal
from smegmesh.crdt.statement import SignedEntry, SignedVerdict
from smegmesh.identity.address import node_hash

_NIBBLES = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))
#: The members of a large mesh; beyond that it costs hashes.
_REMEMBERED = 16_384


class MapKind(IntEnum):
    """The map an item is of."""

    ENTRY = 1
    REMOVAL = 2
    VERDICT = 3


class Item(NamedTuple):
    """That a map holds this order for a key."""

    kind: MapKind
    key: bytes
    order: Order


@lru_cache(_REMEMBERED)
def place_of(key: bytes) -> bytes:
    """Where a node stands in the digest tree: the 64 nibbles of its hash, one a byte."""
    return node_hash(key).hex().encode().translate(_NIBBLES)


class Held:
    """An immutable value. `present`: the entry lies above the removal's horizon, the node is a member."""

    __slots__ = ("entry", "key", "place", "present", "removal", "verdict")

    def __init__(
        self, key: bytes, entry: SignedEntry | None, removal: Removal | None, verdict: SignedVerdict | None
    ) -> None:
        self.key = key
        self.place = place_of(key)
        self.entry = entry
        self.removal = removal
        self.verdict = verdict
        self.present = entry is not None and (removal is None or removal.horizon < entry.order)

    @property
    def member(self) -> SignedEntry | None:
        """The entry, if the node is a member."""
        return self.entry if self.present else None

    def order(self, kind: MapKind) -> Order | None:
        """What a map holds of the node."""
        if kind is MapKind.ENTRY:
            return None if self.entry is None else self.entry.order
        if kind is MapKind.VERDICT:
            return None if self.verdict is None else self.verdict.order
        return None if self.removal is None else self.removal.horizon

    def items(self) -> Iterator[Item]:
        """Its items in the three maps."""
        for kind in MapKind:
            order = self.order(kind)
            if order is not None:
                yield Item(kind, self.key, order)
