"""What users of roles and collections for WireGuard ask for, each row with where it was asked.

The rows that other scenarios play are not repeated here: rotation (`rotate`), revocation (`revoke`), a clean uninstall
(`uninstall`), upgrades (`upgrade`), inventory (`inventory`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import Pinging, mesh, pings, play, run, seconds_until

pytestmark = pytest.mark.timeout(300)
HOSTS = ("p1", "p2", "p3", "c1")
MESH = "trial"
LAB = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
AUTHORITY = LAB / "authorities" / "default"
NEW_PEER = "all: {children: {peers: {hosts: {q1: }}}}\n"


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Path]:
    """A second source, whose content a test adds to what the scenario has; afterwards hosts are as before."""
    path = tmp_path / "more.yml"
    yield path
    play("site")


def peers(host: str) -> set[str]:
    return set(run(host, "wg", "show", mesh(host, MESH)["interface"], "peers").split())


def agents() -> dict[str, str]:
    return {host: run(host, "systemctl", "show", "--property", "MainPID", "--value", "smegd") for host in HOSTS}


def changed(said: str) -> dict[str, int]:
    """Tasks that changed something, by host; but for the host that is in no mesh."""
    found = {name: int(count) for name, count in re.findall(r"^(\w+) +: ok=\d+ +changed=(\d+)", said, re.MULTILINE)}
    return {name: count for name, count in found.items() if name != "q1" or count}


def test_limit_keeps_the_other_peers() -> None:
    """githubixx/ansible-role-wireguard#79, #180"""
    before = {host: peers(host) for host in HOSTS}
    assert changed(play("site", "--limit", "p2")) == {"p2": 0}
    assert {host: peers(host) for host in HOSTS} == before
    assert len(before["p2"]) >= 2


def test_a_change_of_addresses_and_routes_applies_without_a_restart(inventory: Path) -> None:
    """githubixx/ansible-role-wireguard#147, #175"""
    processes = agents()
    inventory.write_text('all: {hosts: {p2: {smegmesh_overrides: {trial: {advertise: ["2001:db8:20::/48"]}}}}}\n')
    accept = json.dumps({"smegmesh_meshes": _meshes(accept_routes=["2001:db8:20::/48"])})
    play("site", "-i", str(inventory), "-e", accept)
    device = mesh("p1", MESH)["interface"]
    seconds_until(lambda: device in run("p1", "ip", "-6", "route", "get", "2001:db8:20::1", check=False), within=10)
    assert agents() == processes
    play("site")
    seconds_until(lambda: device not in run("p1", "ip", "-6", "route", "get", "2001:db8:20::1", check=False), within=10)
    assert agents() == processes


def test_a_peer_is_added_under_traffic_by_a_run_on_it_alone(inventory: Path) -> None:
    """githubixx/ansible-role-wireguard#33; mawalu/wireguard-private-networking#30 (a check of a fresh host)"""
    inventory.write_text(NEW_PEER)
    pair = Pinging("p1", mesh("p2", MESH)["address"], seconds=300)
    foretold = play("site", "-i", str(inventory), "--limit", "q1", "--check", "--diff")
    assert changed(foretold)["q1"] > 0
    assert run("q1", "ls", "/opt", check=False).strip() == ""
    play("site", "-i", str(inventory), "--limit", "q1")
    seconds_until(lambda: all(pings(host, mesh("q1", MESH)["address"]) for host in HOSTS), within=20)
    said = play("site", "-i", str(inventory), "--diff")
    assert changed(said) == dict.fromkeys(HOSTS, 0), said
    assert pair.lost() == 0
    play("uninstall", "--limit", "q1")
    seconds_until(lambda: all(mesh(host, MESH)["members"]["alive"] == len(HOSTS) for host in HOSTS), within=20)


def test_no_private_key_is_in_what_a_run_prints(inventory: Path) -> None:
    """artis3n/ansible-role-tailscale#315; githubixx/ansible-role-wireguard#18, #28, #41"""
    inventory.write_text(NEW_PEER)
    environment = {"ANSIBLE_LOG_PATH": str(inventory.with_name("log")), "ANSIBLE_DEBUG": "0"}
    os.environ.update(environment)
    try:
        said = play("site", "-i", str(inventory), "-vvvv", "--diff")
        said += play("rotate_keys", "-i", str(inventory), "--limit", "q1", "-vvvv", "--diff")
        said += play("uninstall", "--limit", "p3", "-vvvv") + play("site", "--limit", "p3", "-vvvv", "--diff")
    finally:
        for name in environment:
            del os.environ[name]
    said += inventory.with_name("log").read_text()
    assert "PRIVATE" not in said
    secrets = [line for name in ("authority.key", "operators/controller.key") for line in _lines(AUTHORITY / name)]
    for host in (*HOSTS, "q1"):
        for name in ("identity.key", "tunnel.key"):
            content = run(host, "cat", f"/var/lib/smegmesh/keys/{name}").splitlines()
            secrets.append(next(line for line in content if not line.startswith("-----")))
    assert len(secrets) >= 12
    assert not [secret for secret in secrets if secret in said]
    play("uninstall", "--limit", "q1")


def test_a_run_without_the_authoritys_key_while_certificates_are_good() -> None:
    """artis3n/ansible-collection-tailscale#26"""
    key = AUTHORITY / "authority.key"
    key.rename(key.with_name("away"))
    try:
        assert changed(play("site")) == dict.fromkeys(HOSTS, 0)
    finally:
        key.with_name("away").rename(key)


def test_thirty_forks() -> None:
    """Nothing of a run is shared by accident."""
    assert changed(play("site", "--forks", "30")) == dict.fromkeys(HOSTS, 0)


def test_the_diff_can_be_read_and_hides_keys(inventory: Path) -> None:
    """githubixx/ansible-role-wireguard hides all of it"""
    inventory.write_text("all: {hosts: {p2: {smegmesh_overrides: {trial: {alias: web}}}}}\n")
    said = play("site", "-i", str(inventory), "--limit", "p2", "--check", "--diff")
    assert re.search(r"^\+.*alias.*web", said, re.MULTILINE)


def test_mtu_and_keepalive_are_per_host(inventory: Path) -> None:
    """githubixx/ansible-role-wireguard#30"""
    inventory.write_text("all: {hosts: {p2: {smegmesh_overrides: {trial: {mtu: 1380, keepalive: 21}}}}}\n")
    play("site", "-i", str(inventory), "--limit", "p2")
    device = mesh("p2", MESH)["interface"]
    seconds_until(lambda: "mtu 1380" in run("p2", "ip", "link", "show", device), within=10)
    assert "mtu 1380" not in run("p1", "ip", "link", "show", device)
    seconds_until(lambda: "21" in run("p2", "wg", "show", device, "persistent-keepalive"), within=10)


def _meshes(**settings: object) -> dict[str, object]:
    groups = {"peers": {"role": "peer"}, "clients": {"role": "client"}}
    return {MESH: {"groups": groups, "settings": settings}}


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("-----")]
