"""What single calls cost, and a change against everything: `pytest tests/agent/benchmark`."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from functools import cache

import bench_engine
import bench_plan
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.record import Record, decode_record
from smegmesh.crdt.statement import SignedEntry, accept_entry
from smegmesh.routing.plan import make_plan
from smegmesh.simulation.credentials import credentials

FEW, MANY = 300, 3000
KNOWN = 10_000
ROUNDS = 5

pytestmark = pytest.mark.timeout(0)


@cache
def records(count: int) -> list[tuple[Record, str]]:
    """The entries of so many members, each with the name under which it has its credentials."""
    return [(bench_engine.record(f"p{number}", 1), f"p{number}") for number in range(count)]


@cache
def statements(count: int) -> list[SignedEntry]:
    """The same, verified."""
    return [accept_entry(record, bench_engine.MESH, credentials(name).certificate) for record, name in records(count)]


def merged(entries: list[SignedEntry]) -> MeshMap:
    mesh = MeshMap(bench_engine.MESH)
    for entry in entries:
        mesh.merge_entry(entry)
    return mesh


def test_merge_of_3000_entries(benchmark: BenchmarkFixture) -> None:
    mesh = benchmark.pedantic(merged, (statements(MANY),), rounds=ROUNDS)
    assert mesh.size == MANY


def test_decode_and_verify_of_one(benchmark: BenchmarkFixture) -> None:
    (record, name), *_others = records(1)
    certificate = credentials(name).certificate
    triple = record.triple
    entry = benchmark(lambda: accept_entry(decode_record(*triple), bench_engine.MESH, certificate))
    assert entry.record == record


def test_digest_of_10_000(benchmark: BenchmarkFixture) -> None:
    def fresh() -> tuple[tuple[MeshMap], dict[str, object]]:
        return (merged(statements(KNOWN)),), {}

    root = benchmark.pedantic(lambda mesh: mesh.root, setup=fresh, rounds=ROUNDS)
    assert root == merged(statements(KNOWN)).root


def test_the_plan_of_a_view(benchmark: BenchmarkFixture) -> None:
    plan = benchmark(make_plan, bench_plan.view(MANY), bench_plan.POLICY)
    assert len(plan.peers) == MANY * 2 // 3 - 1, "the other peers; the clients are theirs"


def test_the_plan_of_one_change_costs_the_same_however_many_members_there_are(benchmark: BenchmarkFixture) -> None:
    few, many = (bench_plan.one_change(bench_plan.view(count)) for count in (FEW, MANY))
    benchmark(many)
    # Ten times the members: what went through them all would take about ten times as long.
    assert best(many) < 5 * best(few)


def best(action: Callable[[], object]) -> float:
    """Seconds that a call takes when nothing comes in between."""
    return min(timeit.repeat(action, number=20, repeat=50))
