"""Members that say what they may not, or what is not theirs: no kernel state changes, no packet passes, it is told."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from agents import Agent, eventually
from namespaces import Lab

from smegmesh.crdt.entry import BridgedRoute
from smegmesh.identity.address import mesh_prefix
from smegmesh.identity.keys import encode_key

pytestmark = pytest.mark.netns

Make = Callable[..., Agent]
SUBNET = "2001:db8:10::/48"


def kernel_state(agent: Agent) -> str:
    """Routes, rules, filters and allowed IPs of a host."""
    host = agent.host
    return "\n".join(
        [
            host.run("ip", "-6", "route", "show", "table", "all", "proto", "87"),
            host.run("ip", "-6", "rule"),
            host.run("nft", "list", "table", "inet", "smegmesh"),
            "\n".join(sorted(host.run("wg", "show", "all", "allowed-ips").splitlines())),
        ]
    )


def complete(agent: Agent, count: int, mesh: str = "prod") -> bool:
    found = agent.mesh(mesh)
    return found is not None and found["state"] == "up" and found["members"]["alive"] == count


class Liar:
    """Takes an agent's place, with all its keys, and says what it is told to."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._lie = agent.state / "lie"
        self._said = 0
        agent.stop()
        agent.start(str(Path(__file__).with_name("liar.py")), str(self._lie))
        eventually(lambda: complete(agent, 4), 20, "the liar is back")

    def say(self, **attributes: object) -> None:
        """Have its entry say this, once it speaks again because its alias is another."""
        self._lie.write_bytes(pickle.dumps(attributes))
        self._said += 1
        self._agent.declare("peer", [self._agent.host], alias=f"lie{self._said}")


@pytest.fixture
def world(make: Make) -> dict[str, Agent]:
    """Two peers of which one accepts everything that it is let, a client, and one who will lie."""
    agents = {
        "p1": make("p1"),
        "p2": make("p2"),
        "c1": make("c1"),
        "liar": make("liar", meshes=("prod", "office"), prefixes=("fd00::/8", SUBNET, "::/0")),
    }
    bootstrap = [agents["p1"].host, agents["p2"].host]
    for name, agent in agents.items():
        more = {"accept_routes": "all"} if name != "p2" else {}
        agent.declare("client" if name == "c1" else "peer", bootstrap, **more)
        agent.start()
    eventually(lambda: all(complete(agent, 4) for agent in agents.values()), 30, "all know all")
    eventually(lambda: agents["c1"].host.pings(agents["p1"].address), 10, "the client reaches a peer")
    return agents


def test_what_lies_within_a_mesh_is_refused_by_everybody_and_told(world: dict[str, Agent]) -> None:
    honest = [world[name] for name in ("p1", "p2", "c1")]
    before = {agent.host.name: kernel_state(agent) for agent in honest}
    liar = Liar(world["liar"])
    for prefix in (f"{world['p2'].address}/128", str(mesh_prefix("prod"))):
        liar.say(advertise=(prefix,))
        for agent in honest:
            eventually(partial(_tells, agent, prefix), 10, "it is told")
            assert "which lies within a mesh" in agent.mesh()["problem"]
            assert kernel_state(agent) == before[agent.host.name]
    assert world["p1"].host.pings(world["p2"].address)


def test_a_default_route_is_nobodys_who_did_not_ask_for_it(world: dict[str, Agent]) -> None:
    honest = [world[name] for name in ("p1", "p2", "c1")]
    before = {agent.host.name: kernel_state(agent) for agent in honest}
    world["liar"].declare("peer", [world["p1"].host], advertise=["::/0"])
    for agent in honest:
        eventually(partial(_has_routes, agent), 10, "all know of it")
        (route,) = agent.mesh()["routes"]
        assert (route["prefix"], route["used"]) == ("::/0", False)
        assert kernel_state(agent) == before[agent.host.name]


def test_what_a_certificate_does_not_list_is_taken_by_nobody(world: dict[str, Agent]) -> None:
    """The agent itself does not say it; another program with its keys does."""
    honest = [world[name] for name in ("p1", "c1")]
    before = {agent.host.name: kernel_state(agent) for agent in honest}
    liar = Liar(world["p2"])
    for lie in ({"advertise": (SUBNET,)}, {"bridge": True, "routes": (BridgedRoute(("office",)),)}):
        counted = sum(agent.mesh()["refusals"].get("grant", 0) for agent in honest)
        liar.say(**lie)
        eventually(partial(_refused_more_than, counted, honest), 10, "it is counted")
        for agent in honest:
            assert agent.mesh()["routes"] == []
            assert agent.members()["p2"]["alias"] is None
            assert kernel_state(agent) == before[agent.host.name]
    assert honest[0].host.pings(world["p2"].address)


def test_a_client_does_not_reach_its_homes_network(world: dict[str, Agent], lab: Lab) -> None:
    client = world["c1"]
    home = world[client.mesh()["home"]]
    printer = lab.host("printer")
    lab.join(home.host, printer, "office")
    for host, address in ((home.host, "2001:db8:77::1/64"), (printer, "2001:db8:77::2/64")):
        host.run("ip", "address", "add", address, "dev", "office", "nodad")
    printer.run("ip", "-6", "route", "add", "fd00::/8", "via", "2001:db8:77::1")
    assert home.host.pings("2001:db8:77::2")
    allowed = f"{mesh_prefix('prod')},2001:db8:77::/64"
    client.host.run("wg", "set", "smeg-prod", "peer", encode_key(home.node_key), "allowed-ips", allowed)
    client.host.run("ip", "-6", "route", "add", "2001:db8:77::/64", "dev", "smeg-prod")
    before = kernel_state(home)
    assert client.host.pings(home.address)
    assert not client.host.pings("2001:db8:77::2")
    assert kernel_state(home) == before


def _tells(agent: Agent, prefix: str) -> bool:
    return prefix in (agent.mesh()["problem"] or "")


def _refused_more_than(count: int, agents: list[Agent]) -> bool:
    return sum(agent.mesh()["refusals"].get("grant", 0) for agent in agents) > count


def _has_routes(agent: Agent) -> bool:
    return bool(agent.mesh()["routes"])
