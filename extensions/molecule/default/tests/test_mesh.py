"""Every member of the mesh, asked over ssh as its user with sudo."""

import json

import pytest

testinfra_hosts = ["peers", "clients"]


@pytest.fixture
def status(host):
    with host.sudo():
        return json.loads(host.check_output("smegctl status --json"))


@pytest.fixture
def members(host):
    with host.sudo():
        return json.loads(host.check_output("smegctl members trial --json"))["trial"]


def test_the_agent_runs_and_starts_at_boot(host):
    service = host.service("smegd")
    assert service.is_running
    assert service.is_enabled


def test_its_mesh_is_up_on_an_interface_with_its_address(host, status):
    (mesh,) = status["meshes"]
    assert (mesh["mesh"], mesh["state"], mesh["problem"]) == ("trial", "up", None)
    interface = host.interface(mesh["interface"])
    assert interface.exists
    assert mesh["address"] in interface.addresses


def test_all_five_are_alive(members):
    assert {(member["name"], member["liveness"]) for member in members} == {
        (name, "alive") for name in ("p1", "p2", "p3", "c1", "c2")
    }


def test_every_member_answers_over_the_overlay(host, members):
    for member in members:
        host.run_test("ping -6 -c 2 -i 0.2 -W 2 %s", member["address"])


def test_tunnels_to_peers_have_shaken_hands(host, members):
    """A client keeps tunnels to its home and its backup alone."""
    (own,) = (member for member in members if member["own"])
    others = {member["name"] for member in members if member["role"] == "peer" and not member["own"]}
    wanted = {own["home"], own["backup"]} if own["role"] == "client" else others
    shaken = {member["name"] for member in members if member["handshake_age"] is not None}
    assert wanted <= shaken


def test_no_unit_of_ours_logged_an_error(host):
    with host.sudo():
        logged = host.check_output("journalctl --quiet --boot --priority err --unit 'smeg*'")
    assert logged == ""


def test_secrets_are_for_the_agent_alone(host):
    with host.sudo():
        for name in ("identity.key", "tunnel.key"):
            key = host.file(f"/var/lib/smegmesh/keys/{name}")
            assert (key.user, key.mode) == ("smegmesh", 0o600)
