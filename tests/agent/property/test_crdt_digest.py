"""The digest tree is a function of what it holds, a state is a value, and a descent costs what the difference costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from hashlib import sha256
from math import log
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdt_nodes import Said
from smegmesh.crdt import digest
from smegmesh.crdt.digest import FANOUT, LEAF_ITEMS, LEAF_NODES, MAX_DEPTH, Children, DigestTree, Items
from smegmesh.crdt.held import Item, MapKind
from smegmesh.crdt.order import Order
from smegmesh.crdt.pool import Pool
from smegmesh.simulation import sharing
from smegmesh.simulation.sharing import SharedPool

both_pools = pytest.mark.parametrize("pool", [Pool, SharedPool])


@cache
def said(key: bytes, kind: MapKind, order: Order) -> Any:
    """Each statement is one object."""
    return Said(order)


def item(number: int, raised: int = 0) -> Item:
    """Three a node."""
    key = sha256(b"key %d" % (number // 3)).digest()
    return Item(MapKind(number % 3 + 1), key, (1 + raised, sha256(b"%d" % raised).digest()))


def place(key: bytes) -> bytes:
    """The nibbles of a node's hash."""
    return bytes(int(digit, 16) for digit in sha256(b"smegmesh/node\0" + key).hexdigest())


def put(made: DigestTree, pool: Pool, each: Item) -> None:
    """As a map does it: what is held of the node, with another item."""
    old = made.get(each.key)
    parts = [None, None, None] if old is None else [old.entry, old.removal, old.verdict]
    parts[each.kind - 1] = said(each.key, each.kind, each.order)
    made.put(pool.held(each.key, *parts))


def tree(items: Iterable[Item], pool: Pool | None = None) -> DigestTree:
    pool = Pool() if pool is None else pool
    made = DigestTree(pool)
    for each in items:
        put(made, pool, each)
    return made


def shape(of: DigestTree, prefix: bytes = b"") -> object:
    branch = of.branch(prefix)
    if isinstance(branch, Items):
        return branch
    return [branch, *(shape(of, prefix + bytes([nibble])) for nibble in range(FANOUT))]


def defined(items: set[Item], depth: int = 0) -> bytes:
    """The digest, by its definition alone."""
    if len({each.key for each in items}) > LEAF_NODES:
        groups = ({each for each in items if place(each.key)[depth] == nibble} for nibble in range(FANOUT))
        return sha256(b"\1" + b"".join(defined(group, depth + 1) for group in groups)).digest()
    ordered = sorted(items, key=lambda each: (place(each.key), each.kind))
    packed = (bytes([kind]) + key + number.to_bytes(8, "big") + hashed for kind, key, (number, hashed) in ordered)
    return sha256(b"\0" + b"".join(packed)).digest()


items = st.lists(st.integers(0, 90), unique=True, max_size=80).map(lambda numbers: [item(n) for n in numbers])
numbered = st.dictionaries(st.integers(0, 90), st.integers(0, 2), max_size=80).map(
    lambda raised: [item(number, up) for number, up in raised.items()]
)


@both_pools
@given(some=items, rng=st.randoms(use_true_random=False))
def test_structure_is_a_function_of_the_set(pool: Callable[[], Pool], some: list[Item], rng: Random) -> None:
    shuffled = [*some, *some[:5]]
    rng.shuffle(shuffled)
    made = tree(some, pool())
    assert shape(made) == shape(tree(shuffled, pool()))
    assert made.root == defined(set(some))
    assert set(made.items()) == set(some)
    assert {held.key for held in made} == {each.key for each in some}


@given(items, items)
def test_roots_are_equal_exactly_when_the_sets_are(one: list[Item], other: list[Item]) -> None:
    assert (tree(one).root == tree(other).root) == (set(one) == set(other))


@both_pools
@given(some=numbered, data=st.data())
def test_asking_in_between_changes_nothing(pool: Callable[[], Pool], some: list[Item], data: st.DataObject) -> None:
    """Digests are computed lazily: none may be that of an earlier state."""
    parts = pool()
    made = DigestTree(parts)
    for each in some:
        if data.draw(st.booleans()):
            assert made.root
        put(made, parts, each)
    put(made, parts, item(0, raised=3))
    assert made.root == tree([*some, item(0, raised=3)]).root


@given(items, st.lists(st.integers(0, 15), max_size=4).map(bytes))
def test_a_branch_is_the_tree_of_the_items_under_its_prefix(some: list[Item], prefix: bytes) -> None:
    under = {each for each in some if place(each.key).startswith(prefix)}
    whole = tree(some)
    assert set(whole.items(prefix)) == under
    branch = whole.branch(prefix)
    assert isinstance(branch, Items) == (len({each.key for each in under}) <= LEAF_NODES)
    if isinstance(branch, Items):
        assert branch.items == tuple(sorted(under, key=lambda each: (place(each.key), each.kind)))
    else:
        assert branch.digests == tuple(whole.digest(prefix + bytes([nibble])) for nibble in range(FANOUT))
    assert whole.digest(prefix) == defined(under, len(prefix))


@given(items, st.integers(0, 40))
def test_a_node_is_found(some: list[Item], number: int) -> None:
    key = item(3 * number).key
    held = tree(some).get(key)
    assert set(() if held is None else held.items()) == {each for each in some if each.key == key}


@both_pools
def test_nodes_are_told_apart_whose_keys_begin_alike(pool: type[Pool]) -> None:
    keys = [b"k" + sha256(b"%d" % number).digest()[:31] for number in range(3 * LEAF_NODES)]
    made = tree([Item(MapKind.ENTRY, key, (1, bytes(32))) for key in keys], pool())
    raised = tree([*made.items(), Item(MapKind.ENTRY, keys[7], (2, bytes(32)))], pool())
    for key in keys:
        held = raised.get(key)
        assert held is not None
        assert list(held.items()) == [Item(MapKind.ENTRY, key, (1 + (key == keys[7]), bytes(32)))]
    assert raised.get(b"k" + bytes(31)) is None
    assert raised.get(b"") is None


def test_near_a_place_are_few_and_whoever_may_share_its_address() -> None:
    for held in ALL:
        assert held in ALL.near(held.place)
        assert held in ALL.near(held.place[:16] + bytes(MAX_DEPTH - 16))
        assert len(ALL.near(held.place)) <= LEAF_NODES


def test_keys_that_crowd_under_one_prefix_are_split_as_deep_as_needed() -> None:
    keys = (sha256(b"crowd %d" % number).digest() for number in range(20_000))
    crowd = [key for key in keys if place(key)[:2] == b"\0\0"][: LEAF_NODES + 1]
    made = tree(Item(MapKind.ENTRY, key, (1, bytes(32))) for key in crowd)
    for prefix in (b"", b"\0", b"\0\0"):
        assert isinstance(made.branch(prefix), Children)
    assert isinstance(made.branch(b"\1"), Items)
    assert {near.key for near in made.near(place(crowd[0]))} < set(crowd)
    assert made.root != tree(list(made.items())[1:]).root


# A state is a value


@both_pools
@given(before=numbered, after=numbered)
def test_a_snapshot_is_not_changed_by_what_comes_later(
    pool: Callable[[], Pool], before: list[Item], after: list[Item]
) -> None:
    parts = pool()
    made = tree(before, parts)
    snapshot, held, expected = made.snapshot(), list(made), shape(made)
    for each in after:
        put(made, parts, each)
    assert list(snapshot) == held
    assert shape(snapshot) == expected
    assert snapshot.root == defined(set(before))
    put(snapshot, parts, item(0, raised=7))
    final = {(each.kind, each.key): each for each in [*before, *after]}
    assert made.root == defined(set(final.values())), "nor the other way round"


@both_pools
@given(before=numbered, one=numbered, other=numbered)
def test_what_differs_is_exactly_what_is_held_otherwise(
    pool: Callable[[], Pool], before: list[Item], one: list[Item], other: list[Item]
) -> None:
    """Between any two states of one pool: one that grew out of the other, or both out of a third."""
    parts = pool()
    start = tree(before, parts)
    states = [start, start.snapshot(), start.snapshot()]
    for state, more in zip(states[1:], (one, other), strict=True):
        for each in more:
            put(state, parts, each)
    for earlier in states:
        for later in states:
            held = {each.key: each for each in earlier}, {each.key: each for each in later}
            keys = held[0].keys() | held[1].keys()
            differing = list(later.differing(earlier))
            assert len(differing) == len(set(differing))
            assert set(differing) == {key for key in keys if held[0].get(key) is not held[1].get(key)}


@given(numbered, st.randoms(use_true_random=False))
def test_of_a_shared_pool_equal_states_are_one_object(some: list[Item], rng: Random) -> None:
    pool = SharedPool()
    shuffled = some.copy()
    rng.shuffle(shuffled)
    one, other = tree(some, pool), tree(shuffled, pool)
    assert one._root is other._root
    assert not list(one.differing(other))
    put(one, pool, item(0, raised=7))
    assert one._root is not other._root
    put(other, pool, item(0, raised=7))
    assert one._root is other._root


@given(numbered, numbered, st.integers(1, 5))
@settings(deadline=None)
def test_what_a_shared_pool_forgot_is_made_again(one: list[Item], other: list[Item], generation: int) -> None:
    kept, sharing._GENERATION = sharing._GENERATION, generation
    try:
        pool = SharedPool()
        trees = [tree(each, pool) for each in (one, other, one)]
    finally:
        sharing._GENERATION = kept
    assert [made.root for made in trees] == [defined(set(each)) for each in (one, other, one)]


def test_two_states_are_compared_by_what_they_do_not_share(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = ALL.snapshot(), ALL.snapshot()
    put(after, Pool(), item(7, raised=1))
    visits = Counter[str]()
    differing = digest._differing

    def counted(*branches: Any) -> Iterator[bytes]:
        visits["branches"] += 1
        return differing(*branches)

    monkeypatch.setattr(digest, "_differing", counted)
    assert list(after.differing(before)) == [item(7).key]
    assert visits["branches"] <= 1 + FANOUT * (log(SIZE, FANOUT) + 1)


# A descent


def descend(mine: DigestTree, theirs: DigestTree) -> tuple[set[Item], set[Item], int]:
    """What each side has that the other lacks, and how many branches were asked for."""
    here: set[Item] = set()
    there: set[Item] = set()
    asked, visited = [b""], 0
    while asked:
        prefix = asked.pop()
        visited += 1
        comparison = mine.compare(prefix, theirs.branch(prefix))
        asked += comparison.descend
        here |= set(comparison.here)
        there |= set(comparison.there)
    return here, there, visited


def newer(one: DigestTree, other: DigestTree) -> set[Item]:
    held = {(each.kind, each.key): each.order for each in other.items()}
    return {each for each in one.items() if held.get((each.kind, each.key), (0, b"")) < each.order}


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
def test_a_descent_visits_branches_in_proportion_to_the_difference(differing: int) -> None:
    numbers = range(7, SIZE, SIZE // differing)
    theirs = tree([*EVERYTHING, *(item(number, raised=1) for number in numbers)])
    here, there, visited = descend(ALL, theirs)
    assert (len(here), len(there)) == (0, differing)
    assert visited <= 1 + differing * (log(SIZE, FANOUT) + 1)


def test_a_descent_from_nothing_is_one_question() -> None:
    assert descend(ALL, tree([])) == (set(EVERYTHING), set(), 1)


def test_an_update_recomputes_one_path() -> None:
    """Digests off the path are the very objects computed before."""
    made = tree(EVERYTHING)
    before = made.branch()
    put(made, Pool(), item(7, raised=1))
    after = made.branch()
    assert isinstance(before, Children)
    assert isinstance(after, Children)
    assert sum(old is not new for old, new in zip(before.digests, after.digests, strict=True)) == 1


@pytest.mark.parametrize("prefix", [b"\x10", b"\0" * (MAX_DEPTH + 1)])
def test_what_is_no_prefix_is_refused(prefix: bytes) -> None:
    for ask in (ALL.branch, ALL.digest, ALL.items):
        with pytest.raises(ValueError, match="prefix"):
            ask(prefix)


def test_a_branch_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="leaf"):
        ALL.compare(b"", Items(tuple(EVERYTHING[: LEAF_ITEMS + 1])))
    with pytest.raises(ValueError, match="inner"):
        ALL.compare(b"", Children((b"",)))
    with pytest.raises(ValueError, match="inner"):
        ALL.compare(b"\0" * MAX_DEPTH, Children((b"",) * FANOUT))
    elsewhere = bytes([place(EVERYTHING[0].key)[0] ^ 1])
    with pytest.raises(ValueError, match="under its prefix"):
        ALL.compare(elsewhere, Items((EVERYTHING[0],)))


def test_a_prefix_as_deep_as_it_gets_can_be_asked_for() -> None:
    assert ALL.branch(place(EVERYTHING[0].key)) == Items(tuple(EVERYTHING[:3]))
