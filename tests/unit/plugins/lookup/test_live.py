# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lookups in a live mesh, from an agent that answers over a socket."""

from __future__ import annotations

import pathlib

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar
from ansible_collections.smegmesh.wireguard.plugins.lookup import mesh_query

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19, which takes any text for a template
    trust_as_template = str


def ask(lookup, terms, variables=None, **options):
    loader = DataLoader()
    templar = Templar(loader, variables=variables)
    return lookup_loader.get(f"smegmesh.wireguard.{lookup}", loader=loader, templar=templar).run(
        terms, variables, **options
    )


@pytest.fixture
def at(agent):
    return {"endpoints": [agent.endpoint]}


# --- mesh_address ---------------------------------------------------------------------------------


def test_names_and_aliases_have_addresses(agent, at):
    assert ask("mesh_address", ["laptop", "one"], mesh="prod", **at) == [
        "fd94:2a49:680b:debe::2",
        "fd94:2a49:680b:debe::a1",
    ]
    assert agent.asked == ["/v1/meshes/prod/members"]


def test_an_unknown_name_says_where_it_was_looked_for(at):
    with pytest.raises(AnsibleError, match="mesh_address: mesh prod: no member is called 'a9': see"):
        ask("mesh_address", ["a9"], mesh="prod", **at)


def test_options_come_from_variables_and_the_environment(agent, monkeypatch):
    monkeypatch.setenv("SMEGMESH_QUERY_MESH", "prod")
    variables = {"smegmesh_query_endpoints": [agent.endpoint]}
    assert ask("mesh_address", ["a1"], variables) == ["fd94:2a49:680b:debe::a1"]


def test_variables_may_be_made_of_others(agent):
    written = trust_as_template("unix://{{ directory }}/api.sock")
    variables = {"smegmesh_query_endpoints": [written], "directory": str(pathlib.Path(agent.endpoint[7:]).parent)}
    assert ask("mesh_address", ["a1"], variables, mesh="prod") == ["fd94:2a49:680b:debe::a1"]


def test_no_agent_is_an_error(agent, at):
    agent.stop()
    with pytest.raises(AnsibleError, match="mesh_address: no agent answers"):
        ask("mesh_address", ["a1"], **at)


# --- mesh_query -----------------------------------------------------------------------------------


def test_expressions_find_what_is_there(agent, at):
    pytest.importorskip("jmespath")
    terms = ["members.prod[?role=='peer'].name", "status.node_name", "length(meshes)", "nothing"]
    assert ask("mesh_query", terms, **at) == [["a1", "web1"], "a1", 2, None]
    assert len(agent.asked) == 2


def test_a_wrong_expression_is_named_before_anybody_is_asked(agent, at):
    pytest.importorskip("jmespath")
    with pytest.raises(AnsibleError, match=r"mesh_query: the expression 'members\[' does not hold: ") as caught:
        ask("mesh_query", ["members["], **at)
    assert "\n" not in str(caught.value) and not agent.asked


def test_what_is_wrong_is_said_briefly_however_long_what_is_searched_is(agent, at):
    pytest.importorskip("jmespath")
    agent.members["prod"] *= 1000
    with pytest.raises(AnsibleError, match="does not hold: In function abs") as caught:
        ask("mesh_query", ["abs(@)"], **at)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("term", ["length(nothing)", "nosuch(status)"])
def test_an_expression_that_fails_on_the_answer_is_named(at, term):
    pytest.importorskip("jmespath")
    with pytest.raises(AnsibleError, match="does not hold"):
        ask("mesh_query", [term], **at)


def test_without_jmespath_it_says_what_is_missing(at, monkeypatch):
    monkeypatch.setattr(mesh_query, "JMESPATH_ERROR", ImportError("no"))
    with pytest.raises(AnsibleError, match=r"required Python library \(jmespath\)"):
        ask("mesh_query", ["status"], **at)
