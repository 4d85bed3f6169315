"""Every receiver, asked over ssh as its user with sudo."""

import json

import pytest

testinfra_hosts = ["receivers", "clients"]

SITE, INTERNET = "2001:db8:10::5", "2001:db8:99::1"


@pytest.fixture
def mesh(host):
    with host.sudo():
        (found,) = json.loads(host.check_output("smegctl status --json"))["meshes"]
    return found


def test_its_mesh_is_up_and_whole(mesh):
    assert (mesh["state"], mesh["problem"], mesh["members"]["alive"]) == ("up", None, 6)


def test_the_site_is_reached_through_one_of_the_exits(host, mesh):
    (route,) = (route for route in mesh["routes"] if route["prefix"] == "2001:db8:10::/48")
    assert route["used"] and route["path"] == [] and route["via"] in ("e1", "e2", "e3")
    host.run_test("ping -6 -c 2 -i 0.2 -W 2 %s", SITE)


def test_the_internet_is_for_who_accepts_it(host, mesh):
    (route,) = (route for route in mesh["routes"] if route["prefix"] == "::/0")
    accepts = host.backend.get_hostname() == "r1"
    assert route["used"] is accepts
    assert host.run("ping -6 -c 2 -i 0.2 -W 2 %s", INTERNET).succeeded is accepts


def test_no_unit_of_ours_logged_an_error(host):
    with host.sudo():
        logged = host.check_output("journalctl --quiet --boot --priority err --unit 'smeg*'")
    assert logged == ""
