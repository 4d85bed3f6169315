"""The loss of a host without warning, and its return."""

from __future__ import annotations

import os

import pytest
from lab import Host, engine, seconds_until, unreachable

VICTIMS = ["leader", "home"] + (["p1", "p2", "p3"] if os.environ.get("SMEGMESH_TEST_LONG") else [])


@pytest.fixture(params=VICTIMS)
def victim(request: pytest.FixtureRequest, hosts: dict[str, Host]):
    members = hosts["c1"].members()
    (leader,) = (name for name, member in members.items() if member["leader"])
    named = {"leader": leader, "home": members["c1"]["home"]}
    host = hosts[named.get(request.param, request.param)]
    yield host
    engine("start", f"molecule-{host.name}")


def test_the_others_talk_on_and_it_comes_back_by_itself(victim: Host, hosts: dict[str, Host]) -> None:
    others = [host for host in hosts.values() if host is not victim]
    peers = [host for host in others if host.name.startswith("p")]
    victim.kill()
    assert unreachable(peers) == [], "peers that lost no neighbour lost a tunnel"
    healed = seconds_until(lambda: not unreachable(others), within=5)
    print(f"{victim} killed: all others reach each other again after {healed:.1f} s")

    victim.start()
    back = seconds_until(lambda: not unreachable(hosts.values()), within=10)
    print(f"{victim} started: all reach all after {back:.1f} s")
