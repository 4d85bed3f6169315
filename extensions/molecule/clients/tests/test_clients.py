"""Every member, asked over ssh as its user with sudo."""

import json

import pytest

testinfra_hosts = ["peers", "clients"]


@pytest.fixture
def members(host):
    with host.sudo():
        return json.loads(host.check_output("smegctl members trial --json"))["trial"]


def test_all_four_are_alive_and_answer(host, members):
    assert {(member["name"], member["liveness"]) for member in members} == {
        (name, "alive") for name in ("p1", "p2", "c1", "c2")
    }
    for member in members:
        host.run_test("ping -6 -c 2 -i 0.2 -W 2 %s", member["address"])


def test_peers_see_the_routers_address_for_both_clients(host, members):
    (own,) = (member for member in members if member["own"])
    if own["role"] == "client":
        pytest.skip("for peers")
    with host.sudo():
        endpoints = host.check_output("wg show all endpoints")
    assert "198.18.4.30:" in endpoints
    assert "198.18.4.21:" not in endpoints and "198.18.4.22:" not in endpoints
