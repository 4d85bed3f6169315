# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose preshared keys are whose, and what is wrong with them, without Ansible."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.smegmesh.wireguard.plugins.modules import mesh_preshared_keys
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import identity
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.declarations import DeclarationProblems
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.preshared import keys_of

GROUPS = {"all": ["a", "b", "c", "d"], "web": ["a", "b"], "db": ["b", "c"], "other": ["d"]}
MESHES = {"prod": {"groups": {"web": {"role": "peer"}, "db": {"role": "peer"}}}, "office": {"groups": {"other": None}}}


def key(number):
    return base64.b64encode(bytes([number]) * 32).decode("ascii")


def pair(one, other, number):
    return {"hosts": [one, other], "key": key(number)}


def keys(preshared, host):
    return keys_of(preshared, MESHES, GROUPS, host, identity.load("keys").decode_key)


def test_both_hosts_of_a_pair_get_its_key_and_nobody_else():
    preshared = {"prod": [pair("a", "b", 1), pair("c", "a", 2)]}
    assert keys(preshared, "a") == {"prod": {"b": key(1), "c": key(2)}}
    assert keys(preshared, "b") == {"prod": {"a": key(1)}}
    assert keys(preshared, "c") == {"prod": {"a": key(2)}}
    assert keys(preshared, "d") == keys({}, "a") == {}


@pytest.mark.parametrize(
    ("preshared", "problem"),
    [
        ({"lab": [pair("a", "b", 1)]}, "smegmesh_preshared_keys.lab: there is no such mesh"),
        ({"prod": {"a": key(1)}}, "smegmesh_preshared_keys.prod: must be a list"),
        ({"prod": key(1)}, "smegmesh_preshared_keys.prod: must be a list"),
        ({"prod": [key(1)]}, "smegmesh_preshared_keys.prod[0]: must hold 'hosts' and 'key'"),
        ({"prod": [{**pair("a", "b", 1), "kay": 1}]}, "[0]: must hold 'hosts' and 'key'"),
        ({"prod": [{"hosts": "ab", "key": key(1)}]}, "[0]: hosts must be the names of two hosts"),
        ({"prod": [pair("a", "a", 1)]}, "[0]: hosts must be the names of two hosts"),
        ({"prod": [pair(["a"], ["b"], 1)]}, "[0]: hosts must be the names of two hosts"),
        ({"prod": [pair("a", 1, 1)]}, "[0]: hosts must be the names of two hosts"),
        ({"prod": [pair("a", "d", 1)]}, "[0]: d not in the mesh"),
        ({"prod": [{"hosts": ["a", "b"], "key": key(1)[1:]}]}, "[0]: key: not a key"),
        ({"prod": [{"hosts": ["a", "b"], "key": 5}]}, "[0]: key: not a key"),
        ({"prod": [pair("a", "b", 1), pair("b", "a", 2)]}, "[1]: its pair is that of smegmesh_preshared_keys.prod[0]"),
        ({"prod": [pair("a", "b", 1), pair("b", "c", 1)]}, "[1]: its key is that of smegmesh_preshared_keys.prod[0]"),
    ],
)
def test_problems_say_where_and_never_a_key(preshared, problem):
    for host in ("a", "d"):
        with pytest.raises(DeclarationProblems) as caught:
            keys(preshared, host)
        (found,) = caught.value.problems
        assert problem in found
        assert key(1) not in found and key(1)[1:] not in found


def test_a_diff_tells_what_changes_and_no_key():
    told = mesh_preshared_keys.predict({"prod": {"b": key(1), "a": key(2)}})
    assert told["changed"]
    assert [(each["host"], each["change"]) for each in told["changes"]] == [("a", "new"), ("b", "new")]
    changes = [{"mesh": "prod", "host": host, "change": host} for host in ("new", "replaced", "removed")]
    assert mesh_preshared_keys.diff(changes) == {
        "before": "mesh prod, with replaced: (secret)\nmesh prod, with removed: (secret)\n",
        "after": "mesh prod, with new: (secret)\nmesh prod, with replaced: (another secret)\n",
    }
