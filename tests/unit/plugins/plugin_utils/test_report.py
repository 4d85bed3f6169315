# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of the meshes, as text."""

from __future__ import annotations

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.report import report, unanswered


def answer(role, home=None, backup=None, pings=None, **mesh):
    said = {
        "mesh": "demo",
        "state": "up",
        "role": role,
        "address": "fd00::1",
        "interface": "smeg-demo",
        "plane": "kernel",
    }
    said.update(home=home, backup=backup, leader="p1", members={"alive": 2, "mute": 0, "down": 0}, **mesh)
    return {"status": {"node_name": "x", "meshes": [said], "problems": []}, "pings": pings}


def test_a_mesh_is_a_table_and_a_matrix():
    hosts = {
        "p1": answer("peer", pings={"demo": {"c1": True}}),
        "c1": answer("client", home="p1", pings={"demo": {"p1": False}}),
    }
    assert report(hosts).splitlines() == [
        "mesh demo",
        "HOST  ROLE    STATE  ADDRESS  INTERFACE  PLANE   ALIVE  DOWN  HOME  LEADER",
        "p1    peer    up     fd00::1  smeg-demo  kernel  2      0     -     p1",
        "c1    client  up     fd00::1  smeg-demo  kernel  2      0     p1    p1",
        "",
        "pings over demo, from the left to the top",
        "    p1    c1",
        "p1  -     ok",
        "c1  LOST  -",
    ]
    assert unanswered(hosts) == ["demo: c1 -> p1"]


def test_members_outside_the_inventory_have_a_column():
    text = report({"p1": answer("peer", pings={"demo": {"phone": True}})})
    assert text.splitlines()[-2:] == ["    p1  phone", "p1  -   ok"]


def test_without_pings_there_is_no_matrix():
    assert "pings" not in report({"p1": answer("peer")})


def test_silent_hosts_and_problems_come_last():
    failed = {"failed": True, "msg": "no agent\nlong journal"}
    hosts = {"p1": answer("peer", problem="port 1 is in use"), "p2": failed, "p3": None}
    assert report(hosts).splitlines()[-4:] == [
        "p2: no agent",
        "p3: not reached",
        "",
        "p1: demo: port 1 is in use",
    ]


def test_nothing_at_all():
    assert report({}) == "no host is in a mesh"
