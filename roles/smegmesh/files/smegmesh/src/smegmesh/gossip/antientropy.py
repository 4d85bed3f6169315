"""Anti-entropy: two nodes compare digests and descend only where they differ.

Whoever compares asks; the other only answers from its tree. So the state of a
comparison is in the messages alone, and a lost one is repeated by the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from smegmesh.crdt.digest import Children, DigestTree, Items
from smegmesh.crdt.held import Item
from smegmesh.gossip.codec import MAX_ITEMS, MAX_NODES, Nodes, Root, Same, Slot, WantItems, WantNodes


@dataclass(slots=True)
class Difference:
    """What one side lacks. `new` are the items of nodes of which it holds nothing."""

    slots: list[Slot] = field(default_factory=list)
    new: list[Slot] = field(default_factory=list)


def answer_root(tree: DigestTree, message: Root) -> Same | Nodes:
    """Answer to a comparison of roots."""
    return Same(tree.root) if message.root == tree.root else describe(tree, [b""])


def describe(tree: DigestTree, prefixes: Iterable[bytes]) -> Nodes:
    """The nodes at these prefixes. Raises ValueError for what is no prefix."""
    inner = []
    leaves = []
    for prefix in prefixes:
        node = tree.branch(prefix)
        if isinstance(node, Children):
            inner.append((prefix, list(node.digests)))
        else:
            leaves.append((prefix, [(item.kind, item.key, item.order) for item in node.items]))
    return Nodes(inner, leaves)


def descend(tree: DigestTree, theirs: Nodes) -> tuple[Difference, list[WantItems | WantNodes]]:
    """Compare with the nodes of a peer: what to give it, and what to ask next. Raises ValueError.

    A node that is there more than once counts once: each costs a walk over the items under its prefix.
    """
    deeper: list[bytes] = []
    give, want = Difference(), Difference()
    for prefix, digests in dict(theirs.inner).items():
        deeper += tree.compare(prefix, Children(tuple(digests))).descend
    for prefix, leaf in dict(theirs.leaves).items():
        items = tuple(Item(kind, key, order) for kind, key, order in leaf)
        found = tree.compare(prefix, Items(items))
        known = {item.key for item in items}
        for item in found.here:
            (give.slots if item.key in known else give.new).append(Slot(item.kind, item.key))
        for item in found.there:
            (want.new if tree.get(item.key) is None else want.slots).append(Slot(item.kind, item.key))
    questions: list[WantItems | WantNodes] = []
    questions += (WantItems(want.slots[at : at + MAX_ITEMS]) for at in range(0, len(want.slots), MAX_ITEMS))
    questions += (WantItems([], want.new[at : at + MAX_ITEMS]) for at in range(0, len(want.new), MAX_ITEMS))
    questions += (WantNodes(deeper[at : at + MAX_NODES]) for at in range(0, len(deeper), MAX_NODES))
    return give, questions
