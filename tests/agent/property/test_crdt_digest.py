"""The digest tree is a function of its set, and a descent costs what the difference costs."""

from __future__ import annotations

from hashlib import sha256
from math import log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smegmesh.crdt.digest import FANOUT, LEAF_ITEMS, MAX_DEPTH, Children, DigestTree, Item, Items, MapKind


def item(number: int, raised: int = 0) -> Item:
    key = sha256(b"key %d" % (number // 3)).digest()
    return Item(MapKind(number % 3 + 1), key, (1 + raised, sha256(b"%d" % raised).digest()))


def tree(items: list[Item]) -> DigestTree:
    made = DigestTree()
    for each in items:
        made.put(each)
    return made


def shape(of: DigestTree, prefix: bytes = b"") -> object:
    node = of.node(prefix)
    if isinstance(node, Items):
        return node
    return [node, *(shape(of, prefix + bytes([nibble])) for nibble in range(FANOUT))]


items = st.lists(st.integers(0, 90), unique=True, max_size=80).map(lambda numbers: [item(n) for n in numbers])


@given(items, st.randoms(use_true_random=False))
def test_structure_is_a_function_of_the_set(some: list[Item], rng: Random) -> None:
    shuffled = [*some, *some[:5]]
    rng.shuffle(shuffled)
    assert shape(tree(some)) == shape(tree(shuffled))


@given(items, items)
def test_roots_are_equal_exactly_when_the_sets_are(one: list[Item], other: list[Item]) -> None:
    assert (tree(one).root == tree(other).root) == (set(one) == set(other))


@given(items, st.data())
def test_asking_in_between_changes_nothing(some: list[Item], data: st.DataObject) -> None:
    """Digests are computed lazily: every put must forget the ones above it."""
    made = DigestTree()
    for each in some:
        if data.draw(st.booleans()):
            assert made.root
        made.put(each)
    made.put(item(0, raised=1))
    assert made.root == tree([*some, item(0, raised=1)]).root


@given(items, st.lists(st.integers(0, 15), max_size=4).map(bytes))
def test_a_node_is_the_tree_of_the_items_under_its_prefix(some: list[Item], prefix: bytes) -> None:
    def path(each: Item) -> bytes:
        return bytes(int(digit, 16) for digit in sha256(bytes([each.kind]) + each.key).hexdigest())

    under = {each for each in some if path(each).startswith(prefix)}
    whole = tree(some)
    assert set(whole.items(prefix)) == under
    node = whole.node(prefix)
    assert isinstance(node, Items) == (len(under) <= LEAF_ITEMS)
    if isinstance(node, Items):
        assert [path(each) for each in node.items] == sorted(map(path, under))
    else:
        assert node.digests == tuple(whole.digest(prefix + bytes([nibble])) for nibble in range(FANOUT))
    assert whole.digest(prefix) == tree(list(under)).digest(prefix)


def test_keys_that_crowd_under_one_prefix_are_split_as_deep_as_needed() -> None:
    keys = (sha256(b"crowd %d" % number).digest() for number in range(20_000))
    crowd = [key for key in keys if sha256(b"\1" + key).digest()[0] == 0][: LEAF_ITEMS + 1]
    made = tree([Item(MapKind.ENTRY, key, (1, bytes(32))) for key in crowd])
    for prefix in (b"", b"\0", b"\0\0"):
        assert isinstance(made.node(prefix), Children)
    assert isinstance(made.node(b"\1"), Items)
    assert made.root != tree(list(made.items())[1:]).root


def descend(mine: DigestTree, theirs: DigestTree) -> tuple[set[Item], set[Item], int]:
    """What each side has that the other lacks, and how many nodes were asked for."""
    here: set[Item] = set()
    there: set[Item] = set()
    asked, visited = [b""], 0
    while asked:
        prefix = asked.pop()
        visited += 1
        comparison = mine.compare(prefix, theirs.node(prefix))
        asked += comparison.descend
        here |= set(comparison.here)
        there |= set(comparison.there)
    return here, there, visited


def newer(one: DigestTree, other: DigestTree) -> set[Item]:
    held = {(each.kind, each.key): each.order for each in other.items()}
    return {each for each in one.items() if held.get((each.kind, each.key), (0, b"")) < each.order}


numbered = st.dictionaries(st.integers(0, 90), st.integers(0, 2), max_size=80).map(
    lambda raised: [item(number, up) for number, up in raised.items()]
)


@given(numbered, numbered)
def test_a_descent_finds_exactly_the_difference(one: list[Item], other: list[Item]) -> None:
    mine, theirs = tree(one), tree(other)
    here, there, _ = descend(mine, theirs)
    assert here == newer(mine, theirs)
    assert there == newer(theirs, mine)


SIZE = 4096
EVERYTHING = [item(number) for number in range(SIZE)]
ALL = tree(EVERYTHING)


def test_equal_trees_are_one_question() -> None:
    assert descend(ALL, tree(EVERYTHING[::-1])) == (set(), set(), 1)


@pytest.mark.parametrize("differing", [1, 4, 16, 64])
def test_a_descent_visits_nodes_in_proportion_to_the_difference(differing: int) -> None:
    numbers = range(7, SIZE, SIZE // differing)
    theirs = tree([*EVERYTHING, *(item(number, raised=1) for number in numbers)])
    here, there, visited = descend(ALL, theirs)
    assert (len(here), len(there)) == (0, differing)
    assert visited <= 1 + differing * (log(SIZE, FANOUT) + 1)


def test_a_descent_from_nothing_is_one_question() -> None:
    assert descend(ALL, DigestTree()) == (set(EVERYTHING), set(), 1)


def test_an_update_recomputes_one_path() -> None:
    """Digests off the path are the very objects computed before."""
    made = tree(EVERYTHING)
    before = made.node()
    made.put(item(7, raised=1))
    after = made.node()
    assert isinstance(before, Children)
    assert isinstance(after, Children)
    assert sum(old is not new for old, new in zip(before.digests, after.digests, strict=True)) == 1


@pytest.mark.parametrize("prefix", [b"\x10", b"\0" * (MAX_DEPTH + 1)])
def test_what_is_no_prefix_is_refused(prefix: bytes) -> None:
    with pytest.raises(ValueError, match="prefix"):
        ALL.node(prefix)


def test_a_node_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="leaf"):
        ALL.compare(b"", Items(tuple(EVERYTHING[: LEAF_ITEMS + 1])))
    with pytest.raises(ValueError, match="inner"):
        ALL.compare(b"", Children((b"",)))
    with pytest.raises(ValueError, match="inner"):
        ALL.compare(b"\0" * MAX_DEPTH, Children((b"",) * FANOUT))
    place = sha256(bytes([EVERYTHING[0].kind]) + EVERYTHING[0].key).digest()
    elsewhere = bytes([(place[0] >> 4) ^ 1])
    with pytest.raises(ValueError, match="under its prefix"):
        ALL.compare(elsewhere, Items((EVERYTHING[0],)))


def test_a_prefix_as_deep_as_it_gets_can_be_asked_for() -> None:
    place = sha256(bytes([EVERYTHING[0].kind]) + EVERYTHING[0].key).hexdigest()
    assert ALL.node(bytes(int(digit, 16) for digit in place)) == Items((EVERYTHING[0],))
