"""Whole agents on hosts: a mesh that forms itself, loses hosts and agents, and mends."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from agents import MESH, Agent, Pinging, eventually
from namespaces import Lab

from smegmesh.identity.keys import encode_key

pytestmark = pytest.mark.netns

PEERS = ("p1", "p2", "p3")
CLIENTS = ("c1", "c2")


@pytest.fixture
def mesh(make: Callable[[str], Agent]) -> dict[str, Agent]:
    """Three peers and two clients, everybody knows everybody."""
    made = {name: make(name) for name in (*PEERS, *CLIENTS)}
    bootstrap = [made[name].host for name in PEERS]
    for name, agent in made.items():
        agent.declare("peer" if name in PEERS else "client", bootstrap)
        agent.start()
    eventually(lambda: all(complete(agent, len(made)) for agent in made.values()), 30, "all agents know all others")
    eventually(lambda: all_reach_all(made), 20, "all hosts ping all others")
    return made


def complete(agent: Agent, count: int) -> bool:
    mesh = agent.mesh()
    return mesh is not None and mesh["state"] == "up" and mesh["members"]["alive"] == count


def all_reach_all(made: dict[str, Agent]) -> bool:
    return all(one.host.pings(other.address) for one in made.values() for other in made.values() if one is not other)


def test_a_mesh_forms_and_agrees(mesh: dict[str, Agent]) -> None:
    eventually(lambda: len({agent.mesh()["digest"] for agent in mesh.values()}) == 1, 10, "equal maps")
    leaders = {agent.mesh()["leader"] for agent in mesh.values()}
    assert leaders == {min(PEERS, key=lambda name: mesh[name].node_key)}
    for name in CLIENTS:
        status = mesh[name].mesh()
        assert {status["home"], status["backup"]} < set(PEERS)


def test_a_killed_agent_loses_no_packet_and_comes_back(mesh: dict[str, Agent]) -> None:
    victim = mesh["p1"]
    pings = [
        Pinging(mesh["p2"], mesh["p3"].address),
        Pinging(mesh["p2"], victim.address),
        Pinging(mesh["c1"], mesh["c2"].address),
    ]
    victim.stop(signal.SIGKILL)
    eventually(lambda: mesh["p2"].members()["p1"]["liveness"] == "mute", 15, "the killed agent is mute")
    victim.start()
    eventually(lambda: mesh["p2"].members()["p1"]["liveness"] == "alive", 15, "it is alive again")
    victim.stop()
    victim.start()
    eventually(lambda: complete(victim, 5), 15, "and after an orderly restart it knows all")
    assert [ping.lost() for ping in pings] == [0, 0, 0]


def test_an_agent_that_forgot_a_member_takes_no_tunnel_away(
    mesh: dict[str, Agent], make: Callable[[str], Agent], tmp_path: Path
) -> None:
    """What a killed agent had stored may be older than what its interface holds."""
    victim = mesh["p1"]
    victim.stop()
    shutil.copytree(victim.state, tmp_path / "older")
    victim.start()
    late = mesh["p4"] = make("p4")
    late.declare("peer", [mesh[name].host for name in PEERS])
    late.start()
    eventually(lambda: all(complete(agent, len(mesh)) for agent in mesh.values()), 15, "all know the late host")
    eventually(lambda: late.host.pings(victim.address), 10, "the tunnel stands")
    ping = Pinging(late, victim.address)
    victim.stop(signal.SIGKILL)
    shutil.copytree(tmp_path / "older", victim.state, dirs_exist_ok=True)
    victim.start()
    eventually(lambda: complete(victim, len(mesh)), 15, "it knows the late host again")
    assert ping.lost() == 0


def test_a_dead_host_is_bypassed_and_returns(mesh: dict[str, Agent], lab: Lab) -> None:
    home = mesh[mesh["c1"].mesh()["home"]]
    others = {name: agent for name, agent in mesh.items() if agent is not home}
    lab.plug(home.host, in_=False)
    took = eventually(lambda: mesh["c2"].host.pings(mesh["c1"].address), 10, "the client through its backup")
    down = eventually(lambda: all(not complete(agent, 5) for agent in others.values()), 10, "all know that it is down")
    assert took + down <= 5 + 1  # and what it took to look
    assert all_reach_all(others)
    lab.plug(home.host, in_=True)
    eventually(lambda: all(complete(agent, 5) for agent in mesh.values()), 15, "it is back for everybody")
    eventually(lambda: all_reach_all(mesh), 15, "all hosts ping all others again")


def test_alone_from_what_it_knew(mesh: dict[str, Agent]) -> None:
    for name, agent in mesh.items():
        if name != "p1":
            agent.stop(signal.SIGKILL)
    alone = mesh["p1"]
    alone.stop()
    alone.start()
    eventually(lambda: (status := alone.mesh()) and status["state"] == "up", 15, "it comes up alone")
    assert alone.members().keys() == mesh.keys()
    assert alone.host.pings(mesh["p2"].address, count=3)


def test_leaving_takes_the_interface_and_the_member_away(mesh: dict[str, Agent]) -> None:
    leaver = mesh["p3"]
    leaver.apply({"state": "absent", "owner": "role", "mesh": MESH})
    eventually(lambda: leaver.mesh() is None, 10, "the mesh is gone from the host")
    assert "smeg-prod" not in leaver.host.run("ip", "link")
    eventually(lambda: "p3" not in mesh["c1"].members(), 10, "the others have dropped it")
    assert leaver.host.run("nft", "list", "tables").strip() == ""
    assert leaver.host.run("sysctl", "-n", "net.ipv6.conf.all.forwarding").strip() == "0"


def test_a_late_host_joins_and_a_client_moves_after_its_home_died_for_good(
    mesh: dict[str, Agent], make: Callable[[str], Agent], lab: Lab
) -> None:
    late = make("p4")
    late.declare("peer", [mesh[name].host for name in PEERS])
    late.start()
    eventually(lambda: complete(late, 6), 15, "the late host knows all")
    everybody = {**mesh, "p4": late}
    eventually(lambda: all_reach_all(everybody), 20, "and reaches all")
    first = mesh["c1"].mesh()["home"]
    lab.plug(mesh[first].host, in_=False)
    eventually(lambda: mesh["c1"].mesh()["home"] != first, 15, "the client has named another home")
    eventually(lambda: mesh["c1"].mesh()["backup"] not in (None, first), 10, "and another backup")


def test_a_backup_that_was_booted_has_a_session_with_its_client_again(make: Callable[[str], Agent]) -> None:
    """Only keepalives go to it: a client that did not see to it would be out of its reach for two minutes."""
    mesh = {name: make(name) for name in ("p1", "p2", "c1")}  # there is no other backup to take
    for name, agent in mesh.items():
        agent.declare("client" if name == "c1" else "peer", [mesh["p1"].host, mesh["p2"].host])
        agent.start()
    client = mesh["c1"]
    eventually(lambda: complete(client, 3) and client.mesh()["backup"], 20, "the client has a home and a backup")
    backup = mesh[client.mesh()["backup"]]
    key = encode_key(client.node_key)

    def knows_where() -> bool:
        endpoints = dict(line.split()[-2:] for line in backup.host.run("wg", "show", "all", "endpoints").splitlines())
        return endpoints.get(key, "(none)") != "(none)"

    eventually(knows_where, 10, "the backup knows where its client is")
    backup.stop(signal.SIGKILL)
    for pid in backup.host.pids("wireguard-go"):
        backup.host.run("kill", "-KILL", pid)
    eventually(lambda: "smeg-prod" not in backup.host.run("ip", "link"), 10, "the interface is gone")
    backup.start()
    eventually(lambda: complete(backup, 3), 20, "it is back")
    eventually(knows_where, 15, "it knows again where its client is")
