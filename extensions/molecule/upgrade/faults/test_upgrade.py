"""The playbook `upgrade` on a living mesh: a good release, and two that are broken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hosts import Pinging, changes, mesh, pings, play, run

COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
HOSTS = ("p1", "p2", "p3", "c1")
PACKAGE = "ansible_collections/smegmesh/wireguard/roles/smegmesh/files/smegmesh/src/smegmesh"

# The file that a release broke, and what it says at its end.
BROKEN = {
    "does-not-start": ("daemon/__main__.py", "\n\nraise SystemExit('a broken release')\n"),
    # It runs, but takes no frame.
    "hears-nobody": ("transport/framing.py", "\n\nFrameDecoder.next = lambda self: None\n"),
}


def versions() -> dict[str, str]:
    return {host: run(host, "readlink", "/opt/smegmesh/current") for host in HOSTS}


def agents() -> dict[str, str]:
    return {host: run(host, "systemctl", "show", "--property", "MainPID", "--value", "smegd") for host in HOSTS}


@pytest.mark.timeout(300)
def test_an_upgrade_loses_no_ping() -> None:
    before = versions()
    foretold = changes(play("upgrade", "--check"))
    assert set(foretold) == set(HOSTS) and all(foretold.values()), foretold
    assert versions() == before

    pairs = [("p1", "p2"), ("p3", "p1"), ("c1", "p2")]
    pinging = [Pinging(source, mesh(target, "trial")["address"], seconds=600) for source, target in pairs]
    play("upgrade")
    lost = {pair: ping.lost() for pair, ping in zip(pairs, pinging, strict=True)}
    print(f"upgrade of four hosts under pings, twenty a second: lost {lost}")
    assert not any(lost.values()), lost
    assert all(after != before[host] for host, after in versions().items())

    assert changes(play("upgrade")) == dict.fromkeys(HOSTS, 0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_release_stops_at_the_first_host_and_is_taken_back(how: str, tmp_path: Path) -> None:
    before, processes = versions(), agents()
    shutil.copytree(COLLECTIONS, tmp_path, dirs_exist_ok=True)
    name, end = BROKEN[how]
    with (tmp_path / PACKAGE / name).open("a") as file:
        file.write(end)
    said = play("upgrade", "-e", "smegmesh_upgrade_wait=15", succeeds=False, collections=str(tmp_path))
    assert "no further host is upgraded" in said
    (first,) = changes(said)
    assert versions() == before
    assert {host: process for host, process in agents().items() if host != first} == {
        host: process for host, process in processes.items() if host != first
    }
    assert all(pings(first, mesh(other, "trial")["address"]) for other in HOSTS)
    run(first, "systemctl", "is-active", "smegd")
