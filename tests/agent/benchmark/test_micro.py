"""What a change costs against what everything costs: `pytest tests/agent/benchmark`."""

from __future__ import annotations

import timeit
from collections.abc import Callable

import bench_plan
from pytest_benchmark.fixture import BenchmarkFixture

from smegmesh.routing.plan import make_plan

FEW, MANY = 300, 3000


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
