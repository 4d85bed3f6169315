"""What has to hold of the routing of hosts in several meshes once everybody knows everything."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import networkx

from routing_world import Host, World
from smegmesh.routing.paths import pair_weight

#: Above any sum of weights: the number of meshes counts first.
_MESH = 1 << 80


def graph(world: World) -> networkx.Graph:
    """The meshes, and between which of them somebody forwards."""
    found = networkx.Graph()
    for host in world.hosts.values():
        found.add_nodes_from(host.meshes)
        if host.name not in world.down:
            for one, other in combinations(host.bridges, 2):
                found.add_edge(one, other, weight=_MESH + pair_weight(one, other))
    return found


def shortest(world: World) -> Mapping[str, Mapping[str, list[str]]]:
    return dict(networkx.all_pairs_dijkstra_path(graph(world)))


def check_tables(world: World) -> None:
    expected = shortest(world)
    for name in world.hosts:
        if name in world.down:
            continue
        for mesh, choices in world.computed[name].routing.best.items():
            found = {other: [mesh, *choice.path] for other, choice in choices.items()}
            assert found == {other: path for other, path in expected[mesh].items() if other != mesh}, (name, mesh)


def check_packets(world: World) -> None:
    """Everybody who lives reaches everybody by all their addresses, and back the same way."""
    connected = {mesh: set(paths) for mesh, paths in shortest(world).items()}
    living = [host for host in world.hosts.values() if host.name not in world.down and not strands(world, host)]
    for one, other in combinations(living, 2):
        for here in one.meshes:
            for there in other.meshes:
                ways = world.walk(one.name, one.address(here), other.address(there))
                back = world.walk(other.name, other.address(there), one.address(here))
                if there in connected[here]:
                    assert ways[-1] == back[-1] == "arrived", (ways, back)
                    assert direct(ways) == direct(back)[::-1], (ways, back)
                    assert world.walk(one.name, None, other.address(there))[-1] == "arrived"
                    assert world.walk(other.name, None, one.address(here))[-1] == "arrived"
                else:
                    assert "arrived" not in (ways[-1], back[-1])


def direct(way: list[str]) -> list[str]:
    """The hosts on a way that arrived, from where it left the first for the last time.

    A standby bridge that is the home of a client gets back what it sent there through the active one.
    """
    *hosts, _end = way
    return hosts[len(hosts) - 1 - hosts[::-1].index(hosts[0]) :]


def strands(world: World, host: Host) -> bool:
    return any(home in world.down for home, _backup in host.homes.values())
