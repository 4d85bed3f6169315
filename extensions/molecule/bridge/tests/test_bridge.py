"""Every member of either mesh, asked over ssh as its user with sudo."""

import json

import pytest

testinfra_hosts = ["all"]


@pytest.fixture
def meshes(host):
    with host.sudo():
        return {mesh["mesh"]: mesh for mesh in json.loads(host.check_output("smegctl status --json"))["meshes"]}


@pytest.fixture
def members(host, meshes):
    """By mesh id: of the meshes that this host is in."""
    with host.sudo():
        return json.loads(host.check_output("smegctl members --json"))


def test_all_of_its_meshes_are_up_and_whole(meshes):
    assert meshes
    assert {(mesh["state"], mesh["problem"], mesh["members"]["alive"]) for mesh in meshes.values()} == {("up", None, 4)}


def test_each_mesh_reaches_the_other_through_one_bridge(meshes):
    other = {"left": "right", "right": "left"}
    for name, mesh in meshes.items():
        (route,) = mesh["routes"]
        assert (route["mesh"], route["path"], route["used"]) == (other[name], [other[name]], True)
        assert route["via"] in ("x1", "x2")


def test_every_member_answers_over_the_overlay(host, members):
    for mesh in members.values():
        for member in mesh:
            host.run_test("ping -6 -c 2 -i 0.2 -W 2 %s", member["address"])


def test_no_unit_of_ours_logged_an_error(host):
    with host.sudo():
        logged = host.check_output("journalctl --quiet --boot --priority err --unit 'smeg*'")
    assert logged == ""
