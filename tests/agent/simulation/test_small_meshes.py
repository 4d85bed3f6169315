"""Meshes of 2 to 12: the survivors agree on who is down, nobody live is down, and who starts again is back."""

from __future__ import annotations

from itertools import combinations

import pytest

from smegmesh.gossip.view import Liveness
from smegmesh.simulation.mesh import Simulation

_SIZES = range(2, 13)
#: 1.4 s until it is quiet, probes at once, 0.5 and 1 s later, each unanswered for 1 s, then timers and the flood.
_DOWN_WITHIN = 3.8


def _mesh(peers: int) -> Simulation:
    simulation = Simulation(peers, peers)
    simulation.start()
    simulation.run_until(lambda: not simulation.violations(), 10)
    simulation.run_for(5)
    assert not simulation.violations()
    return simulation


def _until(simulation: Simulation, name: str, liveness: Liveness) -> float:
    return simulation.run_until(lambda: simulation.liveness(name) == {liveness}, 10)


def _kill_and_start(simulation: Simulation, names: tuple[str, ...]) -> None:
    for name in names:
        simulation.kill_host(name)
    simulation.run_until(lambda: all(simulation.liveness(name) == {Liveness.DOWN} for name in names), 12)
    simulation.run_for(3)
    assert not simulation.violations()
    simulation.start(*names)
    simulation.run_until(lambda: not simulation.violations(), 10)
    simulation.run_for(8)
    assert not simulation.violations()


@pytest.mark.parametrize("peers", _SIZES)
def test_a_dead_host_is_down_everywhere_within_the_patience(peers: int) -> None:
    simulation = _mesh(peers)
    for name in simulation.running()[:4]:
        simulation.kill_host(name)
        assert _until(simulation, name, Liveness.DOWN) <= _DOWN_WITHIN
        simulation.run_for(1)
        assert not simulation.violations()
        simulation.start(name)
        simulation.run_until(lambda: not simulation.violations(), 10)
        simulation.run_for(2)


@pytest.mark.parametrize("peers", [2, 3, 7])
def test_a_dead_agent_on_a_live_host_is_mute(peers: int) -> None:
    simulation = _mesh(peers)
    simulation.kill_process("p0")
    assert _until(simulation, "p0", Liveness.MUTE) <= 3.3
    simulation.run_for(60)
    assert simulation.liveness("p0") == {Liveness.MUTE}
    simulation.run_for(600)
    assert simulation.liveness("p0") == {Liveness.DOWN}
    simulation.start("p0")
    simulation.run_until(lambda: not simulation.violations(), 10)


@pytest.mark.parametrize("peers", range(3, 7))
def test_any_two_dead_hosts(peers: int) -> None:
    simulation = _mesh(peers)
    for pair in combinations(simulation.running(), 2):
        _kill_and_start(simulation, pair)


@pytest.mark.parametrize("peers", _SIZES)
def test_half_of_the_hosts_at_once(peers: int) -> None:
    simulation = _mesh(peers)
    names = simulation.running()
    simulation.random.shuffle(names)
    _kill_and_start(simulation, tuple(names[: peers // 2]))


@pytest.mark.parametrize("peers", _SIZES)
def test_all_but_one(peers: int) -> None:
    simulation = _mesh(peers)
    _kill_and_start(simulation, tuple(simulation.running()[1:]))


def test_timers_that_were_set_anew_do_not_pile_up() -> None:
    simulation = _mesh(6)
    waiting = len(simulation.clock._calls)
    for _round in range(3):
        _kill_and_start(simulation, ("p0", "p1"))
    assert len(simulation.clock._calls) <= waiting + 2 * len(simulation.nodes)
