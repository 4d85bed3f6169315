"""What a comparison of digests answers, and what that may cost."""

from __future__ import annotations

from itertools import product
from math import log
from random import Random
from types import SimpleNamespace

import pytest

from smegmesh.crdt.digest import FANOUT, DigestTree
from smegmesh.crdt.held import Held
from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.pool import Pool
from smegmesh.gossip.antientropy import answer_root, descend, describe
from smegmesh.gossip.codec import MAX_NODES, Message, Nodes, Root, Same, Slot, WantItems, WantNodes, encode

KNOWN = 10_000
#: A branch with what asks for it: 16 digests of 34 bytes, or a leaf with three items of 80 of each of its few nodes.
_BRANCH = 700


def _tree(items: int) -> DigestTree:
    """So many nodes, each with all three items: all that a leaf can hold."""
    rng, tree = Random(1), DigestTree(Pool())
    for _ in range(items):
        order = MAX_NUMBER - 1, rng.randbytes(32)
        said = SimpleNamespace(order=order, horizon=order)
        tree.put(Held(rng.randbytes(32), said, said, said))  # type: ignore[arg-type]
    return tree


def _raise(tree: DigestTree, key: bytes) -> None:
    """A node has another entry, under a higher number."""
    held = tree.get(key)
    assert held is not None
    entry = SimpleNamespace(order=(MAX_NUMBER, bytes(32)))
    tree.put(Held(key, entry, held.removal, held.verdict))  # type: ignore[arg-type]


def _compare(asking: DigestTree, asked: DigestTree) -> tuple[list[Message], list[Slot]]:
    """One comparison to its end: its messages without the items, and what items are moved."""
    messages: list[Message] = [Root(asking.root)]
    moved: list[Slot] = []
    answers: list[Nodes | Same] = [answer_root(asked, Root(asking.root))]
    while answers:
        messages.append(answer := answers.pop())
        if isinstance(answer, Same):
            continue
        give, questions = descend(asking, answer)
        moved += give.slots + give.new
        for question in questions:
            messages.append(question)
            if isinstance(question, WantItems):
                moved += question.slots + question.new
            else:
                answers.append(describe(asked, question.prefixes))
    return messages, moved


def test_equal_maps_are_compared_by_one_digest() -> None:
    tree = _tree(KNOWN)
    assert _compare(tree, tree.snapshot()) == ([Root(tree.root), Same(tree.root)], [])


@pytest.mark.parametrize("differing", [1, 10, 100, 1000])
def test_a_comparison_costs_the_logarithm_of_all_for_each_difference(differing: int) -> None:
    """Half of the entries are newer on the one side, half on the other."""
    one = _tree(KNOWN)
    other = one.snapshot()
    keys = Random(2).sample([held.key for held in one], differing)
    for number, key in enumerate(keys):
        _raise((one, other)[number % 2], key)
    messages, moved = _compare(one, other)
    assert sorted(slot.key for slot in moved) == sorted(keys)
    assert sum(len(encode(message)) for message in messages) <= differing * (1 + log(KNOWN, FANOUT)) * _BRANCH


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
