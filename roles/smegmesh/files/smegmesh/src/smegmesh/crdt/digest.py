"""The digest tree: a persistent Merkle trie over what a map holds of each node.

It is the store of a map and its summary at once. Two trees are equal exactly when what they
hold is; where they differ, a descent visits O(d log n) branches for d differing nodes.
(Merkle 1987; as used for anti-entropy by Dynamo, DeCandia et al. 2007.) A node's place is its
hash, so that the tree is balanced unless somebody grinds certified keys. It branches 16-fold,
by the nibbles of the place; a prefix with at most 16 nodes is a leaf. The structure is hence a
function of the set alone. There is no delete, as the maps only grow.

Branches are immutable (a trie with path copying: Driscoll et al., "Making data structures
persistent", 1989): a snapshot costs nothing, and two states are compared by what they do not share.

A prefix is a byte string with one nibble (0 to 15) a byte; the root's is empty. Any
prefix of up to 64 nibbles may be asked for, also below a leaf.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from smegmesh.crdt.held import Held, Item, MapKind, place_of
from smegmesh.crdt.pool import Branch, Inner, Leaf, Pool

FANOUT = 16
LEAF_NODES = 16
#: A node has up to one item in each of the three maps.
LEAF_ITEMS = LEAF_NODES * len(MapKind)
MAX_DEPTH = 64

_EMPTY = Leaf(())


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
    """What a peer's branch says against the own tree.

    `descend`: prefixes to ask the peer for next. `here`: items the peer lacks or
    has lower; `there`: items of the peer that the own tree lacks or has lower.
    """

    descend: tuple[bytes, ...] = ()
    here: tuple[Item, ...] = ()
    there: tuple[Item, ...] = ()


class DigestTree:
    """The present state, and how to ask it; digests are computed when they are asked for."""

    __slots__ = ("_pool", "_root")

    def __init__(self, pool: Pool, root: Branch = _EMPTY) -> None:
        self._pool = pool
        self._root = root

    def snapshot(self) -> DigestTree:
        """This state, which later puts do not change."""
        return DigestTree(self._pool, self._root)

    def get(self, key: bytes) -> Held | None:
        """What is held of a node."""
        branch, place, depth = self._root, place_of(key), 0
        while isinstance(branch, Inner):
            branch = branch.children[place[depth]]
            depth += 1
        at = branch.index(key)
        return None if at < 0 else branch.nodes[at]

    def put(self, held: Held) -> None:
        """Add a node, or replace what is held of it."""
        self._root = self._put(self._root, held, 0)

    def __iter__(self) -> Iterator[Held]:
        return _walk(self._root)

    def near(self, place: bytes) -> tuple[Held, ...]:
        """The nodes of the leaf that a place belongs to: all that share its first 16 nibbles are there."""
        branch, depth = self._root, 0
        while isinstance(branch, Inner):
            branch = branch.children[place[depth]]
            depth += 1
        return branch.nodes

    def differing(self, before: DigestTree) -> Iterator[bytes]:
        """The keys of all nodes of which another state held something else. Costs what does not coincide."""
        return _differing(before._root, self._root)

    @property
    def root(self) -> bytes:
        """Digest of the whole set."""
        return _digest(self._root)

    def branch(self, prefix: bytes = b"") -> Children | Items:
        """What is at a prefix. ValueError if it is no prefix."""
        branch = self._find(prefix)
        if isinstance(branch, Inner):
            return Children(tuple(_digest(child) for child in branch.children))
        return Items(tuple(_items(branch)))

    def digest(self, prefix: bytes) -> bytes:
        """Digest of what is under a prefix. ValueError if it is no prefix."""
        return _digest(self._find(prefix))

    def items(self, prefix: bytes = b"") -> Iterator[Item]:
        """All items under a prefix, by place. ValueError if it is no prefix."""
        return (item for held in _walk(self._find(prefix)) for item in held.items())

    def compare(self, prefix: bytes, theirs: Children | Items) -> Comparison:
        """Hold a peer's branch at a prefix against the own one. ValueError if either cannot be."""
        if isinstance(theirs, Items):
            return self._compare_items(prefix, theirs)
        if len(theirs.digests) != FANOUT or len(prefix) >= MAX_DEPTH:
            raise ValueError(f"an inner node has {FANOUT} digests and a prefix of less than {MAX_DEPTH} nibbles")
        longer = (prefix + bytes([nibble]) for nibble in range(FANOUT))
        pairs = zip(longer, theirs.digests, strict=True)
        return Comparison(descend=tuple(child for child, digest in pairs if self.digest(child) != digest))

    def _compare_items(self, prefix: bytes, theirs: Items) -> Comparison:
        if len(theirs.items) > LEAF_ITEMS or not all(place_of(item.key).startswith(prefix) for item in theirs.items):
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

    def _put(self, branch: Branch, held: Held, depth: int) -> Branch:
        if isinstance(branch, Inner):
            children, nibble = branch.children, held.place[depth]
            child = self._put(children[nibble], held, depth + 1)
            return self._pool.inner((*children[:nibble], child, *children[nibble + 1 :]))
        nodes: tuple[Held, ...] = branch.nodes
        at = branch.index(held.key)
        if at >= 0:
            leaf = self._pool.leaf((*nodes[:at], held, *nodes[at + 1 :]))
            leaf.marks = branch.marks  # of the same keys
            return leaf
        at = bisect_left(nodes, held.place, key=_place)
        return self._grow((*nodes[:at], held, *nodes[at:]), depth)

    def _grow(self, nodes: tuple[Held, ...], depth: int) -> Branch:
        """A leaf, or what it splits into."""
        if not nodes:
            return _EMPTY
        if len(nodes) <= LEAF_NODES:
            return self._pool.leaf(nodes)
        groups = (tuple(held for held in nodes if held.place[depth] == nibble) for nibble in range(FANOUT))
        return self._pool.inner(tuple(self._grow(group, depth + 1) for group in groups))

    def _find(self, prefix: bytes) -> Branch:
        """The branch at a prefix; below a leaf a new leaf with the nodes there."""
        if len(prefix) > MAX_DEPTH or any(nibble >= FANOUT for nibble in prefix):
            raise ValueError(f"a prefix is at most {MAX_DEPTH} bytes of 0 to {FANOUT - 1}, not {prefix.hex()}")
        branch = self._root
        for nibble in prefix:
            if not isinstance(branch, Inner):
                return Leaf(tuple(held for held in branch.nodes if held.place.startswith(prefix)))
            branch = branch.children[nibble]
        return branch


def _place(held: Held) -> bytes:
    return held.place


def _walk(branch: Branch) -> Iterator[Held]:
    if isinstance(branch, Inner):
        for child in branch.children:
            yield from _walk(child)
    else:
        yield from branch.nodes


def _items(leaf: Leaf) -> Iterator[Item]:
    return (item for held in leaf.nodes for item in held.items())


def _digest(branch: Branch) -> bytes:
    if branch.digest is None:
        if isinstance(branch, Inner):
            branch.digest = sha256(b"\1" + b"".join(map(_digest, branch.children))).digest()
        else:
            branch.digest = sha256(b"\0" + b"".join(map(_packed, _items(branch)))).digest()
    return branch.digest


def _packed(item: Item) -> bytes:
    return bytes([item.kind]) + item.key + item.order[0].to_bytes(8, "big") + item.order[1]


def _differing(before: Branch, after: Branch) -> Iterator[bytes]:
    if before is after:
        return
    if isinstance(before, Inner) and isinstance(after, Inner):
        for old, new in zip(before.children, after.children, strict=True):
            yield from _differing(old, new)
        return
    rest = {held.key: held for held in _walk(before)}
    for held in _walk(after):
        if rest.pop(held.key, None) is not held:
            yield held.key
    yield from rest
