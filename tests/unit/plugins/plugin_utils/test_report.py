# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of the meshes, as text."""

from __future__ import annotations

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.report import drift, report, unanswered


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
        "mesh demo: everybody is there; p1 leads",
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


def test_what_an_operator_asks_first_stands_first():
    event = {"kind": "liveness", "time": 1_800_000_000, "member": "p2", "liveness": "down"}
    seen = answer("peer", last_change=event)
    seen["status"]["meshes"][0]["members"] = {"alive": 2, "mute": 1, "down": 1}
    other = answer("peer", last_change={"kind": "leader", "time": 1_700_000_000, "member": "p1"})
    other["status"]["meshes"][0]["leader"] = "p3"
    assert report({"p1": seen, "p3": other}).splitlines()[0] == (
        "mesh demo: up to 2 are not there; leaders: p1, p3; last change 2027-01-15 08:00:00 UTC: p2 is down"
    )


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


def seen(mesh="demo", **liveness):
    """The answer of a host in a mesh that sees these members."""
    said = answer("peer")
    said["status"]["meshes"][0]["mesh"] = mesh
    told = [
        {"name": name, "role": "peer", "address": f"fd00::{number}", "liveness": word, "node_key": name}
        for number, (name, word) in enumerate(liveness.items(), 1)
    ]
    return {**said, "members": {mesh: told}}


OUTSIDE = {"status": {"node_name": "x", "meshes": [], "problems": []}, "members": {}}


def test_drift_is_in_the_table():
    view = seen(p1="alive", p2="down", phone="mute", old="down")
    assert report({"p1": view, "p2": None}, {"demo": ["p1", "p2", "p3"]}).splitlines() == [
        "mesh demo: everybody is there; p1 leads",
        "HOST   ROLE  STATE  ADDRESS  INTERFACE  PLANE   ALIVE  DOWN  HOME  LEADER  DRIFT",
        "p1     peer  up     fd00::1  smeg-demo  kernel  2      0     -     p1      -",
        "p2     peer  -      fd00::2  -          -       -      -     -     -       down",
        "p3     -     -      -        -          -       -      -     -     -       absent",
        "phone  peer  -      fd00::3  -          -       -      -     -     -       undeclared",
        "",
        "p2: not reached",
    ]


def test_without_drift_the_table_has_no_column_for_it():
    text = report({"p1": seen(p1="alive")}, {"demo": ["p1"]})
    assert "DRIFT" not in text
    assert "fd00::1" in text


def test_a_host_that_only_itself_takes_for_alive_is_astray():
    hosts = {"p1": seen(p1="alive", p2="alive"), "p2": seen(p2="alive", p1="down"), "p3": seen(p3="alive")}
    assert drift(hosts, {"demo": ["p1", "p2", "p3"]}) == {"demo": {"p1": "down", "p3": "absent"}}
    assert drift({"p3": hosts["p3"]}, {"demo": ["p3"]}) == {}


def test_one_that_others_see_alive_is_not_astray_whatever_one_of_them_says():
    hosts = {"p1": seen(p1="alive", p3="down"), "p2": seen(p2="alive", p1="alive", p3="alive")}
    assert drift(hosts, {"demo": ["p1", "p3"]}) == {}
    assert drift(hosts, {"demo": ["p3"]}) == {"demo": {"p1": "undeclared"}}


def test_a_replaced_host_is_the_one_that_lives():
    view = seen(p1="alive")
    view["members"]["demo"].append({**view["members"]["demo"][0], "liveness": "down", "node_key": "older"})
    assert drift({"p1": view}, {"demo": ["p1"]}) == {}


def test_an_undeclared_host_that_answers_has_one_row():
    text = report({"p1": seen(p1="alive", p2="alive"), "p2": seen(p1="alive", p2="alive")}, {"demo": ["p1"]})
    assert [line.split()[-1] for line in text.splitlines()[2:]] == ["-", "undeclared"]


def test_a_mesh_of_which_nobody_tells_is_judged_only_for_those_who_were_asked():
    assert drift({"b1": OUTSIDE, "b2": None}, {"office": ["b1", "b2"]}) == {"office": {"b1": "absent"}}
    assert drift({"a1": OUTSIDE}, {"office": ["b1"]}) == {}
    assert report({"b1": OUTSIDE}, {"office": ["b1"]}).splitlines()[0] == "mesh office: nobody was asked"


def test_where_no_members_were_asked_for_nobody_is_judged():
    assert drift({"p1": answer("peer")}, {"demo": ["p1", "p2"]}) == {}


def test_an_inventory_that_declares_nothing_judges_nobody():
    assert drift({"p1": seen(p1="alive")}, {}) == {}
    assert drift({"p1": seen(p1="alive")}, {"other": ["p2"]}) == {"demo": {"p1": "undeclared"}}
