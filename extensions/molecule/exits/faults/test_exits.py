"""Exits and their agents die, and return."""

from __future__ import annotations

import pytest
from hosts import Pinging, all_ping, kill, pings, run, seconds_until, start, via

SITE, INTERNET = "2001:db8:10::5", "2001:db8:99::1"
PREFIX = "2001:db8:10::/48"
RECEIVERS = ("r1", "r2", "c1")


def used() -> dict[str, str | None]:
    return {host: via(host, "trial", PREFIX) for host in RECEIVERS}


@pytest.fixture(autouse=True)
def whole():
    """Each test begins and ends with three exits."""
    assert all_ping((host, SITE) for host in RECEIVERS)
    yield
    for name in ("e1", "e2", "e3"):
        start(name)
    seconds_until(lambda: all_ping((host, SITE) for host in RECEIVERS), within=30)


def test_a_dead_exits_receivers_move_and_come_back(whole: None) -> None:
    before = used()
    victim = before["r1"]
    assert victim is not None
    moving, staying = Pinging("r1", SITE, 8), [Pinging(host, SITE, 8) for host in RECEIVERS if before[host] != victim]
    kill(victim)
    gap = moving.gap()
    print(f"{victim} killed: r1 without an answer for {gap:.1f} s")
    assert gap <= 3
    assert [pinging.gap() < 0.5 for pinging in staying] == [True] * len(staying)
    moved = used()
    assert all(moved[host] == before[host] for host in RECEIVERS if before[host] != victim)
    start(victim)
    back = seconds_until(lambda: used() == before, within=30)
    print(f"{victim} started: its receivers, and no others, are back after {back:.1f} s")


def test_a_killed_agent_loses_no_packet(whole: None) -> None:
    exit_ = used()["r2"]
    pinging = Pinging("r2", SITE, 10)
    run(str(exit_), "systemctl", "kill", "--signal", "KILL", "smegd")
    assert pinging.gap() < 0.5
    assert used()["r2"] == exit_


def test_the_internet_through_an_exit_and_the_own_address_all_the_time(whole: None) -> None:
    own = "2001:db8:3::198.18.3.11"
    through = via("r1", "trial", "::/0")
    assert through is not None
    to_internet, from_outside = Pinging("r1", INTERNET, 8), Pinging("site", own, 8)
    to_outside = Pinging("r1", "2001:db8:3::198.18.3.40", 8)
    kill(through)
    gap = to_internet.gap()
    print(f"{through} killed: r1 without the internet for {gap:.1f} s")
    assert gap <= 3
    assert from_outside.gap() < 0.5
    assert to_outside.gap() < 0.5
    assert not pings("r2", INTERNET)
