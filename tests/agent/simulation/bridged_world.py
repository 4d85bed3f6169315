"""A simulation of bridged meshes in the eyes of a `World`: where a packet would go at this moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from routing_world import Computed, Host, World
from smegmesh.crdt.entry import Role
from smegmesh.routing.plan import LocalPolicy, Plan, make_plan
from smegmesh.simulation.bridged import Bridged
from smegmesh.simulation.paper import Machine

_NONE = Machine("", ())
#: Packets whose ways are followed at an instant.
_PACKETS = 12


@dataclass(frozen=True)
class SimulatedHost(Host):
    """A host with the keys that it has in the simulation."""

    machine: Machine = _NONE

    @property
    def key(self) -> bytes:
        return self.machine.key


class Snapshot(World):
    """What every living host's kernel would hold, computed for those whom somebody asks for."""

    def __init__(self, bridged: Bridged) -> None:
        super().__init__(
            SimulatedHost(machine.name, machine.meshes, machine.meshes if machine.bridge else (), machine=machine)
            for machine in bridged.machines.values()
        )
        self._bridged = bridged
        self.take()

    def take(self) -> Snapshot:
        """Look anew."""
        self.down = set(self._bridged.dead)
        self.computed = _Computed(self._bridged)
        return self

    def follow_packets(self, random: Random, one: str, other: str) -> None:
        """Of packets between two meshes, and between any others, none goes round."""
        self.take()
        living = [host for host in self.hosts.values() if host.name not in self.down]
        ends = [[host for host in living if mesh in host.meshes] for mesh in (one, other)]
        for number in range(_PACKETS):
            source, target = random.sample(living, 2) if number % 2 else map(random.choice, ends)
            for start, end in ((source, target), (target, source)):
                address = end.address(random.choice(end.meshes))
                way = self.walk(start.name, start.address(random.choice(start.meshes)), address)
                assert way[-1] != "expired", way


class _Computed(dict[str, Computed]):
    def __init__(self, bridged: Bridged) -> None:
        super().__init__()
        self._bridged = bridged

    def __missing__(self, name: str) -> Computed:
        self[name] = Computed(self._bridged.routing(name), _Plans(self._bridged, name))
        return self[name]


class _Plans(dict[str, Plan]):
    def __init__(self, bridged: Bridged, name: str) -> None:
        super().__init__()
        self._bridged = bridged
        self._name = name

    def __missing__(self, mesh: str) -> Plan:
        policy = LocalPolicy(self._bridged.machines[self._name].role)
        allowed = self._bridged.routing(self._name).allowed[mesh]
        self[mesh] = make_plan(self._bridged.view(self._name, mesh), policy, allowed)
        return self[mesh]


def meshes_of(random: Random, meshes: int, size: int, cycles: int, clients: int = 0) -> Iterator[Machine]:
    """Meshes of so many members, joined at random into one with so many cycles, two bridges at each joint."""
    names = [f"m{number}" for number in range(meshes)]
    joints = {(random.choice(names[:number]), names[number]) for number in range(1, meshes)}
    while len(joints) < meshes - 1 + cycles:
        one, other = sorted(random.sample(range(meshes), 2))
        joints.add((names[one], names[other]))
    bridges = [Machine(f"{one}-{other}-{number}", (one, other)) for one, other in sorted(joints) for number in (1, 2)]
    yield from bridges
    for mesh in names:
        for number in range(size - sum(mesh in bridge.meshes for bridge in bridges)):
            yield Machine(f"{mesh}-{number}", (mesh,), Role.CLIENT if number < clients else Role.PEER)
