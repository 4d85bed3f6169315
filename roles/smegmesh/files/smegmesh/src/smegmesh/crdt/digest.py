"""Merkle tree over the items of a mesh's maps.

Two trees are equal exactly when their sets of items are; where they differ, a descent
visits O(d log n) nodes for d differing items. (Merkle 1987; as used for anti-entropy by
Dynamo, DeCandia et al. 2007.) An item's place is the SHA-256 of its map and key, so that
the tree is balanced unless somebody grinds certified keys. It branches 16-fold, by the
nibbles of the place; a prefix with at most 16 items is a leaf. The structure is hence a
function of the set alone. There is no delete, as the maps only grow.

A prefix is a byte string with one nibble (0 to 15) a byte; the root's is empty. Any
prefix of up to 64 nibbles may be asked for, also below a leaf.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple

from smegmesh.crdt.order import Order

FANOUT = 16
LEAF_ITEMS = 16
MAX_DEPTH = 64


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


@dataclass(frozen=True, slots=True)
class Items:
    """A leaf: all items under a prefix, by place."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Children:
    """An inner node: the digests of the 16 longer prefixes."""

    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a peer's node says against the own tree.

    `descend`: prefixes to ask the peer for next. `here`: items the peer lacks or
    has lower; `there`: items of the peer that the own tree lacks or has lower.
    """

    descend: tuple[bytes, ...] = ()
    here: tuple[Item, ...] = ()
    there: tuple[Item, ...] = ()


class _Leaf:
    __slots__ = ("digest", "items")

    def __init__(self) -> None:
        self.items: dict[bytes, Item] = {}
        self.digest: bytes | None = None


class _Inner:
    __slots__ = ("children", "digest")

    def __init__(self) -> None:
        self.children: list[_Leaf | _Inner] = [_Leaf() for _child in range(FANOUT)]
        self.digest: bytes | None = None


class DigestTree:
    """The tree; digests are computed when they are asked for."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Leaf | _Inner = _Leaf()

    @property
    def root(self) -> bytes:
        """Digest of the whole set."""
        return _digest(self._root)

    def put(self, item: Item) -> None:
        """Add an item, or replace the one of its map and key."""
        place = _place(item)
        parent, nibble, depth = None, 0, 0
        node = self._root
        while isinstance(node, _Inner):
            node.digest = None
            parent, nibble = node, _nibble(place, depth)
            node = node.children[nibble]
            depth += 1
        node.items[place] = item
        node.digest = None
        if len(node.items) > LEAF_ITEMS:
            inner = _split(node, depth)
            if parent is None:
                self._root = inner
            else:
                parent.children[nibble] = inner

    def node(self, prefix: bytes = b"") -> Children | Items:
        """The node at a prefix. ValueError if it is no prefix."""
        node = self._find(prefix)
        if isinstance(node, _Inner):
            return Children(tuple(_digest(child) for child in node.children))
        return Items(_sorted(node))

    def digest(self, prefix: bytes) -> bytes:
        """Digest of the items under a prefix. ValueError if it is no prefix."""
        return _digest(self._find(prefix))

    def items(self, prefix: bytes = b"") -> Iterator[Item]:
        """All items under a prefix, by place. ValueError if it is no prefix."""
        return _walk(self._find(prefix))

    def compare(self, prefix: bytes, theirs: Children | Items) -> Comparison:
        """Hold a peer's node at a prefix against the own one. ValueError if either cannot be."""
        if isinstance(theirs, Items):
            return self._compare_items(prefix, theirs)
        if len(theirs.digests) != FANOUT or len(prefix) >= MAX_DEPTH:
            raise ValueError(f"an inner node has {FANOUT} digests and a prefix of less than {MAX_DEPTH} nibbles")
        longer = (prefix + bytes([nibble]) for nibble in range(FANOUT))
        pairs = zip(longer, theirs.digests, strict=True)
        return Comparison(descend=tuple(child for child, digest in pairs if self.digest(child) != digest))

    def _compare_items(self, prefix: bytes, theirs: Items) -> Comparison:
        if len(theirs.items) > LEAF_ITEMS or not all(_is_under(prefix, item) for item in theirs.items):
            raise ValueError(f"a leaf has at most {LEAF_ITEMS} items, all under its prefix")
        mine = {(item.kind, item.key): item for item in self.items(prefix)}
        there = []
        for item in theirs.items:
            own = mine.get((item.kind, item.key))
            if own is None or own.order < item.order:
                there.append(item)
            if own is not None and own.order <= item.order:
                del mine[item.kind, item.key]
        return Comparison(here=tuple(mine.values()), there=tuple(there))

    def _find(self, prefix: bytes) -> _Leaf | _Inner:
        """The node at a prefix; below a leaf a new leaf with the items there."""
        if len(prefix) > MAX_DEPTH or any(nibble >= FANOUT for nibble in prefix):
            raise ValueError(f"a prefix is at most {MAX_DEPTH} bytes of 0 to {FANOUT - 1}, not {prefix.hex()}")
        node = self._root
        for depth, nibble in enumerate(prefix):
            if not isinstance(node, _Inner):
                return _below(node, prefix, depth)
            node = node.children[nibble]
        return node


def _place(item: Item) -> bytes:
    return sha256(bytes([item.kind]) + item.key).digest()


def _nibble(place: bytes, depth: int) -> int:
    byte = place[depth // 2]
    return byte & 15 if depth % 2 else byte >> 4


def _is_under(prefix: bytes, item: Item, start: int = 0) -> bool:
    place = _place(item)
    return all(_nibble(place, depth) == prefix[depth] for depth in range(start, len(prefix)))


def _split(leaf: _Leaf, depth: int) -> _Inner:
    inner = _Inner()
    for place, item in leaf.items.items():
        child = inner.children[_nibble(place, depth)]
        assert isinstance(child, _Leaf)
        child.items[place] = item
    for nibble, child in enumerate(inner.children):
        if isinstance(child, _Leaf) and len(child.items) > LEAF_ITEMS:
            inner.children[nibble] = _split(child, depth + 1)
    return inner


def _below(leaf: _Leaf, prefix: bytes, depth: int) -> _Leaf:
    below = _Leaf()
    below.items = {place: item for place, item in leaf.items.items() if _is_under(prefix, item, depth)}
    return below


def _sorted(leaf: _Leaf) -> tuple[Item, ...]:
    return tuple(item for _key, item in sorted(leaf.items.items()))


def _walk(node: _Leaf | _Inner) -> Iterator[Item]:
    if isinstance(node, _Inner):
        for child in node.children:
            yield from _walk(child)
    else:
        yield from _sorted(node)


def _digest(node: _Leaf | _Inner) -> bytes:
    if node.digest is None:
        if isinstance(node, _Inner):
            node.digest = sha256(b"\1" + b"".join(_digest(child) for child in node.children)).digest()
        else:
            node.digest = sha256(b"\0" + b"".join(map(_packed, _sorted(node)))).digest()
    return node.digest


def _packed(item: Item) -> bytes:
    return bytes([item.kind]) + item.key + item.order[0].to_bytes(8, "big") + item.order[1]
