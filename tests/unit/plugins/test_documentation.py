# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What several places say of modules is the same, where ansible-test does not look: it knows no action plugins."""

from __future__ import annotations

import importlib
import json
import pathlib

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play import Play
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring
from ansible.vars.manager import VariableManager
from ansible_collections.smegmesh.wireguard.plugins.modules import mesh
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import declarations

ROOT = pathlib.Path(__file__).parents[3]
COLLECTION = "smegmesh.wireguard"
ATTRIBUTES = {"check_mode", "diff_mode", "idempotent", "platform"}


def names(kind):
    return sorted(path.stem for path in (ROOT / "plugins" / kind).glob("*.py") if path.stem != "__init__")


def yamls(kind):
    return sorted((ROOT / "plugins" / kind).glob("*.yml"))


def docstring(path, kind="module"):
    """Documentation, examples and so on."""
    return get_docstring(str(path), fragment_loader, collection_name=COLLECTION, plugin_type=kind)


def documentation(module):
    return docstring(ROOT / "plugins" / "modules" / (module + ".py"))[0]


def examples(kind, name):
    """The documents of a plugin's examples; a filter or test has a file of its own for its documentation."""
    path = ROOT / "plugins" / kind / (name + ".py")
    if not path.exists():
        path = path.with_suffix(".yml")
    return [document for document in yaml.safe_load_all(docstring(path, kind)[1]) if document]


def action(name):
    return importlib.import_module("ansible_collections.%s.plugins.action.%s" % (COLLECTION, name))


def test_the_action_group_has_every_module():
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    assert groups == {"smegmesh": names("modules")}


@pytest.mark.parametrize("module", names("modules"))
def test_a_module_says_how_far_it_supports_what(module):
    attributes = documentation(module)["attributes"]
    assert set(attributes) == ATTRIBUTES
    assert all(each["description"] and each["support"] for each in attributes.values())


@pytest.mark.parametrize("name", names("action"))
def test_an_action_supports_the_check_mode_that_is_documented(name):
    said = documentation(name)["attributes"]["check_mode"]["support"]
    assert action(name).ActionModule._supports_check_mode == (said in ("full", "partial"))


@pytest.mark.parametrize("name", names("action"))
def test_an_action_takes_the_options_that_are_documented(name):
    documented = documentation(name)["options"]
    public = {option: facts(spec) for option, spec in documented.items() if not option.startswith("_")}
    assert {option: facts(spec) for option, spec in action(name).SPEC.items()} == public


@pytest.mark.parametrize("name", names("modules"))
def test_the_examples_of_a_module_are_tasks_with_options_that_it_has(name):
    (tasks,) = examples("modules", name)
    load(tasks)
    for task in tasks:
        for action, arguments in task.items():
            if action.startswith(COLLECTION + "."):
                known = set(documentation(action.rpartition(".")[2])["options"])
                assert set(arguments or ()) <= known, task["name"]
    assert any(COLLECTION + "." + name in task for task in tasks)


@pytest.mark.parametrize("name", names("lookup"))
def test_the_examples_of_a_lookup_are_tasks_that_use_it(name):
    (tasks,) = examples("lookup", name)
    load(tasks)
    assert all(COLLECTION + "." + name in json.dumps(task) for task in tasks)


def test_the_examples_of_the_inventory_are_sources_with_options_that_it_has():
    known = set(docstring(ROOT / "plugins" / "inventory" / "mesh_members.py", "inventory")[0]["options"])
    sources = examples("inventory", "mesh_members")
    assert len(sources) > 1
    for source in sources:
        assert source["plugin"] == COLLECTION + ".mesh_members"
        assert set(source) <= known


@pytest.mark.parametrize(("kind", "name"), [(kind, path.stem) for kind in ("filter", "test") for path in yamls(kind)])
def test_the_examples_of_filters_and_tests_are_variables_that_use_them(kind, name):
    (variables,) = examples(kind, name)
    assert all(COLLECTION + "." + name in json.dumps(value) for value in variables.values())


def load(tasks):
    """What --syntax-check does with a play of these tasks; it raises for what is none."""
    loader = DataLoader()
    Play.load({"hosts": "all", "tasks": tasks}, variable_manager=VariableManager(loader=loader), loader=loader)


def test_the_keys_of_a_declaration_are_those_of_the_agents_schema():
    schema = ROOT / "roles" / "smegmesh" / "files" / "smegmesh" / "src" / "smegmesh" / "declaration.json"
    properties = json.loads(schema.read_text("utf-8"))["properties"]
    assert set(mesh.SETTINGS) == set(declarations.SETTINGS) == set(properties) - {"mesh", "owner"}
    choices = {key: spec["choices"] for key, spec in mesh.SETTINGS.items() if "choices" in spec}
    assert choices == {key: properties[key]["enum"] for key in properties if key in choices}


def facts(option):
    """What a specification and a documentation of an option both say."""
    told = {key: option.get(key) for key in ("type", "elements", "choices", "default")}
    return dict(told, required=option.get("required", False))
