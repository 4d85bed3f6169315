"""The playbook `rotate_authority` on a living mesh."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hosts import Pinging, changes, kill, mesh, play, run, seconds_until, start

HOSTS = ("p1", "p2", "p3", "c1")
HERE = "/etc/smegmesh/authorities/default"
AUTHORITY = f"{HERE}/authority.pem"
CONTROLLERS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "authorities" / "default"


def alive(host: str) -> bool:
    return mesh(host, "trial")["members"] == {"alive": len(HOSTS), "mute": 0, "down": 0}


def nothing_to_do() -> bool:
    """Whether site finds all as it should be, the spare host that is in no mesh among them."""
    return changes(play("site")) == dict.fromkeys((*HOSTS, "s1"), 0)


@pytest.mark.timeout(400)
def test_an_authority_is_replaced_and_nobody_is_out_of_the_mesh() -> None:
    before = (CONTROLLERS / "authority.pem").read_text()
    pairs = [("p1", "p2"), ("p2", "c1"), ("c1", "p3"), ("p3", "p1")]
    pinging = {pair: Pinging(pair[0], mesh(pair[1], "trial")["address"], seconds=600) for pair in pairs}
    play("rotate_authority")
    lost = {pair: ping.lost() for pair, ping in pinging.items()}
    print(f"authority of four hosts replaced under pings, twenty a second each: lost {sum(lost.values())}")
    assert not any(lost.values()), lost

    after = (CONTROLLERS / "authority.pem").read_text()
    assert after != before and after.count("BEGIN") == 1
    assert all(run(host, "cat", AUTHORITY) == after for host in HOSTS)
    seconds_until(lambda: all(alive(host) for host in HOSTS), within=10)
    for host in HOSTS:
        run(host, "systemctl", "restart", "smegd")
    seconds_until(lambda: all(alive(host) for host in HOSTS), within=20)
    assert nothing_to_do()


@pytest.mark.timeout(400)
def test_with_a_host_out_of_reach_no_step_is_taken_that_it_would_miss() -> None:
    before = (CONTROLLERS / "authority.pem").read_text()
    kill("p3")
    try:
        assert "p3" in play("rotate_authority", succeeds=False)
        assert (CONTROLLERS / "authority.pem").read_text() == before
        assert "without --limit" in play("rotate_authority", "--limit", "p1,p2,c1", succeeds=False)
    finally:
        start("p3")
    seconds_until(lambda: all(alive(host) for host in HOSTS), within=60)
    assert nothing_to_do()


@pytest.mark.timeout(400)
def test_where_an_agent_does_not_follow_it_ends_and_the_next_run_goes_on() -> None:
    before = (CONTROLLERS / "authority.pem").read_text()
    run("p3", "chmod", "0700", HERE)
    try:
        said = play("rotate_authority", succeeds=False)
        assert "host p3: mesh trial does not go by" in said and f"{AUTHORITY} cannot be read" in said
        announced = (CONTROLLERS / "authority.pem").read_text()
        assert announced.startswith(before) and announced.count("BEGIN") == 2, "no step after that is taken"
    finally:
        run("p3", "chmod", "0755", HERE)
    play("rotate_authority")
    after = (CONTROLLERS / "authority.pem").read_text()
    assert before + after == announced, "the one that was announced, not another"
    (fingerprint,) = mesh("p1", "trial")["trusts"]
    assert all(mesh(host, "trial")["trusts"] == [fingerprint] for host in HOSTS)
    seconds_until(lambda: all(alive(host) for host in HOSTS), within=20)
    assert nothing_to_do()
