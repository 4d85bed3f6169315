"""Every member, asked over ssh as its user with sudo."""

import json

testinfra_hosts = ["peers", "clients"]


def test_all_four_are_alive(host):
    with host.sudo():
        members = json.loads(host.check_output("smegctl members trial --json"))["trial"]
    assert {(member["name"], member["liveness"]) for member in members} == {
        (name, "alive") for name in ("p1", "p2", "p3", "c1")
    }


def test_the_api_is_served(host):
    assert host.socket("tcp://:::4080").is_listening
