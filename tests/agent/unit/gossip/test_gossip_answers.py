"""What a comparison of digests answers, and what that may cost."""

from __future__ import annotations

from itertools import product
from random import Random
from types import SimpleNamespace

from smegmesh.crdt.digest import DigestTree
from smegmesh.crdt.held import Held
from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.pool import Pool
from smegmesh.gossip.antientropy import descend, describe
from smegmesh.gossip.codec import MAX_NODES, Nodes, WantNodes, encode


def _tree(items: int) -> DigestTree:
    """So many nodes, each with all three items: all that a leaf can hold."""
    rng, tree = Random(1), DigestTree(Pool())
    for _ in range(items):
        order = MAX_NUMBER, rng.randbytes(32)
        said = SimpleNamespace(order=order, horizon=order)
        tree.put(Held(rng.randbytes(32), said, said, said))  # type: ignore[arg-type]
    return tree


def test_a_node_that_is_told_often_is_walked_once() -> None:
    """Each costs a walk over the items under its prefix, and a frame of 5 KB holds a thousand of the root."""
    tree = _tree(100)
    give, questions = descend(tree, Nodes(leaves=[(b"", [])] * MAX_NODES))
    assert len(give.new) == len(set(give.new)) == 300
    assert questions == []
    _give, questions = descend(tree, Nodes(inner=[(b"", [bytes(32)] * 16)] * MAX_NODES))
    assert questions == [WantNodes([bytes([nibble]) for nibble in range(16)])]


def test_nodes_of_the_tree_are_at_most_900_times_what_asks_for_them() -> None:
    """The tree with the fullest leaves at the shortest prefixes that fill a frame, and the prefixes that pay best."""
    tree = _tree(16**3 * 12)
    answers = {
        prefix: len(encode(describe(tree, [prefix]))) / (2 + len(prefix))
        for depth in range(4)
        for prefix in map(bytes, product(range(16), repeat=depth))
    }
    best = sorted(answers, key=answers.__getitem__, reverse=True)
    for count in (1, 16, MAX_NODES):
        asked = encode(WantNodes(best[:count]))
        assert len(encode(describe(tree, best[:count]))) <= 900 * len(asked)
