# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's message to the agent, and its prediction where there is none."""

from __future__ import annotations

import json

import pytest
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, declaring
from ansible_collections.smegmesh.wireguard.plugins.modules import mesh, mesh_info


def params(**given):
    values = dict.fromkeys([*mesh.SETTINGS, "mesh", "declarations"])
    values.update(state="present", owner="play", purge=False)
    values.update(given)
    return values


def test_one_mesh_says_only_what_was_given():
    message = mesh.request(params(mesh="prod", role="peer", port=1, advertise=[]))
    assert message == {
        "declarations": [
            {"mesh": "prod", "role": "peer", "port": 1, "advertise": [], "state": "present", "owner": "play"}
        ]
    }


def test_what_ansible_makes_another_form_of_arrives_as_written():
    health = {"target": "2001:db8::1", "interval": None, "misses": 5}
    message = mesh.request(params(mesh="prod", accept_routes=["all"], health=health))
    (declared,) = message["declarations"]
    assert declared["accept_routes"] == "all"
    assert declared["health"] == {"target": "2001:db8::1", "misses": 5}
    message = mesh.request(params(mesh="prod", accept_routes=["2001:db8::/32"]))
    assert message["declarations"][0]["accept_routes"] == ["2001:db8::/32"]


def test_several_are_of_one_owner_and_purge_the_rest():
    message = mesh.request(
        params(declarations=[{"mesh": "a"}, {"mesh": "b", "state": "absent"}], owner="role", purge=True)
    )
    assert message == {
        "declarations": [
            {"state": "present", "mesh": "a", "owner": "role"},
            {"state": "absent", "mesh": "b", "owner": "role"},
        ],
        "purge_owner": "role",
    }


def test_prediction_shows_what_would_be_written():
    answer = declaring.predict(mesh.request(params(declarations=[{"mesh": "a"}, {"mesh": "b", "state": "absent"}])))
    (change,) = answer["changes"]
    assert answer["changed"]
    assert change["path"] == "/etc/smegmesh/meshes.d/a.yml"
    assert json.loads(change["after"]) == {"mesh": "a", "owner": "play"}


def test_nothing_to_leave_is_no_change():
    assert not declaring.predict(mesh.request(params(mesh="a", state="absent")))["changed"]


class FakeModule:
    """As much of AnsibleModule as smegctl needs: an answer to one command."""

    def __init__(self, code, out, err=""):
        self.answer = (code, out, err)
        self.ran = None

    def run_command(self, command, **options):
        self.ran = (command, options)
        return self.answer


def test_the_agents_own_words_are_the_error():
    said = {"error": {"message": "unknown key `prot`", "path": "prod.yml: prot", "fix": "did you mean `port`?"}}
    with pytest.raises(agent.AgentError, match=r"^prod.yml: prot: unknown key `prot`: did you mean `port`\?$"):
        agent.smegctl(FakeModule(2, json.dumps(said)), ["apply"], {})


def test_an_agent_that_says_nothing_sensible():
    with pytest.raises(agent.AgentError, match=r"smegctl status failed \(exit status 1\): Traceback"):
        agent.smegctl(FakeModule(1, "", "Traceback"), ["status"])


def test_declarations_go_to_its_input_not_its_arguments():
    module = FakeModule(0, "{}")
    agent.smegctl(module, ["apply"], {"declarations": []})
    command, options = module.ran
    assert command == [agent.SMEGCTL, "apply", "--json"]
    assert json.loads(options["data"]) == {"declarations": []}


def test_why_a_mesh_is_not_up():
    status = {"meshes": [{"mesh": "a", "state": "up"}, {"mesh": "b", "state": "failed", "problem": "port 1 is in use"}]}
    assert mesh_info.troubles(status, ["a"]) == {}
    found = mesh_info.troubles(status, ["a", "b", "c"])
    assert found["b"] == "port 1 is in use"
    assert found["c"].startswith("the agent does not know it")
