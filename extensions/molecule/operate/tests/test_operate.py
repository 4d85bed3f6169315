"""Every member, before and after, asked over ssh as its user with sudo."""

import json

testinfra_hosts = ["peers", "clients"]


def test_all_four_are_alive_and_answer(host):
    with host.sudo():
        members = json.loads(host.check_output("smegctl members trial --json"))["trial"]
    assert {(member["name"], member["liveness"]) for member in members} == {
        (name, "alive") for name in ("p1", "p2", "p3", "c1")
    }
    for member in members:
        host.run_test("ping -6 -c 2 -i 0.2 -W 2 %s", member["address"])
