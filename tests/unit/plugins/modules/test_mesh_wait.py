# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a mesh is as it should be, and what is said if it is not."""

from __future__ import annotations

import pytest
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent
from ansible_collections.smegmesh.wireguard.plugins.modules import mesh_wait

STATUS = {"node_name": "a1"}
UP = {"mesh": "prod", "state": "up", "digest": "00ff"}


def member(name, liveness="alive", own=False):
    return {"name": name, "liveness": liveness, "own": own}


OWN = member("a1", own=True)


def differ(members, names=None, digest=None, **mesh):
    found = mesh_wait.differ(STATUS, dict(UP, **mesh), members, names, digest)
    return [(each["name"], each["what"], each["found"]) for each in found]


def test_all_members_are_those_that_are_known():
    assert differ([OWN, member("a2")]) == []
    assert differ([OWN, member("a2", "down"), member("a3", "mute")]) == [
        ("a2", "liveness", "down"),
        ("a3", "liveness", "mute"),
    ]


def test_the_host_itself_is_one_of_them():
    assert differ([]) == [("a1", "liveness", "missing")]
    assert differ([member("a2")]) == [("a1", "liveness", "missing")]


def test_only_the_listed_are_looked_at():
    members = [OWN, member("a2", "down"), member("a3")]
    assert differ(members, ["a3"]) == []
    assert differ(members, ["a2", "a4"]) == [("a2", "liveness", "down"), ("a4", "liveness", "missing")]
    assert differ(members, []) == []


def test_one_of_a_name_is_enough_where_it_is_listed():
    members = [OWN, member("a2", "down"), member("a2")]
    assert differ(members, ["a2"]) == []
    assert differ(members) == [("a2", "liveness", "down")]


def test_what_the_host_knows():
    assert differ([OWN], digest="00ff") == []
    assert differ([OWN], digest="00fe") == [("a1", "digest", "00ff")]


def test_a_host_that_hears_nobody_is_not_there_yet():
    assert differ([OWN, member("a2")], informed=False) == [("a1", "map", "not compared yet")]
    assert differ([OWN, member("a2")], informed=True) == []
    assert differ([OWN, member("a2", "down")], ["a1"], informed=False) == [], "nobody is there to be compared with"


def test_a_mesh_that_is_not_up():
    (undeclared,) = mesh_wait.differ(STATUS, None, [], None, None)
    assert undeclared == {"name": "a1", "what": "state", "expected": "up", "found": "not declared"}
    assert differ([OWN], state="starting") == [("a1", "state", "starting")]
    assert differ([], ["a2"], state="failed", problem="port 1 is in use") == [
        ("a1", "state", "failed (port 1 is in use)"),
        ("a2", "liveness", "missing"),
    ]


def test_the_message_is_one_line_however_many_differ():
    found = mesh_wait.differ(STATUS, UP, [OWN], ["b%d" % number for number in range(100)], None)
    text = mesh_wait.describe(found)
    assert text.startswith("b0: liveness is missing instead of alive; b1: ")
    assert text.endswith("; and 95 more: see smegctl status and smegctl members on this host")


class Module:
    """As much of AnsibleModule as a wait needs."""

    def __init__(self, **params):
        self.params = dict(
            {"mesh": "prod", "members": None, "digest": None, "timeout": 5, "sleep": 0.0, "ping": False}, **params
        )


@pytest.fixture
def answers(monkeypatch):
    """What the agent says, look by look: a list of members, or its error; the last for ever."""
    queue = []

    def smegctl(_module, arguments):
        now = queue[0]
        if isinstance(now, agent.AgentError):
            queue[:] = queue[1:] or queue
            raise now
        if arguments == ["status"]:
            return dict(STATUS, meshes=[UP])
        queue[:] = queue[1:] or queue
        return {"prod": now}

    monkeypatch.setattr(agent, "smegctl", smegctl)
    return queue


def test_it_looks_until_all_is_well(answers):
    answers += [agent.AgentError("smegd is not running"), [OWN], [OWN, member("a2", "mute")], [OWN, member("a2")]]
    result = mesh_wait.wait(Module(members=["a2"]))
    assert result["differences"] == []
    assert not result["changed"]
    assert result["digest"] == "00ff"
    assert result["alive"] == ["a1", "a2"]


def test_when_the_time_is_over_it_has_the_last_look(answers):
    answers += [[OWN, member("a2", "down")]]
    result = mesh_wait.wait(Module(members=["a2"], timeout=0))
    assert [each["found"] for each in result["differences"]] == ["down"]
    assert result["alive"] == ["a1"]


def test_members_that_do_not_answer_a_ping(answers, monkeypatch):
    answers += [[OWN, member("a2"), member("a3"), member("a4", "down")]]
    reached = ["a1"]
    monkeypatch.setattr(agent, "ping", lambda _module, asked: {each["name"]: each["name"] in reached for each in asked})
    result = mesh_wait.wait(Module(members=["a2", "a3"], ping=True, timeout=0))
    assert [(each["name"], each["what"]) for each in result["differences"]] == [("a2", "ping"), ("a3", "ping")]
    reached.append("a3")
    assert mesh_wait.wait(Module(members=["a3"], ping=True, timeout=0))["differences"] == []


def test_an_agent_that_does_not_answer(answers):
    answers += [agent.AgentError("smegd is not running: start it")]
    result = mesh_wait.wait(Module(timeout=0))
    assert mesh_wait.describe(result["differences"]) == "its agent does not answer: smegd is not running: start it"
