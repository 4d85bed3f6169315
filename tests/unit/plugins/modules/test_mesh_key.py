# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the host's key is replaced, and what is said of it."""

from __future__ import annotations

import os

import pytest
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent
from ansible_collections.smegmesh.wireguard.plugins.modules import mesh_key


class Module:
    """As much of AnsibleModule as it needs."""

    def __init__(self, check_mode=False, **params):
        self.check_mode = check_mode
        self.params = dict({"older_than": 0, "force": False}, **params)


@pytest.fixture(name="refused")
def fixture_refused():
    """Why the agent refuses to replace the key; empty where it does not."""
    return []


@pytest.fixture(name="asked")
def fixture_asked(monkeypatch, tmp_path, refused):
    """What the agent of a host with a key of ten days was asked to do."""
    key, asked = tmp_path / "tunnel.key", []
    key.write_text("private")
    now = mesh_key.time.time()
    os.utime(key, (now, now - 10 * mesh_key.DAY))

    def smegctl(_module, arguments):
        asked.append(arguments)
        if arguments == ["status"]:
            return {"node_key": "N", "tunnel_key": "T"}
        if refused:
            raise agent.AgentError(refused[0])
        if "--check" in arguments:
            return {"node_key": "N", "before": "T", "tunnel_key": "T"}
        return {"node_key": "N", "before": "T", "tunnel_key": "U"}

    monkeypatch.setattr(mesh_key, "KEY", str(key))
    monkeypatch.setattr(agent, "installed", lambda: True)
    monkeypatch.setattr(agent, "smegctl", smegctl)
    return asked


def test_a_key_is_replaced(asked):
    result = mesh_key.ensure(Module())
    assert (result["changed"], result["node_key"], result["tunnel_key"], result["age"]) == (True, "N", "U", 10.0)
    assert result["diff"] == {"before": {"tunnel_key": "T"}, "after": {"tunnel_key": "U"}}
    mesh_key.ensure(Module(force=True))
    assert asked[1::2] == [["rotate"], ["rotate", "--force"]]


def test_one_that_is_not_old_enough_stays(asked):
    result = mesh_key.ensure(Module(older_than=11))
    assert (result["changed"], result["tunnel_key"]) == (False, "T")
    assert asked == [["status"]]
    assert mesh_key.ensure(Module(older_than=10))["changed"]


def test_a_check_changes_nothing_and_shows_no_key_that_is_not_made(asked):
    result = mesh_key.ensure(Module(check_mode=True))
    assert (result["changed"], result["tunnel_key"]) == (True, "T")
    assert result["diff"]["after"] == {"tunnel_key": "(generated)"}
    mesh_key.ensure(Module(check_mode=True, force=True))
    assert asked[1::2] == [["rotate", "--check"], ["rotate", "--force", "--check"]]


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_refused_is_refused_in_check_mode_too(asked, refused, check_mode):
    refused.append("the agents of a2 do not answer")
    with pytest.raises(agent.AgentError, match="a2 do not answer"):
        mesh_key.ensure(Module(check_mode=check_mode))
    assert not mesh_key.ensure(Module(check_mode=check_mode, older_than=11))["changed"], "nothing is to be done"


def test_a_host_without_a_key(asked, monkeypatch):
    monkeypatch.setattr(mesh_key, "KEY", "/nowhere/tunnel.key")
    with pytest.raises(agent.AgentError, match="run the role smegmesh"):
        mesh_key.ensure(Module())
    assert asked == [["status"]]
