"""Every member, asked over ssh as its user with sudo."""

import json
import time

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
    # After a host was booted its tunnels are made when the clients' links to it are: within some eight seconds.
    end = time.monotonic() + 15
    while (endpoints := _endpoints(host)).count("198.18.4.30:") < 2 and time.monotonic() < end:
        time.sleep(0.5)
    assert endpoints.count("198.18.4.30:") == 2
    assert "198.18.4.21:" not in endpoints and "198.18.4.22:" not in endpoints


def _endpoints(host) -> str:
    with host.sudo():
        return host.check_output("wg show all endpoints")
