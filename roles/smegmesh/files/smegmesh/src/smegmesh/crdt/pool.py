"""The makers of a map's immutable parts.

All that a `MeshMap` consists of is made here. A pool makes each part anew; that of a
simulation, in which thousands of maps are equal, hands out one object for all equal ones.
"""

from __future__ import annotations

from smegmesh.crdt.held import Held
from smegmesh.crdt.removal import Removal
from smegmesh.crdt.statement import SignedEntry, SignedVerdict


class Leaf:
    """Up to 16 nodes, by place. `digest` is computed when it is asked for.

    `marks` are the first bytes of their keys: to find one without a look at the others.
    """

    __slots__ = ("digest", "marks", "nodes")

    def __init__(self, nodes: tuple[Held, ...]) -> None:
        self.nodes = nodes
        self.digest: bytes | None = None
        self.marks: bytes | None = None

    def index(self, key: bytes) -> int:
        """Where a node is, -1 if it is not there."""
        if self.marks is None:
            self.marks = bytes([held.key[0] for held in self.nodes])
        at = self.marks.find(key[0]) if key else -1
        while at >= 0 and self.nodes[at].key != key:
            at = self.marks.find(key[0], at + 1)
        return at


class Inner:
    """16 branches, one for each next nibble of a place."""

    __slots__ = ("children", "digest")

    def __init__(self, children: tuple[Leaf | Inner, ...]) -> None:
        self.children = children
        self.digest: bytes | None = None


Branch = Leaf | Inner


class Pool:
    """Makes each part anew."""

    def held(
        self, key: bytes, entry: SignedEntry | None, removal: Removal | None, verdict: SignedVerdict | None
    ) -> Held:
        """What is held of a node."""
        return Held(key, entry, removal, verdict)

    def leaf(self, nodes: tuple[Held, ...]) -> Leaf:
        """A leaf of the digest tree."""
        return Leaf(nodes)

    def inner(self, children: tuple[Branch, ...]) -> Inner:
        """An inner node of the digest tree."""
        return Inner(children)
