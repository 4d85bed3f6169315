"""A host gets a new disk: one run on it alone makes it a member again, and what it was before is out for good."""

from __future__ import annotations

import json

import pytest
from lab import Host, engine, play, seconds_until, unreachable


def node_key(host: Host) -> str:
    return json.loads(host.run("smegctl", "status", "--json"))["node_key"]


@pytest.mark.timeout(600)
def test_a_new_disk(hosts: dict[str, Host]) -> None:
    third = hosts["p3"]
    others = [host for host in hosts.values() if host is not third]
    before = node_key(third)
    engine("rm", "--force", "--volumes", "molecule-p3")
    seconds_until(lambda: all(host.members()["p3"]["liveness"] == "down" for host in others), within=30)
    drift = [line for line in play("status", "-e", "smegmesh_ping=false").splitlines() if line.endswith(" down")]
    assert [line.split()[0] for line in drift] == ["p3"]

    play("lab", "--limit", "p3")
    foretold = play("site", "--limit", "p3", "--check", "--diff")
    assert "revokes" in foretold and before in foretold
    assert all(host.members()["p3"]["node_key"] == before for host in others), "a check revoked it"

    play("site", "--limit", "p3")
    third.__dict__.pop("address", None)  # it follows from the key, which is another one
    assert node_key(third) != before
    gone = seconds_until(
        lambda: all([each["node_key"] for each in listed(host)] == [node_key(third)] for host in others), within=20
    )
    print(f"new disk: the old key out of every list {gone:.1f} s after the run")
    seconds_until(lambda: not unreachable(hosts.values()), within=20)
    assert "changed=0 " in play("site", "--limit", "p3")


def listed(host: Host) -> list[dict[str, object]]:
    """Every member called p3: two, as long as the old one is not revoked."""
    members = json.loads(host.run("smegctl", "members", "trial", "--json"))["trial"]
    return [member for member in members if member["name"] == "p3"]
