"""A host that forwards between two meshes dies without a word: how soon everybody's routes are right again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle

from smegmesh.crdt.entry import Role
from smegmesh.gossip.view import Liveness
from smegmesh.simulation.bridged import Bridged
from smegmesh.simulation.node import Node
from smegmesh.simulation.paper import Machine
from smegmesh.simulation.setup import Outcome, Progress, Setup, quantile, rounded
from smegmesh.simulation.traffic import CLASSES

_LIMIT = 60.0  # virtual seconds until it is given up
_AGREE = 15.0  # the same until all agree
_STEP = 0.25
_BRIDGES = 2  # at each joint


def run(setup: Setup, progress: Progress) -> Outcome:
    """Run it from its beginning. The same setup gives the same outcome."""
    return _Run(setup, progress).outcome()


def ring(nodes: int, meshes: int, clients: int = 0) -> Iterator[Machine]:
    """A ring of meshes with two bridges at each joint; all other hosts are spread over the meshes, the clients last."""
    names = [f"m{number}" for number in range(meshes)]
    joints = list(zip(names, names[1:] + names[:1], strict=True))[: meshes if meshes > 2 else 1]
    bridges = [Machine(f"{one}-{other}-{number}", (one, other)) for one, other in joints for number in range(_BRIDGES)]
    yield from bridges
    peers = nodes - clients - len(bridges)
    for number, mesh in zip(range(nodes - len(bridges)), cycle(names), strict=False):
        yield Machine(f"{mesh}-{number}", (mesh,), Role.PEER if number < peers else Role.CLIENT)


class _Run:
    def __init__(self, setup: Setup, progress: Progress) -> None:
        self._setup = setup
        self._progress = progress
        self._bridged = Bridged(
            setup.seed,
            ring(setup.nodes, setup.meshes, setup.clients),
            latency=setup.latency,
            loss=setup.loss,
            heartbeat=setup.heartbeat,
        )
        self._dead = self._pick()
        self._dead_key = self._bridged.machines[self._dead].key
        self._tables = self._bridged.settled(self._dead).tables
        self._start = 0.0
        self._wrong: set[str] = set()
        self._times: dict[str, float] = {}  # from the death until the routes of a host were right for the last time
        self._falsely_down: set[bytes] = set()

    def outcome(self) -> Outcome:
        """Do it all."""
        bridged = self._bridged
        self._progress(0.0, "settling")
        bridged.settle()
        self._begin()
        converged = self._wait(lambda: not self._wrong, _LIMIT)
        seconds = max(bridged.clock.now - self._start, _STEP)
        sent = sum((simulation.traffic.bytes for simulation in bridged.meshes.values()), Counter[str]())
        converged = converged and self._wait(self._is_converged, _AGREE)
        times, everybody = sorted(self._times.values()), len(self._times) + len(self._wrong)
        return Outcome(
            self._setup.nodes,
            self._setup.kind.value,
            self._setup.seed,
            rounded(quantile(times, 0.5, everybody)),
            rounded(quantile(times, 0.99, everybody)),
            rounded(quantile(times, 1.0, everybody)),
            None,
            round(seconds, 3),
            {name: round(sent[name] / seconds / self._setup.nodes, 1) for name in CLASSES},
            len(self._falsely_down),
            converged,
        )

    def _begin(self) -> None:
        """The bridge dies."""
        bridged = self._bridged
        bridged.on_view, bridged.on_routes = self._on_view, self._on_routes
        for simulation in bridged.meshes.values():
            simulation.traffic.bytes.clear()
        self._start = bridged.clock.now
        bridged.kill_host(self._dead)
        self._wrong.update(name for name in bridged.living() if not bridged.is_right(name, self._tables))

    def _pick(self) -> str:
        """An active bridge."""
        bridges = [machine for machine in self._bridged.machines.values() if machine.bridge]
        tables = self._bridged.settled().tables
        active = [each for each in bridges if tables[each.meshes[0]][each.meshes[1]].via == each.key]
        return self._bridged.random.choice(active).name

    def _wait(self, condition: Callable[[], bool], limit: float) -> bool:
        end = self._bridged.clock.now + limit
        while not condition():
            if self._bridged.clock.now >= end:
                return False
            self._bridged.run_for(_STEP)
            total = len(self._wrong) + len(self._times)
            self._progress(len(self._times) / max(total, 1), f"{len(self._times)} of {total} route right again")
        return True

    def _is_converged(self) -> bool:
        return not self._wrong and all(simulation.is_converged() for simulation in self._bridged.meshes.values())

    def _on_routes(self, name: str) -> None:
        if not self._bridged.is_right(name, self._tables):
            self._times.pop(name, None)
            self._wrong.add(name)
        elif name in self._wrong:
            self._wrong.remove(name)
            self._times[name] = self._bridged.clock.now - self._start

    def _on_view(self, node: Node) -> None:
        assert node.engine is not None
        failed = node.engine.failed()
        suspects = failed.keys() - {self._dead_key}
        self._falsely_down.update(key for key in suspects if failed[key] is Liveness.DOWN)
