"""Four meshes in a ring, two bridges at each joint: the shortest ways, and no packet goes round while one breaks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
from agents import Agent, Pinging, eventually
from namespaces import Host, Lab
from test_bridges import reaches, start, way

pytestmark = pytest.mark.netns

MESHES = "abcd"
JOINTS = ("ab", "bc", "cd", "da")


@pytest.fixture
def ring(make: Callable[..., Agent]) -> dict[str, Agent]:
    """A peer pa, pb, … in each mesh, and bridges xab1, xab2, xbc1, …"""
    agents = {f"p{mesh}": make(f"p{mesh}", meshes=(mesh,)) for mesh in MESHES}
    bridges = [f"x{joint}{number}" for joint in JOINTS for number in (1, 2)]
    agents |= {name: make(name, meshes=tuple(name[1:3]), bridges=tuple(name[1:3])) for name in bridges}
    joined = {name: (name[1],) if name[0] == "p" else tuple(name[1:3]) for name in agents}
    start(agents, joined, bridges)
    eventually(lambda: all_reach_all(agents), 60, "everybody reaches everybody")
    return agents


def all_reach_all(agents: dict[str, Agent]) -> bool:
    return all(reaches(agents[f"p{one}"], agents[f"p{other}"], other) for one, other in permutations(MESHES, 2))


def lengths(agents: dict[str, Agent]) -> dict[str, int | None]:
    """How many meshes are on the way from each mesh to each other, seen from its peer."""
    ways = {one + other: way(agents[f"p{one}"], one, other) for one, other in permutations(MESHES, 2)}
    return {pair: None if found is None else len(found) - 1 for pair, found in ways.items()}


def expired(host: Host) -> int:
    """Packets that died of age there: each is answered by "time exceeded"."""
    counters = dict(line.split() for line in host.run("cat", "/proc/net/snmp6").splitlines())
    return int(counters["Icmp6OutTimeExcds"])


def test_a_ring_and_what_is_left_of_it(ring: dict[str, Agent], lab: Lab) -> None:
    around = {
        one + other: 1 if one + other in JOINTS or other + one in JOINTS else 2
        for one, other in permutations(MESHES, 2)
    }
    eventually(lambda: lengths(ring) == around, 15, "all ways are the shortest")
    there, back = way(ring["pa"], "a", "c"), way(ring["pc"], "c", "a")
    assert there is not None and back is not None
    assert there[1] == back[1]  # the same of the two ways of equal length, both ways
    lost = [name for name in ring if name.startswith(("xab", "xda")) and there[1] in name]
    pings = [Pinging(ring["pa"], ring["pc"].address_in("c")), Pinging(ring["pb"], ring["pd"].address_in("d"))]
    for name in lost:  # a whole joint on that way
        lab.plug(ring[name].host, in_=False)
    one, other = sorted(("a", there[1]))
    chain = around | {one + other: 3, other + one: 3}
    eventually(lambda: lengths(ring) == chain, 20, "what is left is a chain of four")
    eventually(lambda: all_reach_all(ring), 15, "everybody reaches everybody the other way round")
    for name in lost:
        lab.plug(ring[name].host, in_=True)
    eventually(lambda: lengths(ring) == around, 30, "it is a ring again")
    eventually(lambda: all_reach_all(ring), 15, "everybody reaches everybody again")
    print(f"without an answer for at most {[ping.gap() for ping in pings]} s")
    assert {name: expired(agent.host) for name, agent in ring.items()} == dict.fromkeys(ring, 0)
