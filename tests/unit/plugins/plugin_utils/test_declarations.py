# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The merge of the inventory, without Ansible."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import identity
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.declarations import (
    DeclarationProblems,
    Inventory,
    authorities,
    declared,
    default_bootstrap,
    join_endpoint,
    plan_host,
    split_endpoint,
)

# The example of the design, which has a host of every kind.
MESHES = {
    "prod": {
        "groups": {
            "prod_peers": {"role": "peer"},
            "prod_clients": {"role": "client"},
            "prod_exits": {"advertise": ["2001:db8:10::/48", "::/0"]},
            "bridges": {"role": "peer", "bridge": True},
        }
    },
    "office": {
        "groups": {"office_peers": {"role": "peer"}, "bridges": {"role": "peer", "bridge": True}},
        "settings": {"accept_routes": ["2001:db8:10::/48"]},
    },
}
GROUPS = {
    "prod_peers": ["a1", "a2", "x1", "x2"],
    "prod_exits": ["x1", "x2"],
    "prod_clients": ["laptop"],
    "office_peers": ["b1", "b2"],
    "bridges": ["gw"],
}
HOST_VARS = {
    "a1": {"ansible_host": "198.18.0.1"},
    "a2": {"ansible_host": "2001:db8::2"},
    "x1": {"smegmesh_endpoint": "x1.example.org"},
    "gw": {"smegmesh_overrides": {"office": {"endpoint": "203.0.113.7:51821"}}},
}


PHONE, ROUTER = "cHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHA=", "cnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI="


def address_of(mesh_id, key):
    return str(identity.load("address").node_address(mesh_id, identity.load("keys").decode_key(key)))


class World:
    """An inventory that can be bent, and that notes whose variables were looked at."""

    def __init__(self, meshes=None, groups=None, host_vars=None):
        self.meshes = copy.deepcopy(MESHES if meshes is None else meshes)
        self.groups = copy.deepcopy(GROUPS if groups is None else groups)
        self.host_vars = copy.deepcopy(HOST_VARS if host_vars is None else host_vars)
        self.asked = []

    @property
    def inventory(self):
        hosts = list(dict.fromkeys(host for group in self.groups.values() for host in group))
        return Inventory(
            meshes=self.meshes,
            groups={"all": hosts, **self.groups},
            host_vars=self._ask,
            check_mesh_id=identity.load("address").check_mesh_id,
            node_address=address_of,
        )

    def _ask(self, host):
        self.asked.append(host)
        return self.host_vars.get(host, {})

    def plan(self, host):
        return plan_host(self.inventory, host)

    def problems(self, host):
        with pytest.raises(DeclarationProblems) as caught:
            self.plan(host)
        return caught.value.problems


def small(**changes):
    """One mesh with a peer and a client."""
    world = World(
        meshes={"m": {"groups": {"peers": {"role": "peer"}, "clients": {"role": "client"}}}},
        groups={"peers": ["p"], "clients": ["c"]},
        host_vars={},
    )
    for name, value in changes.items():
        setattr(world, name, value)
    return world


def test_a_peer_gets_what_its_groups_say_and_its_address():
    (declaration,) = World().plan("a1").declarations
    assert declaration == {
        "mesh": "prod",
        "authority": "default",
        "role": "peer",
        "endpoint": "198.18.0.1",
        "bootstrap": [
            {"name": "a1", "address": "198.18.0.1:4000"},
            {"name": "a2", "address": "[2001:db8::2]:4000"},
            {"name": "x1", "address": "x1.example.org:4000"},
        ],
    }


def test_a_host_is_in_every_mesh_that_names_one_of_its_groups_in_their_order():
    assert [declaration["mesh"] for declaration in World().plan("gw").declarations] == ["prod", "office"]
    assert World().plan("b1").declarations[0]["accept_routes"] == ["2001:db8:10::/48"]


def test_a_host_of_no_group_is_in_no_mesh():
    world = World()
    world.groups["others"] = ["z"]
    plan = world.plan("z")
    assert (plan.declarations, plan.certificates) == ([], [])


def test_overrides_win_and_only_in_their_mesh():
    prod, office = World().plan("gw").declarations
    assert (prod["endpoint"], office["endpoint"]) == ("gw", "203.0.113.7:51821")


def test_later_groups_win_over_earlier_ones_and_both_over_settings():
    world = small(
        meshes={
            "m": {
                "settings": {"mtu": 1280, "port": 1},
                "groups": {"peers": {"role": "client", "mtu": 1300}, "all": {"role": "peer"}},
            }
        }
    )
    plan = world.plan("p")
    (declaration,) = plan.declarations
    assert (declaration["role"], declaration["mtu"], declaration["port"]) == ("peer", 1300, 1)
    assert plan.replaced == [
        "host p, mesh m: mtu 1280 of settings gives way to 1300 of group peers",
        "host p, mesh m: role 'client' of group peers gives way to 'peer' of group all",
    ]


@pytest.mark.parametrize(
    ("settings", "group", "united"),
    [
        ("all", ["2001:db8:1::/48"], "all"),
        (["2001:db8:1::/48"], "all", "all"),
        ("all", "all", "all"),
        (["2001:db8:1::/48"], ["2001:db8:2::/48"], ["2001:db8:1::/48", "2001:db8:2::/48"]),
    ],
)
def test_all_routes_hold_whatever_they_are_united_with(settings, group, united):
    layers = {"settings": {"accept_routes": settings}, "groups": {"peers": {"role": "peer", "accept_routes": group}}}
    plan = small(meshes={"m": layers}).plan("p")
    assert plan.declarations[0]["accept_routes"] == united
    assert plan.replaced == []


def test_a_later_health_replaces_an_earlier_one():
    layers = {"m": {"settings": {"health": {"target": "2001:db8::1", "misses": 5}}, "groups": {"peers": None}}}
    own = {"role": "peer", "health": {"target": "2001:db8::2"}}
    world = small(meshes=layers, groups={"peers": ["p"]}, host_vars={"p": {"smegmesh_overrides": {"m": own}}})
    plan = world.plan("p")
    assert plan.declarations[0]["health"] == {"target": "2001:db8::2"}
    assert len(plan.replaced) == 1


@pytest.mark.parametrize(
    ("variables", "settings", "endpoint"),
    [
        ({"ansible_host": "198.18.0.1"}, {"endpoint_discovery": "static"}, "198.18.0.1"),
        ({"ansible_host": "198.18.0.1"}, {"endpoint_discovery": "observed"}, None),
        ({"smegmesh_endpoint": "p.example.org"}, {"endpoint_discovery": "outgoing"}, "p.example.org"),
        ({}, {"endpoint_discovery": "outgoing", "endpoint": "198.18.0.2"}, "198.18.0.2"),
    ],
)
def test_a_discovered_endpoint_is_declared_only_where_it_was_meant(variables, settings, endpoint):
    layers = {"m": {"groups": {"peers": {"role": "peer", **settings}}}}
    (declaration,) = small(meshes=layers, host_vars={"p": variables}).plan("p").declarations
    assert declaration.get("endpoint") == endpoint
    assert ("endpoint" in declaration) == (endpoint is not None)


def test_lists_unite_without_duplicates_and_leave_the_inventory_as_it_was():
    world = small(
        meshes={
            "m": {
                "settings": {"role": "peer", "advertise": ["2001:db8:1::/48"]},
                "groups": {"peers": {"advertise": ["2001:db8:2::/48", "2001:db8:1::/48"]}},
            }
        },
        host_vars={"p": {"smegmesh_overrides": {"m": {"advertise": ["2001:db8:3::/48"]}}}},
    )
    before = copy.deepcopy(world.meshes)
    assert world.plan("p").declarations[0]["advertise"] == ["2001:db8:1::/48", "2001:db8:2::/48", "2001:db8:3::/48"]
    assert world.meshes == before


def test_certificates_hold_the_grants_of_each_authority():
    world = World()
    world.meshes["office"]["settings"]["authority"] = "office-ca"
    assert world.plan("gw").certificates == [
        {"authority": "default", "meshes": ["prod"], "bridges": ["office", "prod"], "prefixes": []},
        {"authority": "office-ca", "meshes": ["office"], "bridges": ["office", "prod"], "prefixes": []},
    ]
    assert world.plan("x1").certificates == [
        {"authority": "default", "meshes": ["prod"], "bridges": [], "prefixes": ["2001:db8:10::/48", "::/0"]}
    ]


def test_a_static_peer_is_declared_and_its_address_granted_to_the_host_that_carries_it_alone():
    router = {"public_key": ROUTER, "allowed_ips": ["2001:db8:20::/64"]}
    phones = {"phone": {"public_key": PHONE, "preshared_key": True}, "router": router}
    world = small(host_vars={"p": {"smegmesh_overrides": {"m": {"static_peers": phones}}}})
    plan = world.plan("p")
    assert plan.declarations[0]["static_peers"] == phones
    (certificate,) = plan.certificates
    addresses = [f"{address_of('m', key)}/128" for key in (PHONE, ROUTER)]
    assert certificate["prefixes"] == sorted([*addresses, "2001:db8:20::/64"])
    assert world.plan("c").certificates[0]["prefixes"] == []
    world.host_vars["p"]["smegmesh_overrides"]["m"]["static_peers"] = {"phone": {"public_key": "c2hvcnQ="}, "tv": None}
    assert [problem.split(": not a key")[0] for problem in world.problems("p")] == [
        "host p, mesh m: public_key of static peer 'phone'",
        "host p, mesh m: public_key of static peer 'tv'",
    ]


@pytest.mark.parametrize("item", [1, {"a": 1}, ["2001:db8:20::/64"], None])
def test_a_prefix_that_is_no_text_is_one_of_the_problems(item):
    router = {"public_key": ROUTER, "allowed_ips": ["2001:db8:20::/64", item]}
    layer = {"advertise": [item], "static_peers": {"router": router}}
    world = small(host_vars={"p": {"smegmesh_overrides": {"m": layer}}})
    where = "smegmesh_overrides of host p: m"
    assert [problem.split(": must be an IPv6 prefix")[0] for problem in world.problems("p")] == [
        f"{where}.advertise[0]",
        f"{where}.static_peers.router.allowed_ips[1]",
    ]
    world.meshes["m"]["settings"] = {"advertise": [item]}
    (problem,) = world.problems("c")
    assert problem.startswith("smegmesh_meshes.m.settings.advertise[0]: must be an IPv6 prefix such as")


def test_static_peers_of_several_hosts_are_refused():
    world = small()
    world.meshes["m"]["settings"] = {"static_peers": {"phone": {"public_key": PHONE}}}
    (problem,) = world.problems("c")
    assert problem.startswith("smegmesh_meshes.m.settings.static_peers: several hosts would declare")
    world = small(groups={"peers": ["p", "q"], "clients": ["c"]})
    world.meshes["m"]["groups"]["peers"]["static_peers"] = {"phone": {"public_key": PHONE}}
    (problem,) = world.problems("c")
    assert problem.startswith("smegmesh_meshes.m.groups.peers.static_peers: several hosts")
    world.groups["peers"] = ["p"]
    assert world.plan("p").certificates[0]["prefixes"] == [f"{address_of('m', PHONE)}/128"]


def test_a_bridge_within_one_authority_needs_one_certificate():
    (certificate,) = World().plan("gw").certificates
    assert certificate == {
        "authority": "default",
        "meshes": ["office", "prod"],
        "bridges": ["office", "prod"],
        "prefixes": [],
    }


# --- bootstrap ------------------------------------------------------------------------------------


def test_bootstrap_passes_over_clients_and_ends_at_three():
    world = World(
        meshes={"m": {"groups": {"clients": {"role": "client"}, "peers": {"role": "peer"}}}},
        groups={"clients": ["c1", "c2"], "peers": ["p1", "p2", "p3", "p4"]},
        host_vars={},
    )
    assert [item["name"] for item in default_bootstrap(world.inventory, "m")] == ["p1", "p2", "p3"]
    assert "p4" not in world.asked


def test_bootstrap_honours_each_hosts_own_endpoint_role_and_link_port():
    world = small(
        groups={"peers": ["p", "q", "r"], "clients": ["c"]},
        host_vars={
            "p": {"smegmesh_overrides": {"m": {"role": "client"}}},
            "q": {"smegmesh_overrides": {"m": {"endpoint": "[2001:db8::9]:51820"}}, "smegmesh_link_port": "4100"},
            "r": {"smegmesh_overrides": {"m": {"endpoint": "r.example.org:7"}}, "ansible_host": "198.18.0.9"},
        },
    )
    assert default_bootstrap(world.inventory, "m") == [
        {"name": "q", "address": "[2001:db8::9]:4100"},
        {"name": "r", "address": "r.example.org:4000"},
    ]


def test_a_listen_address_that_is_none_is_named():
    world = small(host_vars={"p": {"smegmesh_listen": "all"}})
    assert world.problems("p") == ["smegmesh_listen of host p: must be an IP address, not 'all'"]


@pytest.mark.parametrize("port", [-1, 70000, "abc", "40 00"])
@pytest.mark.parametrize("host", ["p", "c"])
def test_a_link_port_that_is_none_is_named(port, host):
    world = small(host_vars={host: {"smegmesh_link_port": port}})
    assert world.problems("c") == [
        f"smegmesh_link_port of host {host}: must be a port from 1 to 65535, not {str(port)!r}"
    ]


def test_adding_a_host_at_the_end_changes_nobody_elses_plan():
    before = {host: World().plan(host) for group in GROUPS.values() for host in group}
    world = World()
    world.groups["prod_peers"].append("a3")
    world.groups["prod_clients"].append("phone")
    assert {host: world.plan(host) for host in before} == before


def test_written_bootstrap_takes_hosts_addresses_and_pairs():
    world = small(host_vars={"p": {"ansible_host": "198.18.0.7"}})
    world.meshes["m"]["settings"] = {
        "bootstrap": ["p", "other.example.org", "198.18.9.9:4001", "2001:db8::5", {"name": "z", "address": "z:1"}]
    }
    assert world.plan("c").declarations[0]["bootstrap"] == [
        {"name": "p", "address": "198.18.0.7:4000"},
        {"name": "other.example.org", "address": "other.example.org:4000"},
        {"name": "198.18.9.9:4001", "address": "198.18.9.9:4001"},
        {"name": "2001:db8::5", "address": "[2001:db8::5]:4000"},
        {"name": "z", "address": "z:1"},
    ]


@pytest.mark.parametrize(
    ("endpoint", "parts"),
    [
        ("host", ("host", None)),
        ("host:1", ("host", 1)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("[2001:db8::1]", ("2001:db8::1", None)),
        ("[2001:db8::1]:51820", ("2001:db8::1", 51820)),
    ],
)
def test_endpoints_come_apart(endpoint, parts):
    assert split_endpoint(endpoint) == parts


def test_endpoints_go_together():
    assert (join_endpoint("h", 1), join_endpoint("::1", 2)) == ("h:1", "[::1]:2")


# --- problems -------------------------------------------------------------------------------------


def test_all_problems_are_found_at_once():
    world = World()
    world.meshes["Bad_Name"] = {"groups": {"nowhere": {"rolle": "peer"}}}
    world.meshes["prod"]["settings"] = {"mtu": "1420", "role": "boss"}
    problems = world.problems("a1")
    assert len(problems) == 5
    for part in ("Bad_Name", "'nowhere'", "'rolle'", "settings.mtu: must be a whole number, not '1420'", "'boss'"):
        assert any(part in problem for problem in problems), part


@pytest.mark.parametrize("mesh_id", ["", "Prod", "a_b", "-a", "a..b", "x" * 64, "10.0.0.1"])
def test_a_bad_mesh_id_is_named(mesh_id):
    world = small(meshes={mesh_id: {"groups": {"peers": {"role": "peer"}}}})
    (problem,) = world.problems("p")
    assert repr(mesh_id) in problem


def test_a_group_that_does_not_exist():
    world = small()
    world.meshes["m"]["groups"]["pears"] = {"role": "peer"}
    assert world.problems("p") == [
        "smegmesh_meshes.m.groups: the inventory has no group 'pears': correct the name or create the group"
    ]


def test_two_meshes_on_one_port_or_interface():
    world = small(
        meshes={
            "m": {"settings": {"role": "peer", "port": 51820, "interface": "wg0"}, "groups": {"peers": None}},
            "n": {"settings": {"role": "peer", "port": 51820, "interface": "wg0"}, "groups": {"peers": {}}},
        }
    )
    assert world.problems("p") == [
        "host p: meshes m and n both use port 51820: give each its own, or leave port out and the agent chooses",
        "host p: meshes m and n both use interface wg0: "
        "give each its own, or leave interface out and the agent chooses",
    ]


def test_a_client_with_no_peer_in_the_mesh():
    world = small(groups={"peers": [], "clients": ["c"]})
    (problem,) = world.problems("c")
    assert problem == (
        "host c, mesh m: a client needs a peer and the mesh has none: "
        "put a host with role: peer into one of peers, clients, or set bootstrap"
    )


def test_a_client_whose_peers_are_elsewhere_says_where():
    world = small(groups={"peers": [], "clients": ["c"]})
    world.meshes["m"]["settings"] = {"bootstrap": ["far.example.org"]}
    assert world.plan("c").declarations[0]["bootstrap"][0]["address"] == "far.example.org:4000"


def test_a_client_has_no_endpoint():
    world = small(host_vars={"c": {"smegmesh_overrides": {"m": {"endpoint": "198.18.0.1"}}}})
    (problem,) = world.problems("c")
    assert "a client has no endpoint" in problem


def test_a_host_without_a_role():
    world = small(meshes={"m": {"groups": {"peers": {}, "clients": {"role": "client"}}}})
    (problem,) = world.problems("p")
    assert problem.startswith("host p, mesh m: no role is said: write role: peer or role: client")


def test_an_override_for_a_mesh_the_host_is_not_in():
    world = World(host_vars={"a1": {"smegmesh_overrides": {"office": {"port": 1}}}})
    (problem,) = world.problems("a1")
    assert problem == (
        "smegmesh_overrides of host a1: it is not in mesh office: "
        "add it to one of office_peers, bridges or remove the override"
    )


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        ({"dev": {}}, "smegmesh_overrides of host p: there is no mesh 'dev' in smegmesh_meshes: use one of m"),
        ({"m": {"prot": 1}}, "smegmesh_overrides of host p: m: unknown key 'prot': use one of role, authority"),
        ({"m": ["port"]}, "smegmesh_overrides of host p: m: must be a mapping"),
        (["m"], "smegmesh_overrides of host p: must map mesh ids to settings"),
        ({"m": {"port": True}}, "smegmesh_overrides of host p: m.port: must be a whole number, not True"),
        ({"m": {"advertise": "::/0"}}, "smegmesh_overrides of host p: m.advertise: must be a list, not '::/0'"),
        (
            {"m": {"accept_routes": "some"}},
            "smegmesh_overrides of host p: m.accept_routes: must be a list or the word 'all', not 'some'",
        ),
        ({"m": {"advertise": "all"}}, "smegmesh_overrides of host p: m.advertise: must be a list, not 'all'"),
        ({"m": {"health": "::1"}}, "smegmesh_overrides of host p: m.health: must be a mapping, not '::1'"),
        ({"m": {"masquerade": 1}}, "smegmesh_overrides of host p: m.masquerade: must be true or false, not 1"),
        (
            {"m": {"bootstrap": [{"name": "x"}]}},
            "host p, mesh m: bootstrap entry {'name': 'x'}: write the name of a host",
        ),
    ],
)
def test_bad_overrides_say_where_and_what_to_do(overrides, part):
    (problem,) = small(host_vars={"p": {"smegmesh_overrides": overrides}}).problems("p")
    assert problem.startswith(part)


@pytest.mark.parametrize(
    ("meshes", "part"),
    [
        (["m"], "smegmesh_meshes: must map"),
        ({"m": None}, "smegmesh_meshes.m: must hold 'groups'"),
        ({"m": {}}, "smegmesh_meshes.m.groups: must map at least one inventory group"),
        ({"m": {"groups": ["peers"]}}, "smegmesh_meshes.m.groups: must map at least one inventory group"),
        ({"m": {"groups": {"peers": ["peer"]}}}, "smegmesh_meshes.m.groups.peers: must be a mapping of settings"),
        ({"m": {"groups": {"peers": None}, "setings": {}}}, "smegmesh_meshes.m: unknown key 'setings'"),
    ],
)
def test_malformed_meshes_say_where(meshes, part):
    assert small(meshes=meshes).problems("p")[0].startswith(part)


def test_another_hosts_mistake_is_not_this_hosts():
    world = small(host_vars={"c": {"smegmesh_overrides": {"nosuch": {}}}})
    assert world.plan("p").declarations
    assert world.problems("c")


# --- authorities ----------------------------------------------------------------------------------


def test_authorities_are_those_that_are_named_and_the_default():
    assert authorities(MESHES) == ["default"]
    assert authorities({}) == []
    meshes = {
        "a": {"settings": {"authority": "one"}, "groups": {"g": {"authority": "two"}}},
        "b": {"groups": {"g": None, "h": {"authority": "three"}}},
        "c": None,
    }
    assert authorities(meshes) == ["default", "one", "three", "two"]


def test_groups_of_a_live_mesh_cannot_say_who_is_in_one():
    world = World(groups={**GROUPS, "smegmesh_live_prod": ["x9"]})
    world.meshes["prod"]["groups"]["smegmesh_live_prod"] = {"role": "peer"}
    with pytest.raises(DeclarationProblems) as caught:
        plan_host(world.inventory, "a1")
    assert caught.value.problems == [
        "smegmesh_meshes.prod.groups: group 'smegmesh_live_prod' holds who is in a live mesh, not who should be: "
        "use a group of the inventory itself"
    ]


def test_who_is_declared_for_which_mesh():
    groups = {"all": ["a1", "gw", "b1", "c1"], **GROUPS}
    assert declared(groups, lambda host: None if host == "c1" else MESHES) == {
        "prod": ["a1", "gw"],
        "office": ["gw", "b1"],
    }


@pytest.mark.parametrize(
    "meshes", [None, [], {"prod": None}, {"prod": {"groups": ["web"]}}, {"prod": {"groups": {"no": {}}}}]
)
def test_what_is_malformed_declares_nobody(meshes):
    assert declared({"all": ["a1"], "web": ["a1"]}, lambda host: meshes) == {}
