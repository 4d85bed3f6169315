"""Clients behind one NAT: they reach all, and are reached again when it maps them anew or their home dies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from agents import Agent, Pinging, eventually
from namespaces import Lab, Router
from test_agents import all_reach_all, complete

from smegmesh.identity.keys import encode_key

pytestmark = pytest.mark.netns

PEERS, CLIENTS = ("p1", "p2"), ("c1", "c2")
BACK = 5.0  # seconds within which traffic is back


@pytest.fixture
def router(lab: Lab) -> Router:
    return lab.router("nat")


@pytest.fixture
def mesh(router: Router, make: Callable[..., Agent]) -> dict[str, Agent]:
    """Two peers, and two clients behind one NAT; all reach all."""
    made = {name: make(name) for name in PEERS} | {name: make(name, router) for name in CLIENTS}
    for name, agent in made.items():
        agent.declare("peer" if name in PEERS else "client", [made[peer].host for peer in PEERS])
        agent.start()
    eventually(lambda: all(complete(agent, len(made)) for agent in made.values()), 30, "all agents know all others")
    eventually(lambda: all_reach_all(made), 20, "all hosts ping all others")
    return made


def endpoint(agent: Agent, other: Agent) -> tuple[str, int]:
    """Where an agent's WireGuard sends what is for another's."""
    for line in agent.host.run("wg", "show", "smeg-prod", "dump").splitlines()[1:]:
        key, _secret, where, *_ = line.split("\t")
        if key == encode_key(other.node_key):
            host, _colon, port = where.rpartition(":")
            return host, int(port)
    raise AssertionError("no such WireGuard peer")


def mapped(agent: Agent, client: Agent, outside: str, ports: range) -> bool:
    host, port = endpoint(agent, client)
    return host == outside and port in ports


def test_a_mapping_that_changes_is_followed_and_never_taken_back(mesh: dict[str, Agent], router: Router) -> None:
    client = mesh["c1"]
    home, backup = (mesh[client.mesh()[which]] for which in ("home", "backup"))
    assert endpoint(home, client)[0] == router.host.underlay != client.host.underlay

    for outside, ports in ((router.outside, range(20000, 21000)), ("198.18.0.200", range(30000, 31000))):
        # Nobody sends from within but the agents, and WireGuard itself.
        pings = [Pinging(backup, mesh[name].address) for name in CLIENTS]
        router.masquerade(f"{ports.start}-{ports.stop - 1}")
        router.move(outside)
        eventually(lambda: mapped(home, client, outside, ports), BACK, "the home has learned the new mapping")  # noqa: B023
        eventually(lambda: all_reach_all(mesh), BACK, "all hosts ping all others")
        gaps = [ping.gap() for ping in pings]
        print("seconds without an answer:", gaps)
        assert max(gaps) < BACK

    learned = endpoint(home, client)
    client.declare("client", [mesh[name].host for name in PEERS], alias="moved")
    eventually(lambda: home.members()["c1"]["alias"] == "moved", 10, "the home has followed a change of the client")
    home.stop()
    home.start()
    eventually(lambda: complete(home, len(mesh)), 15, "and was started anew")
    assert endpoint(home, client) == learned
    assert all_reach_all(mesh)


def test_a_home_that_dies_silently_is_bypassed_through_the_nat(mesh: dict[str, Agent], lab: Lab) -> None:
    client = mesh["c1"]
    home, backup = (mesh[client.mesh()[which]] for which in ("home", "backup"))
    pings = [Pinging(backup, client.address), Pinging(mesh["c2"], client.address)]
    lab.plug(home.host, in_=False)
    eventually(lambda: client.host.pings(backup.address), 2 * BACK, "the client through its backup")
    eventually(lambda: mesh["c2"].host.pings(client.address), 2 * BACK, "and the other client reaches it")
    gaps = [ping.gap() for ping in pings]
    print("seconds without an answer:", gaps)
    assert max(gaps) < BACK
