"""The map of a mesh, step by step."""

from __future__ import annotations

import pytest

from crdt_nodes import MESH, Node
from smegmesh.crdt.map import MapFull, MeshMap
from smegmesh.crdt.order import MAX_NUMBER, next_number
from smegmesh.crdt.record import Kind, RecordError
from smegmesh.crdt.removal import leave, prune, revoke
from smegmesh.crdt.version import Relation, compare, version_vector

A, B, C = Node("a"), Node("b"), Node("c")


def test_the_higher_entry_wins_and_the_merge_says_whether_it_was_news() -> None:
    mesh = MeshMap(MESH)
    first, second = A.says(1), A.says(2)
    for entry in (first, second):
        held = mesh.merge_entry(entry)
        assert held is not None
        assert held is mesh.get(A.key)
        assert held.entry is entry
    assert mesh.merge_entry(first) is None
    assert mesh.merge_entry(second) is None
    assert dict(mesh.members) == {A.key: second}


def test_equal_numbers_are_ordered_by_hash() -> None:
    low, high = sorted([A.says(1), A.says(1, instance=b"instance")], key=lambda entry: entry.order)
    one, two = MeshMap(MESH), MeshMap(MESH)
    for mesh, order in ((one, (low, high)), (two, (high, low))):
        for entry in order:
            mesh.merge_entry(entry)
        assert mesh.entries[A.key] is high
    assert one.root == two.root


def test_a_left_node_comes_back_with_a_higher_number() -> None:
    mesh = MeshMap(MESH)
    mesh.merge_entry(A.says(1))
    assert mesh.present(A.key)
    assert mesh.merge_removal(leave(A.sign(Kind.LEAVE, 2)))
    assert not mesh.present(A.key)
    assert mesh.entries[A.key].order[0] == 1
    assert mesh.merge_entry(A.says(2))
    assert not mesh.present(A.key)
    mesh.merge_entry(A.says(3))
    assert mesh.present(A.key)


def test_a_prune_covers_exactly_its_entry() -> None:
    mesh = MeshMap(MESH)
    entry = A.says(4)
    mesh.merge_removal(prune(entry.record))
    mesh.merge_entry(entry)
    assert not mesh.present(A.key)
    mesh.merge_entry(A.says(5))
    assert mesh.present(A.key)


def test_a_revoked_node_never_comes_back() -> None:
    mesh = MeshMap(MESH)
    mesh.merge_entry(A.says(1))
    mesh.merge_removal(revoke(A.key, b"by the authority"))
    mesh.merge_entry(A.says(MAX_NUMBER))
    assert mesh.revoked(A.key)
    assert not mesh.present(A.key)
    assert mesh.merge_removal(leave(A.sign(Kind.LEAVE, MAX_NUMBER))) is None


def test_the_floor_is_the_highest_number_of_all_three_maps() -> None:
    mesh = MeshMap(MESH)
    assert mesh.floor(A.key) == 0
    mesh.merge_entry(A.says(3))
    assert mesh.floor(A.key) == 3
    mesh.merge_verdict(A.accuses(5))
    assert mesh.floor(A.key) == 5
    mesh.merge_removal(leave(A.sign(Kind.LEAVE, 9)))
    assert mesh.floor(A.key) == 9
    mesh.merge_removal(revoke(A.key, b"by the authority"))
    assert mesh.floor(A.key) == 5


def test_numbers_end() -> None:
    assert next_number(3, 8) == 9
    assert next_number(MAX_NUMBER - 1, 0) == MAX_NUMBER
    with pytest.raises(ValueError, match="new key"):
        next_number(0, MAX_NUMBER)


def test_a_verdict_is_kept_whether_or_not_its_writer_is_a_member() -> None:
    mesh = MeshMap(MESH)
    verdict = A.accuses(2, frozenset([B.key]))
    mesh.merge_verdict(verdict)
    mesh.merge_entry(A.says(1))
    mesh.merge_removal(leave(A.sign(Kind.LEAVE, 3)))
    assert mesh.verdicts[A.key] is verdict
    assert not mesh.present(A.key)


def test_a_full_map_refuses_new_keys_alone() -> None:
    mesh = MeshMap(MESH, max_members=1, max_horizons=1)
    mesh.merge_entry(A.says(1))
    with pytest.raises(MapFull, match="1 members"):
        mesh.merge_entry(B.says(1))
    assert mesh.merge_entry(A.says(2))
    mesh.merge_verdict(A.accuses(3))
    with pytest.raises(MapFull, match="verdicts"):
        mesh.merge_verdict(B.accuses(3))
    mesh.merge_removal(leave(A.sign(Kind.LEAVE, 4)))
    with pytest.raises(MapFull, match="horizons"):
        mesh.merge_removal(leave(B.sign(Kind.LEAVE, 4)))
    assert mesh.merge_entry(B.says(1))
    with pytest.raises(MapFull):
        mesh.merge_entry(A.says(5))
    assert set(mesh.members) == {B.key}


def test_a_refused_merge_changes_nothing() -> None:
    mesh = MeshMap(MESH, max_members=1)
    mesh.merge_entry(A.says(1))
    before = mesh.root
    with pytest.raises(MapFull):
        mesh.merge_entry(B.says(1))
    with pytest.raises(RecordError, match="mesh"):
        MeshMap("office").merge_entry(A.says(1))
    assert mesh.root == before
    assert B.key not in mesh.entries


def test_version_vectors_compare() -> None:
    one, two = MeshMap(MESH), MeshMap(MESH)
    assert compare(version_vector(one), version_vector(two)) is Relation.EQUAL
    one.merge_entry(A.says(1))
    assert compare(version_vector(one), version_vector(two)) is Relation.AHEAD
    assert compare(version_vector(two), version_vector(one)) is Relation.BEHIND
    two.merge_verdict(B.accuses(1))
    assert compare(version_vector(one), version_vector(two)) is Relation.CONCURRENT
    two.merge_entry(A.says(1))
    one.merge_verdict(B.accuses(1))
    assert version_vector(one) == {A.key: 1, B.key: 1}
    assert compare(version_vector(one), version_vector(two)) is Relation.EQUAL
    two.merge_removal(revoke(C.key, b"by the authority"))
    assert compare(version_vector(one), version_vector(two)) is Relation.BEHIND
