"""The active bridge dies without warning, and returns."""

from __future__ import annotations

from itertools import permutations

import pytest
from hosts import Pinging, all_ping, kill, mesh, seconds_until, start, via

ENDS = {"a1": "left", "a2": "left", "b1": "right", "b2": "right"}


@pytest.fixture(scope="module")
def addresses() -> dict[str, str]:
    return {host: mesh(host, name)["address"] for host, name in ENDS.items()}


@pytest.fixture
def active():
    found = via("a1", "left", "right")
    assert found is not None
    yield found
    start(found)


def all_reach_all(addresses: dict[str, str]) -> bool:
    return all_ping((one, addresses[other]) for one, other in permutations(ENDS, 2))


def test_the_other_bridge_takes_over_and_the_first_comes_back(active: str, addresses: dict[str, str]) -> None:
    assert all_reach_all(addresses)
    pinging = Pinging("a2", addresses["b2"], 12)
    kill(active)
    gap = pinging.gap()
    print(f"{active} killed: no answer from client to client for {gap:.1f} s")
    assert gap <= 5
    assert via("a1", "left", "right") not in (active, None)
    assert all_reach_all(addresses)

    start(active)
    back = seconds_until(lambda: via("a1", "left", "right") == active == via("b2", "right", "left"), within=30)
    print(f"{active} started: it is the active one again after {back:.1f} s")
    seconds_until(lambda: all_reach_all(addresses), within=10)
