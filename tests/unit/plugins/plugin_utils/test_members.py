# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What members of a live mesh may be called, and which one a name means."""

from __future__ import annotations

import pytest
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import members


def member(name, address="fd00::1", **more):
    return {"name": name, "address": address, "liveness": "alive", "node_key": "A", **more}


@pytest.mark.parametrize(
    "wrong",
    [
        "a1",
        {},
        member(None),
        member(""),
        member("-oProxyCommand=x"),
        member("a b"),
        member("a\n"),
        member("{{ x }}"),
        member("a1", "-oProxyCommand=x"),
        member("a1", "fe80::1%eth0"),
        member("a1", 7),
    ],
)
def test_what_no_host_may_be_is_left_out_and_named(wrong):
    good, problems = members.sound([wrong, member("b1")])
    assert [each["name"] for each in good] == ["b1"] and len(problems) == 1


def test_of_several_with_one_name_the_one_that_lives_counts():
    found = [
        member("a1", "fd00::1", liveness="down"),
        member("a1", "fd00::2"),
        member("a1", "fd00::3", liveness="mute"),
    ]
    assert [each["address"] for each in members.current(found)] == ["fd00::2"]
    assert members.address(found, "a1") == "fd00::2"


def test_of_several_alive_all_agents_lists_give_the_same():
    found = [member("a1", "fd00::2", node_key="B"), member("a1", "fd00::1", node_key="A")]
    assert members.address(found, "a1") == members.address(found[::-1], "a1") == "fd00::1"


def test_a_node_name_comes_before_an_alias():
    found = [member("evil", "fd00::bad", alias="a1"), member("a1", "fd00::1", alias="one")]
    assert members.address(found, "a1") == "fd00::1"
    assert members.address(found, "one") == "fd00::1"


def test_a_name_of_nobody_and_an_alias_of_two_are_errors():
    found = [member("a1", alias="db"), member("a2", alias="db")]
    with pytest.raises(members.NoSuchMember, match="no member is called 'a3': see"):
        members.address(found, "a3")
    with pytest.raises(members.NoSuchMember, match="the alias 'db' is that of a1, a2: use a node name"):
        members.address(found, "db")


def test_host_names_follow_the_order():
    found = [member("a1", alias="one"), member("a2", "fd00::2", alias=None)]
    assert list(members.host_names(found, ["name"])[0]) == ["a1", "a2"]
    assert list(members.host_names(found, ["alias", "name"])[0]) == ["one", "a2"]
    assert list(members.host_names(found, ["address"])[0]) == ["fd00::1", "fd00::2"]
    hosts, problems = members.host_names(found, ["alias"])
    assert list(hosts) == ["one"] and problems == ["member a2 has none of alias: skipped"]


@pytest.mark.parametrize("alias", ["a1", "twice", "{{ x }}", "-x", 7, ["a1"]])
def test_an_alias_cannot_take_anothers_place(alias):
    found = [member("evil", alias=alias), member("a1"), member("a2", alias="twice")]
    hosts, problems = members.host_names(found, ["alias", "name"])
    assert hosts["evil"]["name"] == "evil" and hosts["a1"]["name"] == "a1"
    assert any("of evil is no host name, or another's" in problem for problem in problems)


@pytest.mark.parametrize(
    ("endpoints", "host"),
    [
        (["198.18.7.11:51820"], "198.18.7.11"),
        (["[2001:db8::1]:51820", "198.18.7.11:1"], "2001:db8::1"),
        (["a1.example.org:51820"], "a1.example.org"),
        (["-oProxyCommand=x:1", "198.18.7.11:1"], "198.18.7.11"),
        ([], None),
        (None, None),
    ],
)
def test_the_host_of_an_endpoint(endpoints, host):
    assert members.endpoint_host(member("a1", endpoints=endpoints)) == host
