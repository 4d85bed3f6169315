"""A member is revoked while it runs, and never comes back by itself; a host on a new disk takes its own place."""

from __future__ import annotations

import json
import re

import pytest
from hosts import engine, mesh, pings, play, run, seconds_until

HOSTS = ("p1", "p2", "p3", "c1")
MESH = "trial"


def members(host: str) -> list[dict]:
    return json.loads(run(host, "smegctl", "members", MESH, "--json"))[MESH]


def keys(host: str, name: str) -> list[str]:
    """Of every member called so: two, as long as an old one is not revoked."""
    return [member["node_key"] for member in members(host) if member["name"] == name]


def node_key(host: str) -> str:
    return json.loads(run(host, "smegctl", "status", "--json"))["node_key"]


def all_reach_all() -> bool:
    addresses = {host: mesh(host, MESH)["address"] for host in HOSTS}
    return all(pings(host, addresses[other]) for host in HOSTS for other in HOSTS if host != other)


@pytest.mark.timeout(400)
def test_who_is_revoked_is_out_for_good() -> None:
    others = [host for host in HOSTS if host != "c1"]
    stolen, address = node_key("c1"), mesh("c1", MESH)["address"]
    play("revoke", "-e", "smegmesh_revoke=c1", "-e", f"smegmesh_revoke_mesh={MESH}")
    gone = seconds_until(lambda: not any(keys(host, "c1") for host in others), within=10)
    print(f"revoked: out of every list {gone:.1f} s after the run")
    assert not any(pings(host, address) for host in others)
    run("c1", "systemctl", "restart", "smegd")
    seconds_until(lambda: "revoked" in run("c1", "smegctl", "status"), within=20)
    assert not any(keys(host, "c1") for host in others)
    play("revoke", "-e", "smegmesh_revoke=nobody", "-e", f"smegmesh_revoke_mesh={MESH}", succeeds=False)

    assert "revoked" in play("site", "--limit", "c1", "-e", "smegmesh_wait_seconds=5", succeeds=False)
    play("uninstall", "--limit", "c1")
    play("site", "--limit", "c1")
    assert node_key("c1") != stolen
    seconds_until(lambda: all(keys(host, "c1") == [node_key("c1")] for host in others), within=20)
    seconds_until(all_reach_all, within=20)


@pytest.mark.timeout(600)
def test_a_new_disk_takes_the_place_of_the_old() -> None:
    before, others = node_key("p3"), [host for host in HOSTS if host != "p3"]
    engine("rm", "--force", "--volumes", "molecule-p3")
    seconds_until(lambda: all(mesh(host, MESH)["members"]["down"] == 1 for host in others), within=30)
    first, *lines = play("status", "-e", "smegmesh_ping=false").partition(f"mesh {MESH}: ")[2].splitlines()
    assert first.startswith("up to 1 are not there; "), first
    assert [line.split()[0] for line in lines if line.endswith(" down")] == ["p3"]

    play("lab", "--limit", "p3")
    foretold = play("site", "--limit", "p3", "--check", "--diff")
    assert "revokes" in foretold and before in foretold
    assert all(keys(host, "p3") == [before] for host in others), "a check revoked it"

    play("site", "--limit", "p3")
    assert node_key("p3") != before
    gone = seconds_until(lambda: all(keys(host, "p3") == [node_key("p3")] for host in others), within=20)
    print(f"new disk: the old key out of every list {gone:.1f} s after the run")
    seconds_until(all_reach_all, within=20)
    changed = dict(re.findall(r"^(\w+) +: ok=\d+ +changed=(\d+)", play("site"), re.MULTILINE))
    assert set(changed.values()) == {"0"}
