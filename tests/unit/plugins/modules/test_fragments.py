# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""mesh_service and mesh_route: what they ask of the agent, and what they say where there is none."""

from __future__ import annotations

import contextlib
import io
import json

import pytest
from ansible.module_utils import basic
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent
from ansible_collections.smegmesh.wireguard.plugins.modules import mesh_route, mesh_service

HTTPS = {"mesh": "prod", "name": "https", "value": "tcp/443"}
LAB = {"mesh": "prod", "name": "lab", "advertise": ["2001:db8:10::/48", "2001:db8:11::/48"]}
SERVICE_FILE = "/etc/smegmesh/meshes.d/prod.d/service-https.yml"


class Host:
    """Runs a module as Ansible does, with an agent whose answer a test sets, or none."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.answer = None
        self.error = ""
        self.asked = []
        monkeypatch.setattr(agent, "installed", lambda: self.answer is not None)
        monkeypatch.setattr(agent, "smegctl", self.smegctl)

    def smegctl(self, module, arguments, message):
        self.asked.append((arguments, message))
        if self.error:
            raise agent.AgentError(self.error)
        return self.answer

    def run(self, module, arguments, **special):
        given = dict(arguments, **{"_ansible_" + name: value for name, value in special.items()})
        self.monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
        self.monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        output = io.StringIO()
        with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as ended:
            module.main()
        result = json.loads(output.getvalue())
        assert bool(ended.value.code) == bool(result.get("failed"))
        return result


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


CHANGED = {
    "changed": True,
    "reloaded": True,
    "changes": [{"path": SERVICE_FILE, "before": "", "after": "owner: play\n"}],
}
SAME = {"changed": False, "reloaded": False, "changes": []}


def test_a_service(host):
    host.answer = CHANGED
    result = host.run(mesh_service, HTTPS)
    fragment = {"mesh": "prod", "name": "service-https", "state": "present", "services": {"https": "tcp/443"}}
    assert host.asked == [(["apply"], {"fragments": [fragment]})]
    assert (result["changed"], result["reloaded"], result["changes"]) == (True, True, [SERVICE_FILE])
    assert "diff" not in result
    host.answer = SAME
    assert not host.run(mesh_service, HTTPS)["changed"]


def test_a_route(host):
    host.answer = SAME
    host.run(mesh_route, LAB)
    fragment = {"mesh": "prod", "name": "route-lab", "state": "present", "advertise": LAB["advertise"]}
    assert host.asked == [(["apply"], {"fragments": [fragment]})]


@pytest.mark.parametrize(
    ("module", "arguments", "name"), [(mesh_service, HTTPS, "service-https"), (mesh_route, LAB, "route-lab")]
)
def test_what_goes_is_only_named(host, module, arguments, name):
    host.answer = SAME
    host.run(module, dict(arguments, state="absent"))
    host.run(module, {"mesh": "prod", "name": arguments["name"], "state": "absent"})
    message = {"fragments": [{"mesh": "prod", "name": name, "state": "absent"}]}
    assert host.asked == [(["apply"], message)] * 2


def test_check_mode_asks_only_and_diff_mode_shows_the_file(host):
    host.answer = CHANGED
    result = host.run(mesh_service, HTTPS, check_mode=True, diff=True)
    assert host.asked[0][0] == ["apply", "--check"]
    assert result["diff"] == [
        {"before_header": SERVICE_FILE, "after_header": SERVICE_FILE, "before": "", "after": "owner: play\n"}
    ]


@pytest.mark.parametrize(
    ("module", "arguments", "missing"), [(mesh_service, HTTPS, "value"), (mesh_route, LAB, "advertise")]
)
def test_what_is_present_says_what_it_is(host, module, arguments, missing):
    result = host.run(module, {key: value for key, value in arguments.items() if key != missing})
    assert result["failed"] and missing in result["msg"]
    assert host.asked == []


def test_the_agents_words_are_the_error(host):
    host.answer = SAME
    host.error = "the certificate does not let a1 advertise ::/0: declare it and run site"
    result = host.run(mesh_route, LAB, check_mode=True)
    assert result["failed"] and result["msg"] == host.error


def test_without_an_agent_check_mode_predicts_and_a_run_names_the_role(host):
    result = host.run(mesh_service, HTTPS, check_mode=True, diff=True)
    assert (result["changed"], result["changes"]) == (True, [SERVICE_FILE])
    assert json.loads(result["diff"][0]["after"])["services"] == {"https": "tcp/443"}
    assert "no agent on this host yet" in json.dumps(result["warnings"])
    assert not host.run(mesh_service, dict(HTTPS, state="absent"), check_mode=True)["changed"]
    result = host.run(mesh_service, HTTPS)
    assert result["failed"] and "with the role smegmesh" in result["msg"]
