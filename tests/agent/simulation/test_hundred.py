"""A hundred peers that start at once, a change, and a death: what it costs in copies a node."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from smegmesh.gossip.codec import Items, Nodes, Root, WantItems, WantNodes, decode
from smegmesh.gossip.view import Liveness
from smegmesh.simulation.mesh import Simulation

_NODES = 100
#: 1.4 s until it is quiet, probes at once, 0.5 and 1 s later, each unanswered for 1 s, then timers and the flood.
_DOWN_WITHIN = 3.8


class _Traffic:
    """Frames by kind, and copies of records, as they arrive."""

    def __init__(self, simulation: Simulation) -> None:
        self.frames: Counter[type] = Counter()
        self.records = 0
        simulation.frames.append(self._count)

    def _count(self, source: str, target: str, frame: bytes) -> None:
        message = decode(frame)
        self.frames[type(message)] += 1
        if isinstance(message, Items):
            self.records += len(message.records)

    def reset(self) -> None:
        self.frames.clear()
        self.records = 0


@pytest.fixture(scope="module")
def mesh() -> tuple[Simulation, _Traffic]:
    simulation = Simulation(1, _NODES)
    traffic = _Traffic(simulation)
    simulation.start()
    simulation.run_until(lambda: not simulation.violations(), 5, 0.1)
    return simulation, traffic


def test_a_cold_start(mesh: tuple[Simulation, _Traffic]) -> None:
    simulation, traffic = mesh
    assert traffic.records / _NODES**2 <= 12, "copies of each record a node"
    simulation.run_for(90)
    assert not simulation.violations()
    assert {len(simulation.engine(name).links()) for name in simulation.nodes} <= {4, 5, 6}
    assert not any(simulation.engine(name).counters.keys() - {"duplicate", "stale"} for name in simulation.nodes)


def test_a_change_reaches_all_in_few_hops_and_copies(mesh: tuple[Simulation, _Traffic]) -> None:
    simulation, traffic = mesh
    traffic.reset()
    node = simulation.nodes["p7"]
    entry = simulation.view("p7").members[node.key].entry
    simulation.call("p7", "set_entry", replace(entry, description="changed"))
    assert simulation.run_until(lambda: not simulation.violations(), 2, 0.01) <= 0.15
    assert traffic.records <= 6 * _NODES
    assert not any(traffic.frames[kind] for kind in (Nodes, WantNodes, WantItems))


def test_a_death_is_known_to_all(mesh: tuple[Simulation, _Traffic]) -> None:
    simulation, traffic = mesh
    traffic.reset()
    simulation.kill_host("p9")
    assert simulation.run_until(lambda: simulation.liveness("p9") == {Liveness.DOWN}, 10) <= _DOWN_WITHIN
    assert traffic.records <= 6 * 6 * _NODES, "a verdict of each of six observers"


def test_peace_costs_pings_and_root_digests_only(mesh: tuple[Simulation, _Traffic]) -> None:
    simulation, traffic = mesh
    simulation.start("p9")
    simulation.run_for(50)
    traffic.reset()
    simulation.run_for(10)
    assert not simulation.violations()
    assert traffic.frames[Root] <= 2 * _NODES * 1.5
    assert not any(traffic.frames[kind] for kind in (Nodes, WantNodes, WantItems))
    assert sum(traffic.frames.values()) <= 10 * _NODES * 10
