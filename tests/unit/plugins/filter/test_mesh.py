# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters follow the published vectors."""

from __future__ import annotations

import json
import pathlib

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.smegmesh.wireguard.plugins.filter.mesh import FilterModule

FILTERS = FilterModule().filters()
VECTORS = pathlib.Path(__file__).parents[3] / "vectors" / "addresses.json"


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_text())["vectors"])
def test_vectors(vector):
    assert FILTERS["mesh_prefix"](vector["mesh_id"]) == vector["prefix"]
    assert FILTERS["node_address"](vector["node_key"], vector["mesh_id"]) == vector["address"]


def test_bad_input_is_told():
    with pytest.raises(AnsibleFilterError, match="mesh_prefix: mesh id 'No' has the bad label"):
        FILTERS["mesh_prefix"]("No")
    with pytest.raises(AnsibleFilterError, match="node_address: "):
        FILTERS["node_address"]("short", "prod")
    with pytest.raises(AnsibleFilterError, match="must be a mapping"):
        FILTERS["mesh_authorities"](["prod"])


def test_authorities():
    assert FILTERS["mesh_authorities"]({"a": {"groups": {"g": {}}}}) == ["default"]


MEMBERS = [
    {"name": "b", "role": "peer", "liveness": "alive"},
    {"name": "a", "role": "client", "liveness": "down"},
    {"name": "b", "role": "peer", "liveness": "down"},
]


def test_member_names():
    names = FILTERS["member_names"]
    assert names(MEMBERS) == ["a", "b"]
    assert names(MEMBERS, role="peer") == ["b"]
    assert names(MEMBERS, role="client", liveness="alive") == []
    assert names([]) == []


@pytest.mark.parametrize(
    ("found", "options"),
    [({"prod": MEMBERS}, {}), (["a"], {}), (None, {}), (MEMBERS, {"role": "bridge"}), (MEMBERS, {"liveness": "up"})],
)
def test_member_names_of_something_else(found, options):
    with pytest.raises(AnsibleFilterError, match="member_names: "):
        FILTERS["member_names"](found, **options)
