"""What is there to be undone."""

import json

testinfra_hosts = ["all"]


def test_the_agent_runs_with_its_meshes_up(host):
    with host.sudo():
        status = json.loads(host.check_output("smegctl status --json"))
    assert status["meshes"] and {mesh["state"] for mesh in status["meshes"]} == {"up"}
