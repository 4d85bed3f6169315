"""A schedule: a simulated mesh to which things happen at random, and peace after them.

What has to be remembered of it is kept here: whose disk is not what its node wrote last, who
was revoked, who lies, which machine is a clone. Faults are in `schedule_faults.py`, what has to hold
in peace in `schedule_checks.py`.
"""

from __future__ import annotations

from random import Random

from schedule_checks import Peace, durable_numbers, numbers_go_up, wrong

from smegmesh.crdt.entry import Role
from smegmesh.gossip.engine import Alarm
from smegmesh.gossip.settings import Stored
from smegmesh.simulation.mesh import Simulation
from smegmesh.simulation.node import Node

#: Timing that brings a prune and the redials after it into a schedule of minutes.
SETTINGS = {"forget": 40.0, "redial_other": 20.0}
#: Virtual seconds within which all is well once no fault is left, and for which it has to stay so.
_PEACE_WITHIN = 120.0
_PEACE_LASTS = 20.0
#: The same within which all have heard what is said in peace, too: by the leader, or that somebody dead is pruned.
_NEWS = 1.0
#: The same within which the two machines of one key find each other.
_ALARM_WITHIN = 120.0


class Schedule:
    """Everything follows from the seed. The anchor, one of the bootstrap peers, neither leaves nor loses its disk."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        peers = self.random.randint(2, 9)
        self.simulation = Simulation(seed, peers, self.random.randint(0, 3), **SETTINGS)
        self.anchor = self.random.choice([f"p{number}" for number in range(min(peers, 3))])
        self.damaged: set[str] = set()  # identities whose disk was lost, is an old one or was written by two
        self.copies: dict[str, Stored] = {}  # of disks, by name
        self.revoked: set[str] = set()
        self.left: set[str] = set()
        self.liars: set[str] = set()
        self.clones: dict[str, str] = {}  # whose key a machine has
        self._peace = Peace()
        self._seen: dict[tuple[str, int, bytes], object] = {}

    # What it is made of

    def peers(self) -> list[str]:
        """Running peers with a key of their own."""
        nodes = self.simulation.nodes
        return [name for name in self.running() if nodes[name].role is Role.PEER and name not in self.clones]

    def running(self) -> list[str]:
        """Nodes whose agents run."""
        return self.simulation.running()

    def stopped(self) -> list[str]:
        """Nodes whose agents do not run."""
        return [name for name, node in self.simulation.nodes.items() if node.engine is None]

    def expendable(self, *, among: list[str] | None = None) -> list[str]:
        """Who may go for good."""
        twice = {self.anchor, *self.clones, *self.clones.values()}
        return [name for name in (self.running() if among is None else among) if name not in twice]

    # What happens

    def run_for(self, seconds: float) -> None:
        """Let time pass; what holds at any moment has to hold after it."""
        self.simulation.run_for(seconds)
        found = durable_numbers(self.simulation, self.damaged) + numbers_go_up(self.simulation, self._seen)
        assert not found, found

    def make_peace(self) -> None:
        """End all faults but deaths; then all must be well, and stay so."""
        self._end_faults()
        if self.anchor in self.stopped():
            self.start(self.anchor)
        self._end_clones()
        for name in self.stopped():
            if self.random.random() < 0.7:
                self.start(name)
        self._wait(lambda: wrong(self.simulation, self.anchor), _PEACE_WITHIN)
        self.run_for(_PEACE_LASTS)
        self._wait(lambda: wrong(self.simulation, self.anchor), _NEWS)
        found = self._peace.violated(self.simulation, self.anchor)
        assert not found, found

    def start(self, name: str) -> None:
        """Start an agent; who lied before is honest then."""
        self.liars.discard(name)
        self.left.discard(name)
        self.simulation.start(name)

    def _end_faults(self) -> None:
        simulation = self.simulation
        simulation.heal()
        simulation.network.loss = simulation.network.disorder = 0.0
        for name, node in simulation.nodes.items():
            node.doom = None
            if node.frozen:
                simulation.thaw(name)

    def _end_clones(self) -> None:
        """Two machines with one key end in an alarm that names both, and in no fight; then somebody takes one away."""
        for clone, original in self.clones.items():
            nodes = [self.simulation.nodes[name] for name in (clone, original)]
            for node in nodes:
                if node.engine is None:
                    self.simulation.start(node.name)
            self._wait(lambda nodes=nodes: _without_alarm(nodes), _ALARM_WITHIN)
            self._is_no_fight(nodes)
            for node in nodes:
                node.alarms.clear()
            self.simulation.remove(clone)
            self.simulation.kill_process(original)
            self.start(original)
        self.clones.clear()

    def _is_no_fight(self, nodes: list[Node]) -> None:
        """The number of their key is raised no more, once those that just started have had their three raises."""
        self.simulation.run_for(15)
        number = self._number(nodes[0].key)
        self.simulation.run_for(10)
        assert self._number(nodes[0].key) == number, f"{[node.name for node in nodes]} go on raising their number"

    def _number(self, key: bytes) -> int:
        member = self.simulation.view(self.anchor).members.get(key)
        return 0 if member is None else member.number

    def _wait(self, wrong_now, limit: float) -> None:  # type: ignore[no-untyped-def]
        end = self.simulation.clock.now + limit
        while found := wrong_now():
            assert self.simulation.clock.now < end, f"not within {limit:g} s: {found}"
            self.run_for(0.25)


def _without_alarm(nodes: list[Node]) -> list[str]:
    alarms: list[Alarm] = [alarm for node in nodes for alarm in node.alarms if alarm.kind == "cloned"]
    endpoints = [node.address.replace(":4000", ":51820") for node in nodes if node.role is Role.PEER]
    if any(all(endpoint in alarm.text for endpoint in endpoints) for alarm in alarms):
        return []
    return [f"no alarm names {endpoints}: {[alarm.text for alarm in alarms]}"]
