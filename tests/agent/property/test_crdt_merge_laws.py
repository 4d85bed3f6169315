"""Merging commutes, associates, is idempotent, and keeps the removed removed."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from crdt_nodes import MESH, Node
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.order import INFINITE
from smegmesh.crdt.record import Kind
from smegmesh.crdt.removal import Removal, leave, prune, revoke
from smegmesh.crdt.statement import SignedEntry, SignedVerdict

Said = SignedEntry | SignedVerdict | Removal

NODES = [Node(name) for name in "ab"]
NUMBERS = range(1, 4)
INSTANCES = (b"one time", b"another.")
ENTRIES = [node.says(number, instance) for node in NODES for number in NUMBERS for instance in INSTANCES]
REMOVALS = [
    *(leave(node.sign(Kind.LEAVE, number, instance=bytes(8))) for node in NODES for number in NUMBERS),
    *(prune(entry.record) for entry in ENTRIES),
]
REVOCATIONS = [revoke(node.key, b"by the authority") for node in NODES]
VERDICTS = [node.accuses(number, frozenset([NODES[0].key])) for node in NODES for number in NUMBERS]

anything = st.lists(st.sampled_from([*ENTRIES, *REMOVALS, *REVOCATIONS, *VERDICTS]), max_size=20)


def put(mesh: MeshMap, said: Iterable[Said]) -> MeshMap:
    for item in said:
        if isinstance(item, SignedEntry):
            mesh.merge_entry(item)
        elif isinstance(item, SignedVerdict):
            mesh.merge_verdict(item)
        else:
            mesh.merge_removal(item)
    return mesh


def a_map(said: Iterable[Said]) -> MeshMap:
    return put(MeshMap(MESH), said)


def held(mesh: MeshMap) -> list[Said]:
    return [*mesh.entries.values(), *mesh.removals.values(), *mesh.verdicts.values()]


def merged(one: MeshMap, other: MeshMap) -> MeshMap:
    return put(a_map(held(one)), held(other))


def state(mesh: MeshMap) -> object:
    return (
        {key: entry.order for key, entry in mesh.entries.items()},
        {key: removal.horizon for key, removal in mesh.removals.items()},
        {key: verdict.order for key, verdict in mesh.verdicts.items()},
        set(mesh.members),
        mesh.root,
    )


@settings(max_examples=300, deadline=None)
@given(anything, st.randoms(use_true_random=False))
def test_any_order_gives_the_same_map(said: list[Said], rng: Random) -> None:
    shuffled = list(said)
    rng.shuffle(shuffled)
    assert state(a_map(said)) == state(a_map(shuffled))


@settings(max_examples=300, deadline=None)
@given(anything, anything)
def test_merge_commutes(one: list[Said], other: list[Said]) -> None:
    assert state(merged(a_map(one), a_map(other))) == state(merged(a_map(other), a_map(one)))


@settings(max_examples=300, deadline=None)
@given(anything, anything, anything)
def test_merge_associates(one: list[Said], two: list[Said], three: list[Said]) -> None:
    a, b, c = a_map(one), a_map(two), a_map(three)
    assert state(merged(merged(a, b), c)) == state(merged(a, merged(b, c)))


@settings(max_examples=300, deadline=None)
@given(anything)
def test_merge_is_idempotent(said: list[Said]) -> None:
    mesh = a_map(said)
    before = state(mesh)
    assert state(put(mesh, said)) == before
    assert state(merged(mesh, mesh)) == before


@settings(max_examples=300, deadline=None)
@given(anything)
def test_a_merge_that_changes_nothing_says_so(said: list[Said]) -> None:
    mesh = MeshMap(MESH)
    for item in said:
        before = mesh.root
        if isinstance(item, SignedEntry):
            changed = mesh.merge_entry(item) is not None
        elif isinstance(item, SignedVerdict):
            changed = mesh.merge_verdict(item) is not None
        else:
            changed = mesh.merge_removal(item) is not None
        assert changed == (mesh.root != before)


@settings(max_examples=300, deadline=None)
@given(anything)
def test_members_are_those_whose_entry_lies_above_their_horizon(said: list[Said]) -> None:
    mesh = a_map(said)
    for node in NODES:
        entries = [item.order for item in said if isinstance(item, SignedEntry) and item.record.node_key == node.key]
        horizons = [item.horizon for item in said if isinstance(item, Removal) and item.node_key == node.key]
        expected = bool(entries) and (not horizons or max(horizons) < max(entries))
        assert mesh.present(node.key) == expected
        assert mesh.horizon(node.key) == max(horizons, default=None)


@settings(max_examples=300, deadline=None)
@given(anything, st.sampled_from(REMOVALS), st.lists(st.sampled_from([*ENTRIES, *VERDICTS])))
def test_a_removed_node_stays_removed_until_it_raises_its_number(
    before: list[Said], removal: Removal, after: list[Said]
) -> None:
    """Nothing that was said up to the horizon, by whomever and how often, brings the node back."""
    mesh = put(a_map(before), [removal])
    horizon = mesh.horizon(removal.node_key)
    assert horizon is not None
    if not mesh.present(removal.node_key):
        put(mesh, [item for item in after if item.order <= horizon])
        assert not mesh.present(removal.node_key)
    if horizon < INFINITE:
        node = next(node for node in NODES if node.key == removal.node_key)
        put(mesh, [node.says(mesh.floor(node.key) + 1)])
        assert mesh.present(node.key)


@settings(max_examples=300, deadline=None)
@given(anything, anything)
def test_equal_roots_mean_equal_maps(one: list[Said], other: list[Said]) -> None:
    a, b = a_map(one), a_map(other)
    assert (a.root == b.root) == (state(a) == state(b))
