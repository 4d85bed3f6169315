# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose overlay an address is in."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import identity
from ansible_collections.smegmesh.wireguard.plugins.test.mesh import overlay_address

PROD = str(identity.load("address").mesh_prefix("prod")[7])


@pytest.mark.parametrize(
    ("address", "meshes", "inside"),
    [
        (PROD, "prod", True),
        (PROD, "office", False),
        (PROD, ["office", "prod"], True),
        (PROD, {"office": {}, "prod": {}}, True),
        (PROD, [], False),
        (PROD, None, True),
        ("fd00::1", None, True),
        ("fd00::1", "prod", False),
        ("fc00::1", None, False),
        ("198.18.0.1", None, False),
        ("a1.example.org", "prod", False),
        (None, "prod", False),
        (7, None, False),
    ],
)
def test_the_overlay_of_an_address(address, meshes, inside):
    assert overlay_address(address, meshes) is inside


@pytest.mark.parametrize("meshes", ["Prod", ["prod", 7], 7])
def test_what_is_no_mesh_is_an_error(meshes):
    with pytest.raises(AnsibleFilterError, match="overlay_address: "):
        overlay_address(PROD, meshes)
