"""The playbook `rotate_keys` on a living mesh."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from hosts import Pinging, changes, mesh, play, run

HOSTS = ("p1", "p2", "p3", "c1")


def status(host: str) -> dict:
    return json.loads(run(host, "smegctl", "status", "--json"))


@pytest.mark.timeout(300)
def test_all_hosts_get_other_keys_and_no_ping_is_lost() -> None:
    before = {host: status(host) for host in HOSTS}
    addresses = {host: mesh(host, "trial")["address"] for host in HOSTS}
    pinging = {pair: Pinging(pair[0], addresses[pair[1]], seconds=600) for pair in permutations(HOSTS, 2)}
    play("rotate_keys")
    lost = {pair: ping.lost() for pair, ping in pinging.items()}
    print(f"keys of four hosts rotated under pings between all, twenty a second each: lost {sum(lost.values())}")
    assert not any(lost.values()), lost

    after = {host: status(host) for host in HOSTS}
    assert all(after[host]["node_key"] == before[host]["node_key"] for host in HOSTS)
    assert all(after[host]["tunnel_key"] != before[host]["tunnel_key"] for host in HOSTS)
    assert {host: mesh(host, "trial")["address"] for host in HOSTS} == addresses
    for host in HOSTS:
        used = run(host, "wg", "show", "all", "public-key").split()[-1]
        assert used == after[host]["tunnel_key"]

    for playbook in (["rotate_keys", "-e", "smegmesh_rotate_older_than=1"], ["site"]):
        assert changes(play(*playbook)) == dict.fromkeys((*HOSTS, "s1"), 0), f"nothing is left to do for {playbook[0]}"
