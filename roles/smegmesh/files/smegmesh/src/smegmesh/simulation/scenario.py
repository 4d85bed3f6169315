"""Scenarios: what is done to a simulated mesh, and what is measured.

All start from a mesh that has been running for long, but `cold-start`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from smegmesh.crdt.entry import Role
from smegmesh.crdt.held import MapKind
from smegmesh.crdt.statement import SignedEntry
from smegmesh.gossip.codec import Slot
from smegmesh.gossip.engine import Engine
from smegmesh.gossip.view import Liveness
from smegmesh.simulation import bridge_crash
from smegmesh.simulation.mesh import Simulation, entry_of
from smegmesh.simulation.node import Node
from smegmesh.simulation.settled import settle
from smegmesh.simulation.setup import DURATIONS, Kind, Outcome, Progress, Setup, quantile, rounded
from smegmesh.simulation.traffic import CLASSES

#: Virtual seconds after which what was to happen has not happened.
_LIMIT = 300.0
_STEP = 0.25
#: So long after the measurement a mesh may take until all agree again.
_AGREE = 15.0
_STALLS = (1.0, 5.0)


def run(setup: Setup, progress: Progress = lambda _share, _text: None) -> Outcome:
    """Run a scenario from its beginning. The same setup gives the same outcome."""
    if setup.kind is Kind.BRIDGE_CRASH:
        return bridge_crash.run(setup, progress)
    return _Run(setup, progress).outcome()


class _Run:
    def __init__(self, setup: Setup, progress: Progress) -> None:
        self._setup = setup
        self._progress = progress
        self._duration = setup.duration or DURATIONS.get(setup.kind, 0.0)
        self.simulation = Simulation(
            setup.seed,
            setup.nodes - setup.clients,
            setup.clients,
            latency=setup.latency,
            loss=setup.loss,
            sharing=setup.sharing,
            heartbeat=setup.heartbeat,
        )
        self._times: list[float] = []
        self._waiting: set[Node] = set()
        self._knows: Callable[[Engine], bool] = lambda _engine: True
        self._start = 0.0
        self._falsely_down: set[bytes] = set()
        self._rightly_down: set[bytes] = set()
        self._counts_downs = setup.kind not in (Kind.PARTITION, Kind.CHURN)
        self._copies: int | None = None

    def outcome(self) -> Outcome:
        """Do it all."""
        simulation, setup = self.simulation, self._setup
        if setup.kind is not Kind.COLD_START:
            self._progress(0.0, "settling")
            settle(simulation)
        if setup.stalled:
            for name in simulation.nodes:
                self._stall_later(name)
        simulation.on_view = self._on_view
        simulation.traffic.bytes.clear()
        begin = simulation.clock.now
        all_s = _SCENARIOS[setup.kind](self)
        seconds = max(simulation.clock.now - begin, _STEP)
        times = sorted(self._times)
        complete = not self._waiting
        sent = simulation.traffic.bytes.copy()
        converged = complete and self._until_converged(_AGREE) is not None
        last = all_s if all_s is not None else times[-1] if times and complete else None
        return Outcome(
            setup.nodes,
            setup.kind.value,
            setup.seed,
            rounded(quantile(times, 0.5, len(times) + len(self._waiting))),
            rounded(quantile(times, 0.99, len(times) + len(self._waiting))),
            rounded(last),
            None if self._copies is None else round(self._copies / setup.nodes, 3),
            round(seconds, 3),
            {name: round(sent[name] / seconds / setup.nodes, 1) for name in CLASSES},
            len(self._falsely_down) if self._counts_downs else None,
            converged,
        )

    # Scenarios: each returns how long it took until all was well, if that is not when the last node knew.

    def change(self) -> None:
        """One node changes its entry."""
        node = self._pick(1)[0]
        before = self.simulation.view(node.name).members[node.key].number
        self._expect(lambda engine: engine.view().members[node.key].number > before)
        entry = replace(entry_of(node), description="changed")
        self.simulation.call(node.name, "set_entry", entry)
        said = node.disk.last_said(Slot(MapKind.ENTRY, node.key))
        assert isinstance(said, SignedEntry)
        self._copies = 0
        self.simulation.frames.append(partial(self._count_copy, said.record.signature))
        self._wait()
        self.simulation.run_for(1.0)  # for the copies that are still under way

    def crash(self) -> None:
        """Agents die, their hosts go on."""
        self._fail(self.simulation.kill_process, Liveness.MUTE)

    def silent_crash(self) -> None:
        """Hosts die without a word."""
        self._fail(self.simulation.kill_host, Liveness.DOWN)

    def hung_leader(self) -> None:
        """The leader goes on answering, but refreshes no more: from a refresh on, when it takes the longest."""
        leader = self._leader()
        node = next(node for node in self.simulation.nodes.values() if node.key == leader)
        self._until_refreshed(node)
        self._expect(lambda engine: engine.view().leader != leader, without=(node,))
        node.hung = True
        self._wait(4 * self._setup.heartbeat)

    def cold_start(self) -> float | None:
        """All nodes start at once and know nobody."""
        everybody = len(self.simulation.nodes)
        self._waiting = set(self.simulation.nodes.values())
        self._knows = lambda engine: engine.size == everybody
        self.simulation.start()
        self._wait()
        return self._until_converged()

    def partition(self) -> float | None:
        """Half from half, then healed."""
        names = list(self.simulation.nodes)
        self.simulation.random.shuffle(names)
        half = len(names) // 2
        self.simulation.partition(names[:half], names[half:])
        self._last("apart")
        self.simulation.heal()
        return self._until_converged()

    def churn(self) -> float | None:
        """Something happens to a node in a hundred each second; then all start."""
        simulation, random = self.simulation, self.simulation.random
        rate = max(len(simulation.nodes) / 100, 0.5)
        end = simulation.clock.now + self._duration
        while True:
            simulation.run_for(min(random.expovariate(rate), end - simulation.clock.now))
            if simulation.clock.now >= end:
                break
            self._tell(self._duration - (end - simulation.clock.now), "churn")
            self._disturb(random.choice(list(simulation.nodes)))
        for name, node in simulation.nodes.items():
            node.doom = None
            if node.engine is None:
                simulation.start(name)
        return self._until_converged()

    def idle(self) -> None:
        """Nothing happens."""
        self._last("idle")

    # What they are made of

    def _pick(self, count: int) -> list[Node]:
        peers = [node for node in self.simulation.nodes.values() if node.role is Role.PEER]
        return self.simulation.random.sample(peers, count)

    def _fail(self, kill: Callable[[str], None], expected: Liveness) -> None:
        peers = self._setup.nodes - self._setup.clients
        failing = self._pick(min(max(1, round(self._setup.share * peers)), peers - 1))
        keys = {node.key for node in failing}

        def knows(engine: Engine) -> bool:
            failed = engine.failed()
            return len(failed) >= len(keys) and all(failed.get(key) is expected for key in keys)

        self._expect(knows, without=failing)
        if expected is Liveness.DOWN:
            self._rightly_down = keys
        for node in failing:
            kill(node.name)
        self._wait()

    def _disturb(self, name: str) -> None:
        simulation, random = self.simulation, self.simulation.random
        node = simulation.nodes[name]
        if node.engine is None:
            simulation.start(name)
        elif random.random() < 0.2:
            simulation.call(name, "leave")
            simulation.kill_process(name)
        elif random.random() < 0.3:
            simulation.doom(name, random.randint(0, 30))
        else:
            random.choice((simulation.kill_host, simulation.kill_process))(name)

    def _expect(self, knows: Callable[[Engine], bool], without: list[Node] | tuple[Node, ...] = ()) -> None:
        """Measure from now on when each node knows."""
        self._start = self.simulation.clock.now
        self._knows = knows
        self._waiting = {node for node in self.simulation.nodes.values() if node.engine is not None} - set(without)

    def _wait(self, limit: float = _LIMIT) -> None:
        """Let time pass until all know."""
        total = len(self._waiting)
        end = self.simulation.clock.now + limit
        while self._waiting and self.simulation.clock.now < end:
            self.simulation.run_for(_STEP)
            self._progress(1 - len(self._waiting) / total, f"{total - len(self._waiting)} of {total} know")

    def _last(self, what: str) -> None:
        end = self.simulation.clock.now + self._duration
        while self.simulation.clock.now < end:
            self.simulation.run_for(min(_STEP, end - self.simulation.clock.now))
            self._tell(self._duration - (end - self.simulation.clock.now), what)

    def _tell(self, passed: float, what: str) -> None:
        self._progress(passed / self._duration, f"{what} for {passed:.0f} of {self._duration:g} s")

    def _until_converged(self, limit: float = _LIMIT) -> float | None:
        start = self.simulation.clock.now if self._setup.kind is not Kind.COLD_START else 0.0
        end = self.simulation.clock.now + limit
        while not self.simulation.is_converged():
            if self.simulation.clock.now >= end:
                return None
            self.simulation.run_for(_STEP)
            self._progress(1.0, "until all maps are equal")
        return self.simulation.clock.now - start

    def _until_refreshed(self, leader: Node) -> None:
        assert leader.engine is not None
        sent, before = leader.engine.sent.frames, leader.engine.sent.frames["refresh"]
        end = self.simulation.clock.now + 2 * self._setup.heartbeat
        while sent["refresh"] == before and self.simulation.clock.now < end:
            self.simulation.run_for(_STEP / 10)

    def _leader(self) -> bytes | None:
        return next(node.engine.view().leader for node in self.simulation.nodes.values() if node.engine is not None)

    # What is seen

    def _on_view(self, node: Node) -> None:
        engine = node.engine
        assert engine is not None
        if node in self._waiting and self._knows(engine):
            self._waiting.discard(node)
            self._times.append(self.simulation.clock.now - self._start)
        if not self._counts_downs:
            return
        failed = engine.failed()
        if failed:
            suspects = failed.keys() - self._rightly_down - self._falsely_down
            self._falsely_down.update(key for key in suspects if failed[key] is Liveness.DOWN)

    def _count_copy(self, signature: bytes, _source: str, _target: str, frame: bytes) -> None:
        if signature in frame:
            assert self._copies is not None
            self._copies += 1

    # Stalls

    def _stall_later(self, name: str) -> None:
        """A process runs for a while, then stands still: so long that the share of those that stand is as told."""
        shortest, longest = _STALLS
        runs = (shortest + longest) / 2 * (1 - self._setup.stalled) / self._setup.stalled
        clock, random = self.simulation.clock, self.simulation.random
        clock.at(clock.now + random.expovariate(1 / runs), self._stall, name)

    def _stall(self, name: str) -> None:
        clock = self.simulation.clock
        self.simulation.freeze(name)
        clock.at(clock.now + self.simulation.random.uniform(*_STALLS), self._go_on, name)

    def _go_on(self, name: str) -> None:
        self.simulation.thaw(name)
        self._stall_later(name)


_SCENARIOS: dict[Kind, Callable[[_Run], float | None]] = {
    Kind.CHANGE: _Run.change,
    Kind.CRASH: _Run.crash,
    Kind.SILENT_CRASH: _Run.silent_crash,
    Kind.HUNG_LEADER: _Run.hung_leader,
    Kind.COLD_START: _Run.cold_start,
    Kind.PARTITION: _Run.partition,
    Kind.CHURN: _Run.churn,
    Kind.IDLE: _Run.idle,
}
