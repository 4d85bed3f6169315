# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom a name means."""

from __future__ import annotations

import pytest
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent
from ansible_collections.smegmesh.wireguard.plugins.modules import mesh_member

KEYS = ["A" * 43 + "=", "E" * 43 + "="]
MEMBERS = [
    {"name": "a1", "alias": "web", "node_key": KEYS[0], "own": True, "liveness": "alive"},
    {"name": "a2", "alias": "web", "node_key": KEYS[1], "liveness": "alive"},
    {"name": "a3", "alias": "a2", "node_key": "M" * 43 + "=", "liveness": "down"},
]


class Module:
    def __init__(self, member, state="revoked"):
        self.params = {"mesh": "prod", "member": member, "state": state}


@pytest.fixture(autouse=True)
def smegctl(monkeypatch):
    monkeypatch.setattr(agent, "smegctl", lambda module, arguments: {arguments[1]: MEMBERS})


@pytest.mark.parametrize("name", ["a2", KEYS[1]])
def test_a_member_is_found_by_name_and_by_key(name):
    assert mesh_member.node_key(Module(name)) == KEYS[1]


def test_of_two_with_one_alias_neither_is_meant():
    with pytest.raises(agent.AgentError, match="2 members are called web: give a node key of these"):
        mesh_member.node_key(Module("web"))


def test_a_host_does_not_revoke_itself():
    with pytest.raises(agent.AgentError, match="a1 is this host itself"):
        mesh_member.node_key(Module("a1"))


def test_who_is_no_member_is_known_by_its_key_only():
    gone = "I" * 43 + "="
    assert mesh_member.node_key(Module(gone)) == gone
    with pytest.raises(agent.AgentError, match="give its node key"):
        mesh_member.node_key(Module("laptop"))
    assert mesh_member.node_key(Module("laptop", "forgotten")) is None
    assert mesh_member.node_key(Module(gone, "forgotten")) is None


def test_only_who_is_down_is_forgotten():
    assert mesh_member.node_key(Module("a3", "forgotten")) == "M" * 43 + "="
    with pytest.raises(agent.AgentError, match="a2 is alive: only a member that is down"):
        mesh_member.node_key(Module("a2", "forgotten"))
