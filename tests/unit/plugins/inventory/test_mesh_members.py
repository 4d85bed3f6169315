# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A live mesh as an inventory, from an agent that answers over a socket."""

from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import inventory_loader
from ansible.template import Templar
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.declarations import LIVE_GROUPS

PLUGIN = "smegmesh.wireguard.mesh_members"


class Source:
    """An inventory source on the disk, and what comes of it."""

    def __init__(self, path, agent):
        self._path = path
        self._agent = agent
        self.warnings = []

    def read(self, inventory=None, refresh=False, **options):
        inventory = inventory or InventoryData()
        options = {"plugin": PLUGIN, "endpoints": [self._agent.endpoint], "mesh": "prod", **options}
        self._path.write_text(yaml.safe_dump(options))
        plugin = inventory_loader.get(PLUGIN)
        assert plugin.verify_file(str(self._path))
        plugin.display = self
        plugin.parse(inventory, DataLoader(), str(self._path), cache=not refresh)
        if options.get("cache"):
            plugin.update_cache_if_changed()
        inventory.reconcile_inventory()
        return inventory

    def warning(self, text):
        self.warnings.append(text)


@pytest.fixture
def source(tmp_path, agent):
    return Source(tmp_path / "prod.smegmesh.yml", agent)


def hosts_of(inventory, group):
    return [host.name for host in inventory.groups[group].hosts]


def live_groups(inventory):
    return {name: hosts_of(inventory, name) for name in inventory.groups if name not in ("all", "ungrouped")}


def test_members_are_hosts_with_what_is_known_of_them(source, agent):
    inventory = source.read()
    assert live_groups(inventory) == {"smegmesh_live_prod": ["a1", "laptop", "web1"]}
    variables = inventory.hosts["laptop"].get_vars()
    assert variables["ansible_host"] == "fd94:2a49:680b:debe::2"
    assert variables["smegmesh_member"] == {**agent.members["prod"][2], "mesh": "prod"}
    assert not source.warnings


def test_who_said_so_and_when_is_a_variable_of_all(source, agent):
    inventory = source.read()
    said = inventory.groups["all"].vars["smegmesh_live"]["prod"]
    assert said["endpoint"] == agent.endpoint and said["node"] == "a1"
    assert said["as_of"].endswith("Z") and len(said["as_of"]) == len("2026-01-01T00:00:00Z")
    agent.members["office"] = []
    assert list(source.read(inventory, mesh="office").groups["all"].vars["smegmesh_live"]) == ["prod", "office"]


def test_the_only_mesh_need_not_be_named(source, agent):
    del agent.status["meshes"][1]
    assert "smegmesh_live_prod" in source.read(mesh=None).groups


@pytest.mark.parametrize(
    ("connect_with", "addresses"),
    [
        ("overlay", ["fd94:2a49:680b:debe::a1", "fd94:2a49:680b:debe::1", "fd94:2a49:680b:debe::2"]),
        ("endpoint", ["198.18.7.11", "2001:db8::1", None]),
        ("none", [None, None, None]),
    ],
)
def test_hosts_are_connected_to_as_one_likes(source, connect_with, addresses):
    inventory = source.read(connect_with=connect_with)
    assert [inventory.hosts[host].vars.get("ansible_host") for host in ("a1", "web1", "laptop")] == addresses


@pytest.mark.parametrize(
    ("filters", "hosts"),
    [
        ([{"include": "smegmesh_member.role == 'peer'"}, {"exclude": True}], ["a1", "web1"]),
        ([{"exclude": "smegmesh_member.liveness == 'down'"}], ["a1", "laptop"]),
        ([{"exclude": "inventory_hostname is match('web')"}], ["a1", "laptop"]),
        ([{"include": "smegmesh_member.leader"}, {"exclude": "smegmesh_member.role == 'peer'"}], ["a1", "laptop"]),
        ([{"exclude": "ansible_host is match('fd')"}], []),
    ],
)
def test_the_first_filter_that_is_true_decides(source, filters, hosts):
    assert sorted(source.read(filters=filters).hosts) == hosts


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ([{"only": "true"}], "is not understood: write include: EXPRESSION or exclude: EXPRESSION"),
        ([{"include": "true", "exclude": "true"}], "is not understood"),
        ([{"include": "smegmesh_member.rule == 'peer'"}], "cannot be worked out for a1"),
        ([{"include": "smegmesh_member.role"}], "cannot be worked out for a1"),
    ],
)
def test_a_filter_that_decides_nothing_is_an_error(source, filters, words):
    with pytest.raises(AnsibleParserError, match=words):
        source.read(filters=filters)


def test_what_is_constructed_begins_with_the_prefix(source):
    inventory = source.read(
        strict=True,
        compose={"home": "smegmesh_member.home | default('nobody', true)"},
        groups={"leaders": "smegmesh_member.leader", "at_home": "home == 'a1'"},
        keyed_groups=[
            {"key": "smegmesh_member.role"},
            {"prefix": "is", "key": "smegmesh_member.liveness", "parent_group": "states"},
        ],
    )
    assert inventory.hosts["laptop"].vars["home"] == "a1" and inventory.hosts["a1"].vars["home"] == "nobody"
    assert live_groups(inventory) == {
        "smegmesh_live_prod": ["a1", "laptop", "web1"],
        "smegmesh_live_leaders": ["a1"],
        "smegmesh_live_at_home": ["laptop"],
        "smegmesh_live_peer": ["a1", "web1"],
        "smegmesh_live_client": ["laptop"],
        "smegmesh_live_is_alive": ["a1", "laptop"],
        "smegmesh_live_is_down": ["web1"],
        "smegmesh_live_states": [],
    }
    children = [group.name for group in inventory.groups["smegmesh_live_states"].child_groups]
    assert children == ["smegmesh_live_is_alive", "smegmesh_live_is_down"]


@pytest.mark.parametrize(
    ("prefix", "leading", "names"),
    [
        ("smegmesh_live_", True, ["smegmesh_live_prod", "smegmesh_live_peer", "smegmesh_live_client"]),
        ("smegmesh_live_", False, ["smegmesh_live_prod", "smegmesh_live_peer", "smegmesh_live_client"]),
        ("", True, ["prod", "_peer", "_client"]),
        ("", False, ["prod", "peer", "client"]),
    ],
)
def test_prefix_and_leading_separator(source, prefix, leading, names):
    keyed = [{"key": "smegmesh_member.role"}]
    inventory = source.read(group_prefix=prefix, leading_separator=leading, keyed_groups=keyed)
    assert sorted(live_groups(inventory)) == sorted(names)


def test_the_default_prefix_is_the_one_that_meshes_refuse(source):
    assert all(group.startswith(LIVE_GROUPS) for group in live_groups(source.read()))


def test_strict_makes_a_wrong_expression_an_error(source):
    wrong = {"compose": {"x": "smegmesh_member.nothing.more"}}
    assert "x" not in source.read(**wrong).hosts["a1"].vars
    with pytest.raises(Exception, match="Could not set x for host a1"):
        source.read(strict=True, **wrong)


def test_an_alias_is_a_host_name_only_if_asked(source):
    assert sorted(source.read(hostnames=["alias", "name"]).hosts) == ["laptop", "one", "web1"]
    assert len(source.warnings) == 1 and "the alias '{{ 1 + 1 }}' of web1 is no host name" in source.warnings[0]


def test_what_a_member_says_is_never_a_template(source):
    inventory = source.read(compose={"copy": "smegmesh_member.alias"})
    variables = inventory.hosts["web1"].get_vars()
    assert variables["smegmesh_member"]["alias"] == "{{ 1 + 1 }}"
    templar = Templar(loader=DataLoader(), variables=variables)
    assert templar.template(variables["smegmesh_member"]["alias"]) == "{{ 1 + 1 }}"
    assert templar.template(variables["copy"]) == "{{ 1 + 1 }}"


def test_the_expressions_of_the_file_are_templates_also_from_the_cache(source, agent, cache):
    source.read(**cache)
    variables = source.read(compose={"copy": "smegmesh_member.alias"}, **cache).hosts["web1"].get_vars()
    assert Templar(loader=DataLoader(), variables=variables).template(variables["copy"]) == "{{ 1 + 1 }}"
    assert len(agent.asked) == 1


def test_a_member_that_is_no_host_is_a_warning(source, agent):
    agent.members["prod"] += [{"name": "-x", "address": "fd00::1"}, {"name": "localhost", "address": "fd00::1"}]
    assert sorted(source.read().hosts) == ["a1", "laptop", "web1"]
    assert [text.split(": ", 2)[1] for text in source.warnings] == ["mesh prod"] * 2


# --- beside the static inventory ------------------------------------------------------------------


@pytest.fixture
def static():
    inventory = InventoryData()
    inventory.add_group("servers")
    inventory.add_host("a1", group="servers")
    inventory.set_variable("a1", "ansible_host", "198.51.100.1")
    inventory.add_host("web1", group="servers")
    return inventory


def test_a_host_that_is_there_is_left_as_it_is(source, static):
    before = static.hosts["a1"].get_vars()
    inventory = source.read(static)
    assert hosts_of(inventory, "smegmesh_live_prod") == ["laptop"]
    assert static.hosts["a1"].get_vars() == before
    assert len(source.warnings) == 1 and "left as they are: a1, web1: say existing: merge" in source.warnings[0]


def test_a_host_may_be_merged_and_keeps_its_variables(source, static):
    inventory = source.read(static, existing="merge")
    assert hosts_of(inventory, "smegmesh_live_prod") == ["a1", "laptop", "web1"]
    assert hosts_of(inventory, "servers") == ["a1", "web1"]
    assert inventory.hosts["a1"].vars["ansible_host"] == "198.51.100.1"
    assert inventory.hosts["a1"].vars["smegmesh_member"]["leader"] is True
    assert inventory.hosts["web1"].vars["ansible_host"] == "fd94:2a49:680b:debe::1"
    assert not source.warnings


def test_an_alias_makes_no_member_into_a_host_that_is_there(source, static, agent):
    agent.members["prod"] = [dict(agent.members["prod"][2], alias="web1")]
    source.read(static, existing="merge", hostnames=["alias", "name"])
    assert "smegmesh_member" not in static.hosts["web1"].vars
    assert "left as they are: web1: only node names are merged" in source.warnings[0]


def test_two_meshes_have_room_in_one_host(source, agent):
    agent.members["office"] = [dict(agent.members["prod"][0], address="fd01::1")]
    inventory = source.read(source.read(), mesh="office", existing="merge", variable="smegmesh_office")
    variables = inventory.hosts["a1"].vars
    assert (variables["smegmesh_member"]["mesh"], variables["smegmesh_office"]["mesh"]) == ("prod", "office")
    assert variables["smegmesh_office"]["address"] == "fd01::1"


# --- the cache ------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path):
    return {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}


def test_a_cached_answer_asks_nobody_and_keeps_its_time(source, agent, cache):
    first = source.read(**cache)
    agent.stop()
    again = source.read(ca="/nonexistent", **cache)
    assert sorted(again.hosts) == sorted(first.hosts)
    assert again.groups["all"].vars["smegmesh_live"] == first.groups["all"].vars["smegmesh_live"]
    assert again.hosts["a1"].vars["smegmesh_member"] == first.hosts["a1"].vars["smegmesh_member"]


def test_a_refresh_asks_again_and_is_kept(source, agent, cache):
    source.read(**cache)
    del agent.members["prod"][2]
    assert "laptop" in source.read(**cache).hosts
    assert "laptop" not in source.read(refresh=True, **cache).hosts
    agent.stop()
    assert "laptop" not in source.read(**cache).hosts


def test_another_question_is_not_answered_from_the_cache(source, agent, cache):
    agent.members["office"] = []
    source.read(**cache)
    assert not source.read(mesh="office", **cache).hosts


def test_no_agent_is_an_error_of_the_source(source, agent):
    agent.stop()
    with pytest.raises(AnsibleParserError, match="mesh_members: no agent answers: unix:"):
        source.read()


@pytest.mark.parametrize(("name", "mine"), [("x.smegmesh.yaml", True), ("x.yml", False), ("smegmesh.yml", False)])
def test_files_are_known_by_their_names(tmp_path, name, mine):
    path = tmp_path / name
    path.write_text("plugin: " + PLUGIN)
    assert inventory_loader.get(PLUGIN).verify_file(str(path)) is mine
