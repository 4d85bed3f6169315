"""What a mesh of 3000 nodes is asked for, under a virtual clock and network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from section import Figure, Section
from simulated import LARGE, RESIDENT, SCENARIOS, SMALL, Measure, Run, Scenario, run

METHOD = """\
`smegctl simulate` on a virtual clock: the real engine and the real codec, a message takes a log-normal time with a
median of 25 ms. Worst of seeds 1 to {seeds}; one seed where more than a virtual minute passes. All else is default.
The resident memory is the most that any of these runs took. Each run is a process of its own; what it gave is kept
in .build/soak, and it is not run again before its code has changed (smegctl, the simulator, the engine)."""
CUT = """
What takes more than two virtual minutes is cut to two, and marked so; `make soak` runs it whole."""
NEVER = float("inf")


def measure() -> Section:
    """3000 nodes; what takes long is cut."""
    return section(SMALL, whole=False)


def section(nodes: int, *, whole: bool) -> Section:
    """All scenarios with so many nodes; SIMULATED_NODES and SIMULATED_SEEDS make it less, to try this out."""
    nodes = int(os.environ.get("SIMULATED_NODES", nodes))
    seeds = int(os.environ.get("SIMULATED_SEEDS", "5"))
    figures: list[Figure] = []
    resident = false_downs = 0.0
    for scenario in SCENARIOS:
        arguments = scenario.arguments(nodes, whole=whole)
        runs = [run([*arguments, "--seed", str(seed + 1)]) for seed in range(min(scenario.seeds, seeds))]
        resident = max(resident, *(one.resident for one in runs))
        false_downs += sum(one.outcome.get("false_downs") or 0 for one in runs)
        for figure in _figures(scenario, runs, nodes, whole=whole):
            print(figure.row(), file=sys.stderr, flush=True)
            figures.append(figure)
    figures.append(_figure("held for down and were not, in all of these", false_downs, "nodes", 0, nodes))
    figures.append(_figure("resident memory", resident, "MiB", RESIDENT[nodes > SMALL], nodes))
    title = f"A simulated mesh of {nodes} nodes"
    method = METHOD.format(seeds=seeds)
    return Section(title, method if whole else method + CUT, tuple(figures))


def _figures(scenario: Scenario, runs: list[Run], nodes: int, *, whole: bool) -> Iterator[Figure]:
    cut = scenario.cut is not None and not whole
    for measure in scenario.measures:
        failures = sorted({one.failure for one in runs if one.failure})
        marks = [*failures, f"cut to `{scenario.cut}`"] if cut else failures
        what = f"{measure.what} ({'; '.join(marks)})" if marks else measure.what
        bound = scenario.cut_bound if cut and scenario.cut_bound is not None else measure.bound(nodes)
        yield _figure(what, max(_value(scenario, measure, one) for one in runs), measure.unit, bound, nodes)


def _figure(what: str, value: float, unit: str, bound: float, nodes: int) -> Figure:
    return Figure(what, value, unit, bound, gate=nodes < LARGE)


def _value(scenario: Scenario, measure: Measure, one: Run) -> float:
    """What was measured; never, if not all agreed afterwards."""
    agreed = not one.failure and (one.outcome["converged"] or not scenario.settles)
    value = measure.read(one.outcome) if agreed else None
    return NEVER if value is None else float(value)
