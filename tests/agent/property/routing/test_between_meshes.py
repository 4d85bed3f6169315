"""Routing between meshes: shortest paths, the same way back, and no loop whoever knows what."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from routing_checks import check_packets, check_tables
from routing_world import Host, World

SEEDS = st.integers(0, 1 << 32)


def hosts(random: Random) -> Iterator[Host]:
    """Up to seven meshes with a peer, a client and up to ten bridges of two or three of them."""
    meshes = [f"m{number}" for number in range(random.randint(2, 7))]
    for mesh in meshes:
        yield Host(f"{mesh}-peer", (mesh,))
        yield Host(f"{mesh}-client", (mesh,), homes={mesh: (f"{mesh}-peer", None)})
    for number in range(random.randint(1, 10)):
        joined = tuple(random.sample(meshes, min(len(meshes), random.choice([2, 2, 2, 3]))))
        bridges = joined if random.random() < 0.9 else joined[:1]  # some are in two meshes and do not forward
        yield Host(f"b{number}", joined, bridges=bridges)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_every_table_is_that_of_the_shortest_paths_and_every_way_leads_back(seed: int) -> None:
    random = Random(seed)
    world = World(hosts(random))
    world.settle()
    check_tables(world)
    check_packets(world)
    world.down = {host.name for host in world.hosts.values() if host.bridges and random.random() < 0.3}
    world.settle()
    check_tables(world)
    check_packets(world)


@given(SEEDS)
@example(714077)  # two bridges in the same two meshes, and in one more each: out by the one, back by the other
@settings(max_examples=100, deadline=None)
def test_no_packet_goes_round_whoever_knows_what(seed: int) -> None:
    """Bridges die and come back, everybody notices and tells when it likes: no packet dies of old age."""
    random = Random(seed)
    world = World(hosts(random))
    world.settle()
    bridges = [host.name for host in world.hosts.values() if host.bridges]
    for _step in range(12):
        world.down ^= {random.choice(bridges)}
        for name in random.choices(list(world.hosts), k=random.randint(0, 8)):
            world.look(name)
            if random.random() < 0.5:
                world.tell(name)
        for one, other in random.choices(list(permutations(world.hosts.values(), 2)), k=40):
            if one.name not in world.down:
                way = world.walk(one.name, one.address(one.meshes[0]), other.address(other.meshes[-1]))
                assert way[-1] != "expired", way


def ring(*between: tuple[str, str]) -> list[Host]:
    """A peer and a client in each mesh, two bridges at each joint."""
    meshes = sorted({mesh for pair in between for mesh in pair})
    ends = [Host(f"{mesh}-peer", (mesh,)) for mesh in meshes]
    clients = [Host(f"{mesh}-client", (mesh,), homes={mesh: (f"{mesh}-peer", None)}) for mesh in meshes]
    joints = [Host(f"{one}{other}{number}", (one, other), (one, other)) for one, other in between for number in (1, 2)]
    return [*ends, *clients, *joints]


@pytest.mark.parametrize(
    "between",
    [(("a", "b"), ("b", "c"), ("c", "d")), (("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"))],
    ids=["a chain of four", "a ring of four"],
)
def test_chain_and_ring(between: tuple[tuple[str, str], ...]) -> None:
    world = World(ring(*between))
    world.settle()
    check_tables(world)
    check_packets(world)
    for lost in ({"ab1"}, {"ab2"}, {"ab1", "ab2"}):  # one of two, the other, the whole joint
        world.down = lost
        world.settle()
        check_tables(world)
        check_packets(world)
