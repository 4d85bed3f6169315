"""Anti-entropy: two nodes compare digests and descend only where they differ.

Whoever compares asks; the other only answers from its tree. So the state of a
comparison is in the messages alone, and a lost one is repeated by the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from smegmesh.crdt.digest import Children, DigestTree, Item, Items
from smegmesh.gossip.codec import MAX_ITEMS, MAX_NODES, Nodes, Root, Same, Slot, WantItems, WantNodes


def answer_root(tree: DigestTree, message: Root) -> Same | Nodes:
    """Answer to a comparison of roots."""
    return Same(tree.root) if message.root == tree.root else describe(tree, [b""])


def describe(tree: DigestTree, prefixes: Iterable[bytes]) -> Nodes:
    """The nodes at these prefixes. Raises ValueError for what is no prefix."""
    inner = []
    leaves = []
    for prefix in prefixes:
        node = tree.node(prefix)
        if isinstance(node, Children):
            inner.append((prefix, list(node.digests)))
        else:
            leaves.append((prefix, [(item.kind, item.key, item.order) for item in node.items]))
    return Nodes(inner, leaves)


def descend(tree: DigestTree, theirs: Nodes) -> tuple[list[Slot], list[WantItems | WantNodes]]:
    """Compare with the nodes of a peer: what to give it, and what to ask next. Raises ValueError.

    A node that is there more than once counts once: each costs a walk over the items under its prefix.
    """
    deeper: list[bytes] = []
    give: list[Slot] = []
    slots: list[Slot] = []
    for prefix, digests in dict(theirs.inner).items():
        deeper += tree.compare(prefix, Children(tuple(digests))).descend
    for prefix, leaf in dict(theirs.leaves).items():
        found = tree.compare(prefix, Items(tuple(Item(kind, key, order) for kind, key, order in leaf)))
        give += (Slot(item.kind, item.key) for item in found.here)
        slots += (Slot(item.kind, item.key) for item in found.there)
    questions: list[WantItems | WantNodes] = []
    questions += (WantItems(slots[at : at + MAX_ITEMS]) for at in range(0, len(slots), MAX_ITEMS))
    questions += (WantNodes(deeper[at : at + MAX_NODES]) for at in range(0, len(deeper), MAX_NODES))
    return give, questions
