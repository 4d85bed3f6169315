# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which way a key goes, and when another gives way to it."""

from __future__ import annotations

import json

import pytest
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, removal
from ansible_collections.smegmesh.wireguard.plugins.modules import agent_key

KEY = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="


class Module:
    """As much of AnsibleModule as is asked for, on a host whose key has this public half."""

    check_mode = False

    def __init__(self, held="", replace=False, full=False):
        self.params = {"private_key": KEY + "\n", "replace": replace}
        self.held = held
        self.full = full
        self.commands = []

    def get_bin_path(self, name, *_required):
        return "/sbin/" + name

    def run_command(self, command, data=None, **_options):
        assert data == KEY
        self.commands.append(command)
        if self.full and "--check" not in command:
            return 1, json.dumps({"error": {"message": "the disk is full"}}), ""
        return 0, json.dumps({"changed": self.held != "new", "node_key": "new", "before": self.held}), ""


@pytest.fixture(name="stopped", autouse=True)
def fixture_stopped(monkeypatch):
    stopped = []
    monkeypatch.setattr(removal, "mesh_interfaces", lambda _module: ["smeg-prod"])
    monkeypatch.setattr(removal, "stop", lambda _module, interfaces: stopped.append(interfaces))
    return stopped


@pytest.fixture(name="started", autouse=True)
def fixture_started(monkeypatch):
    started = []
    monkeypatch.setattr(removal, "running", lambda _module: True)
    monkeypatch.setattr(removal, "start", started.append)
    return started


@pytest.mark.parametrize("held", ["", "new", "old"])
def test_the_key_is_no_argument_of_any_process(held):
    module = Module(held, replace=True)
    agent_key.ensure(module)
    assert module.commands
    assert not any(KEY in argument for command in module.commands for argument in command)


def test_the_agent_is_stopped_only_where_another_key_gives_way(stopped):
    for held in ("", "new"):
        agent_key.ensure(Module(held, replace=True))
    assert stopped == []
    module = Module("old", replace=True)
    agent_key.ensure(module)
    assert stopped == [["smeg-prod"]]
    assert module.commands[-1][-3:] == ["import-key", "--replace", "--json"]


def test_check_mode_stops_and_writes_nothing(stopped):
    module = Module("old", replace=True)
    module.check_mode = True
    assert agent_key.ensure(module)["changed"]
    assert all("--check" in command for command in module.commands)
    assert stopped == []


def test_another_key_stays_unless_it_is_meant(stopped):
    module = Module("old")
    with pytest.raises(agent.AgentError, match=r"already, old, not new: .*smegmesh_replace_private_key: true"):
        agent_key.ensure(module)
    assert all("--check" in command for command in module.commands)
    assert stopped == []


@pytest.mark.parametrize("ran", [True, False])
def test_an_agent_that_ran_does_again_if_the_key_cannot_be_replaced(monkeypatch, stopped, started, ran):
    monkeypatch.setattr(removal, "running", lambda _module: ran)
    module = Module("old", replace=True, full=True)
    with pytest.raises(agent.AgentError, match="the disk is full"):
        agent_key.ensure(module)
    assert stopped == [["smeg-prod"]]
    assert started == [module] * ran


def test_an_agent_that_does_not_stop_is_started_again(monkeypatch, started):
    def refuse(_module, _interfaces):
        raise agent.AgentError("cannot stop the agent")

    monkeypatch.setattr(removal, "stop", refuse)
    module = Module("old", replace=True)
    with pytest.raises(agent.AgentError, match="cannot stop"):
        agent_key.ensure(module)
    assert started == [module]
    assert all("--check" in command for command in module.commands)


def test_after_a_replacement_the_agent_is_left_to_whoever_certifies_the_host(started):
    agent_key.ensure(Module("old", replace=True))
    assert started == []
