"""Meshes that are bridged: hosts of one reach hosts of another, by the shortest way, whatever dies on it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from itertools import permutations

import pytest
from agents import Agent, Pinging, eventually
from namespaces import Lab
from sites import Stream, serve

pytestmark = pytest.mark.netns

Make = Callable[..., Agent]


def start(agents: dict[str, Agent], joined: dict[str, tuple[str, ...]], bridges: Iterable[str] = ()) -> None:
    """Declare what is said and start it: `joined` are the meshes of a host; whose name begins with c is a client."""
    for name, agent in agents.items():
        for mesh in joined[name]:
            peers = [other for other in agents if mesh in joined[other] and not other.startswith("c")]
            bootstrap = [agents[other].host for other in peers[:3]]
            role = "client" if name.startswith("c") else "peer"
            agent.declare(role, bootstrap, mesh, bridge=name in bridges)
        agent.start()


def reaches(one: Agent, other: Agent, mesh: str) -> bool:
    return one.host.pings(other.address_in(mesh))


def way(agent: Agent, mesh: str, other: str) -> list[str] | None:
    """How a host gets from a mesh to another: the member it begins with, and the meshes on the way."""
    status = agent.mesh(mesh)
    routes = [route for route in (status or {}).get("routes", []) if route["mesh"] == other]
    return [routes[0]["via"], *routes[0]["path"]] if routes else None


class TwoMeshes:
    """a1, a2, ca in a; b1, b2, cb in b; x1 and x2 between them."""

    def __init__(self, make: Make) -> None:
        grants = {"meshes": ("a", "b"), "bridges": ("a", "b")}
        self.agents = {name: make(name, meshes=(mesh,)) for name, mesh in _ENDS.items()}
        self.agents |= {name: make(name, **grants) for name in ("x1", "x2")}
        joined = {name: (mesh,) for name, mesh in _ENDS.items()} | {"x1": ("a", "b"), "x2": ("a", "b")}
        start(self.agents, joined, bridges=("x1", "x2"))
        eventually(self.all_agree, 40, "everybody knows both bridges")
        eventually(self.all_reach_all, 20, "everybody reaches everybody")

    def __getitem__(self, name: str) -> Agent:
        return self.agents[name]

    def ends(self, *without: str) -> list[str]:
        return [name for name in _ENDS if name not in without]

    def all_reach_all(self) -> bool:
        return all(
            reaches(self[one], self[other], _ENDS[other])
            for one, other in permutations(_ENDS, 2)
            if _ENDS[one] != _ENDS[other]
        )

    def all_agree(self) -> bool:
        """Whether all know all five members of their mesh, and take the same bridge."""
        if not all(whole(self[name]) for name in _ENDS):
            return False
        ways = {tuple(way(self[name], mesh, "b" if mesh == "a" else "a") or ()) for name, mesh in _ENDS.items()}
        return len(ways) == 2 and len({found[0] for found in ways if found}) == 1

    def active(self) -> str:
        found = way(self["a1"], "a", "b")
        assert found is not None
        return found[0]


_ENDS = {"a1": "a", "a2": "a", "ca": "a", "b1": "b", "b2": "b", "cb": "b"}


def test_two_meshes_and_two_bridges(make: Make, lab: Lab) -> None:
    world = TwoMeshes(make)
    active = world.active()
    standby = "x1" if active == "x2" else "x2"
    assert way(world["ca"], "a", "b") == [active, "b"]
    assert way(world["cb"], "b", "a") == [active, "a"]
    assert all(reaches(world["x1"], world[name], _ENDS[name]) for name in _ENDS)
    pings = [Pinging(world["a1"], world["b1"].address_in("b")), Pinging(world["ca"], world["cb"].address_in("b"))]
    lab.plug(world[active].host, in_=False)
    eventually(lambda: way(world["a1"], "a", "b") == [standby, "b"], 15, "the other bridge takes over")
    eventually(world.all_reach_all, 10, "everybody reaches everybody")
    assert max(ping.gap() for ping in pings) <= 5
    lab.plug(world[active].host, in_=True)
    eventually(lambda: way(world["a1"], "a", "b") == [active, "b"], 20, "the active one is back")
    eventually(world.all_reach_all, 15, "everybody reaches everybody again")


def test_restarts_lose_nothing(make: Make) -> None:
    """Every agent of a bridged topology anew, one after the other, under pings and connections through it."""
    world = TwoMeshes(make)
    active = world.active()
    pings = [
        Pinging(world["a1"], world["b1"].address_in("b")),
        Pinging(world["b2"], world["a2"].address_in("a")),
        Pinging(world["ca"], world["cb"].address_in("b")),
    ]
    for name in ("b1", "cb"):
        serve(world[name].host, str(world[name].address_in("b")))
    streams = [
        Stream(world["a1"].host, str(world["b1"].address_in("b"))),
        Stream(world["ca"].host, str(world["cb"].address_in("b"))),
    ]
    for agent in world.agents.values():
        agent.stop()
        agent.start()
        eventually(lambda agent=agent: whole(agent), 20, f"{agent.host.name} knows everybody again")  # type: ignore[misc]
        assert world.active() == active
    world[active].stop(signal.SIGKILL)
    world[active].start()
    eventually(lambda: whole(world[active]), 20, "the killed agent knows everybody again")
    assert [ping.lost() for ping in pings] == [0, 0, 0]
    went_on = [stream.end() for stream in streams]
    assert all(each["sent"] > 100 and each["longest"] < 1 for each in went_on), went_on


def whole(agent: Agent) -> bool:
    """Whether it is up in all its meshes and knows all five members of each."""
    meshes = [mesh for mesh in (agent.mesh("a"), agent.mesh("b")) if mesh is not None]
    return bool(meshes) and all(mesh["state"] == "up" and mesh["members"]["alive"] == 5 for mesh in meshes)
