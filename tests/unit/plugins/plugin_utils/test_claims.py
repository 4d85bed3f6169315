# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What declarations will take of a host, by the agent's own rules."""

from __future__ import annotations

import pytest
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import identity
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.claims import claims


def make(*declarations):
    choose = identity.load_alone("declaration/choose.py")
    return claims(declarations, identity.load("address").mesh_prefix, choose.default_interface)


def test_what_is_declared_and_what_the_agent_chooses():
    declared = {"mesh": "prod", "interface": "wg7", "port": 51999, "accept_routes": ["2001:db8:10::/48"]}
    assert make(declared, {"mesh": "a-name-that-is-long.example.org"}) == [
        {
            "mesh": "prod",
            "interface": "wg7",
            "port": 51999,
            "prefix": "fd94:2a49:680b:debe::/64",
            "routes": ["2001:db8:10::/48"],
        },
        {
            "mesh": "a-name-that-is-long.example.org",
            "interface": "smeg-9f175b5c1a",
            "port": None,
            "prefix": "fd86:c3f:3a5d:5bfc::/64",
            "routes": [],
        },
    ]


@pytest.mark.parametrize("accepted", ["all", ["2001:db8::/32"], ["198.18.0.0/15"], ["nonsense"], [7]])
def test_what_is_accepted_is_looked_at_only_where_it_is_others(accepted):
    (claim,) = make({"mesh": "prod", "accept_routes": accepted, "advertise": ["2001:db8::/32"]})
    assert claim["routes"] == []


def test_what_is_behind_static_peers_is_looked_at_like_what_is_accepted():
    behind = ["2001:db8:20::/64", "198.18.0.0/15", "nonsense"]
    peers = {
        "router": {"public_key": "x", "allowed_ips": behind},
        "phone": {"public_key": "y"},
        "tv": {"allowed_ips": 5},
    }
    (claim,) = make({"mesh": "prod", "accept_routes": ["2001:db8:10::/48"], "static_peers": peers})
    assert claim["routes"] == ["2001:db8:10::/48", "2001:db8:20::/64"]


def test_a_part_of_the_agent_that_is_missing_is_told():
    with pytest.raises(identity.IdentityUnavailable, match="install the collection again"):
        identity.load_alone("nowhere.py")
