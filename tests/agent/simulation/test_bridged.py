"""Many meshes with bridges between them: how soon after a death all routes are right, and what packets do meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from bridged_world import Snapshot, meshes_of

from routing_checks import check_packets, check_tables
from smegmesh.simulation.bridged import Bridged

#: Virtual seconds from when all know of a death until all routes are right again.
_SETTLES_WITHIN = 2.0
#: The same from when a host is started again; its engine first syncs, and what it told before holds for 5 s.
_RETURNS_WITHIN = 10.0
#: The same from when a bridge is cut off in one of its meshes: it notices after 2.5 s, and hopes for 3 s.
_CUT_OFF_WITHIN = 7.0
_STEP = 0.05


class Course:
    """A simulation of meshes that were joined at random, to which things happen."""

    def __init__(self, seed: int, meshes: int, size: int, cycles: int, clients: int = 0) -> None:
        self.random = Random(seed)
        self.bridged = Bridged(seed, meshes_of(self.random, meshes, size, cycles, clients))
        self.snapshot = Snapshot(self.bridged)
        self.joints = sorted({machine.meshes for machine in self.bridged.machines.values() if machine.bridge})

    def bridges(self, joint: tuple[str, ...]) -> list[str]:
        """The living bridges between two meshes, the active one first."""
        one, other = joint
        active = self.bridged.settled().tables[one][other].via
        machines = [machine for machine in self.bridged.machines.values() if machine.meshes == joint]
        living = [machine for machine in machines if machine.name not in self.bridged.dead]
        return [machine.name for machine in sorted(living, key=lambda machine: machine.key != active)]

    def busiest(self) -> tuple[str, ...]:
        """The joint that most ways lead through."""
        ways = [
            (mesh, *choice.path)
            for mesh, choices in self.bridged.settled().tables.items()
            for choice in choices.values()
        ]
        return Counter(pair for way in ways for pair in pairwise(way) if pair in self.joints).most_common(1)[0][0]

    def dies(self, *names: str) -> tuple[float, float]:
        """Hosts die without a word; seconds until all know, and from then until all routes are right."""
        for name in names:
            self.bridged.kill_host(name)
        joint = self.bridged.machines[names[0]].meshes
        return (
            self._until(lambda: all(map(self.bridged.knows_down, names)), 10, joint),
            self._until(self._right(), _SETTLES_WITHIN, joint),
        )

    def comes_back(self, *names: str) -> float:
        """They are started again; seconds until all routes are right."""
        for name in names:
            self.bridged.start(name)
        return self._until(self._right(), _RETURNS_WITHIN, self.bridged.machines[names[0]].meshes)

    def settles(self) -> float:
        """Seconds until all routes are right."""
        return self._until(self._right(), _RETURNS_WITHIN, self.joints[0])

    def trouble(self) -> None:
        """A bridge dies, comes back, or is cut off in one of its meshes; then some time passes."""
        bridged, random = self.bridged, self.random
        name = random.choice([machine.name for machine in bridged.machines.values() if machine.bridge])
        mesh = bridged.meshes[random.choice(bridged.machines[name].meshes)]
        if name in bridged.dead:
            bridged.start(name)
        elif random.random() < 0.6:
            bridged.kill_host(name)
        else:
            mesh.partition([name], mesh.nodes.keys() - {name})
        if random.random() < 0.3:
            mesh.heal()
        end = bridged.clock.now + random.uniform(0, 3)
        self._until(lambda: bridged.clock.now >= end, 3, random.choice(self.joints))

    def peace(self) -> None:
        """No more of that, and some time."""
        for mesh in self.bridged.meshes.values():
            mesh.heal()
        self._until(self._right(), _RETURNS_WITHIN, self.joints[0])
        self.bridged.run_for(_RETURNS_WITHIN)

    def check(self) -> None:
        """Everybody's tables are those of the shortest paths; the ways of all packets lead back."""
        check_tables(self.snapshot.take())
        check_packets(self.snapshot)

    def is_cut_off(self, name: str) -> tuple[float, float]:
        """A bridge is cut off in its first mesh only; seconds until all go another way, and until they are back."""
        mesh = self.bridged.meshes[self.bridged.machines[name].meshes[0]]
        mesh.partition([name], mesh.nodes.keys() - {name})
        took = self._until(self._right(without=name), _CUT_OFF_WITHIN, self.bridged.machines[name].meshes)
        mesh.heal()
        return took, self._until(self._right(), _RETURNS_WITHIN, self.bridged.machines[name].meshes)

    def _right(self, without: str | None = None) -> Callable[[], bool]:
        tables = self.bridged.settled(without).tables
        concerned = [name for name in self.bridged.living() if name != without]

        def is_right() -> bool:
            return all(self.bridged.is_right(name, tables) for name in concerned)

        return is_right

    def _until(self, condition: Callable[[], bool], limit: float, joint: tuple[str, ...]) -> float:
        one, other = joint

        def holds() -> bool:
            self.snapshot.follow_packets(self.random, one, other)
            return condition()

        return self.bridged.run_until(holds, limit, _STEP)


@pytest.mark.parametrize("seed", range(1, 4))
def test_after_every_death_all_take_the_shortest_ways(seed: int) -> None:
    course = Course(seed, meshes=6, size=8, cycles=2, clients=1)
    course.bridged.settle(routed=False)
    course.settles()
    course.check()
    joint, another = course.random.sample(course.joints, 2)
    active, standby = course.bridges(joint)
    for name in (active, course.bridges(another)[0]):
        course.dies(name)
        course.check()
    course.dies(standby)  # the whole joint is lost
    course.check()
    course.comes_back(active, standby)
    course.check()


def test_a_bridge_that_is_cut_off_in_one_mesh_withdraws_from_the_other() -> None:
    course = Course(1, meshes=4, size=8, cycles=1)
    course.bridged.settle()
    course.is_cut_off(course.bridges(course.busiest())[0])
    course.check()


@pytest.mark.parametrize("seed", [1, 2])
def test_no_packet_goes_round_while_bridges_come_and_go(seed: int) -> None:
    course = Course(seed, meshes=5, size=7, cycles=2, clients=1)
    course.bridged.settle(routed=False)
    for _trouble in range(12):
        course.trouble()
    course.peace()
    course.check()


def test_ten_meshes_of_thirty_settle_after_an_active_bridge_died() -> None:
    _settle_after_deaths(Course(1, meshes=10, size=30, cycles=3))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_thirty_meshes_of_a_hundred_settle_after_an_active_bridge_died() -> None:
    _settle_after_deaths(Course(1, meshes=30, size=100, cycles=8))


def _settle_after_deaths(course: Course) -> None:
    course.bridged.settle()
    assert course.settles() == 0.0
    check_tables(course.snapshot.take())
    active, standby = course.bridges(course.busiest())
    print("an active bridge died: known after {:.2f} s, settled {:.2f} s later".format(*course.dies(active)))
    print("then the other: known after {:.2f} s, settled {:.2f} s later".format(*course.dies(standby)))
    print(f"both back: settled after {course.comes_back(active, standby):.2f} s")
    check_tables(course.snapshot.take())
