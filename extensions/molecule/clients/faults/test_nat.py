"""A NAT forgets, a home dies."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from hosts import Pinging, all_ping, engine, kill, mesh, run, seconds_until, start

HOSTS = ("p1", "p2", "c1", "c2")


@pytest.fixture(scope="module")
def addresses() -> dict[str, str]:
    return {host: mesh(host, "trial")["address"] for host in HOSTS}


@pytest.fixture(autouse=True)
def whole(addresses: dict[str, str]):
    seconds_until(lambda: all_ping((one, addresses[other]) for one, other in permutations(HOSTS, 2)), within=30)
    yield
    for host in ("p1", "p2", "router"):
        start(host)


def endpoints(peer: str) -> set[str]:
    """The router's ports as a peer sees them."""
    lines = run(peer, "wg", "show", "all", "endpoints").splitlines()
    return {line.split()[-1] for line in lines if "198.18.4.30:" in line}


def test_a_router_that_forgot_everything(whole: None, addresses: dict[str, str]) -> None:
    home = mesh("c1", "trial")["home"]
    before = endpoints(home)
    engine("restart", "molecule-router")
    took = seconds_until(lambda: all_ping((one, addresses[other]) for one, other in permutations(HOSTS, 2)), within=30)
    print(f"router restarted: all reach all after {took:.1f} s")
    assert endpoints(home).isdisjoint(before)


def test_a_home_that_dies(whole: None, addresses: dict[str, str]) -> None:
    home = mesh("c1", "trial")["home"]
    other = "p1" if home == "p2" else "p2"
    pinging = Pinging(other, addresses["c1"], 10)
    kill(home)
    gap = pinging.gap()
    print(f"{home} killed: c1 was not reached for {gap:.1f} s")
    assert gap <= 5
    members = json.loads(run("c1", "smegctl", "members", "trial", "--json"))["trial"]
    assert {member["name"] for member in members if member["liveness"] == "down"} == {home}
