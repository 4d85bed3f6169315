"""Exits: who uses which, what follows a client, what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network, ip_network

import pytest

from routing_world import Host, World
from smegmesh.crdt.entry import BridgedRoute, Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.routing.choices import Choice, Joined, advertise
from smegmesh.routing.host import EXIT_TABLE
from smegmesh.routing.paths import path_cost, preferred_exit

SUBNET = "2001:db8:10::/48"
BEHIND = IPv6Address("2001:db8:10::5")
ELSEWHERE = IPv6Address("2001:db8:99::1")


def exits(count: int, *prefixes: str, masquerade: bool = True) -> list[Host]:
    return [
        Host(f"x{number}", ("prod",), advertise={"prod": prefixes or (SUBNET,)}, masquerade=masquerade)
        for number in range(count)
    ]


def receivers(count: int, accept: tuple[str, ...] = (SUBNET,)) -> list[Host]:
    return [Host(f"r{number}", ("prod",), accept=accept) for number in range(count)]


def settled(*hosts: Host, down: set[str] | None = None) -> World:
    world = World(hosts)
    world.down = down or set()
    world.settle()
    return world


def exit_of(world: World, name: str, target: IPv6Address = BEHIND) -> str:
    way = world.walk(name, None, target)
    assert way[-1] == "left", way
    return way[-2]


def test_receivers_spread_over_exits_and_a_dead_one_moves_its_own_alone() -> None:
    """Without the hosts: the choice alone, for a thousand receivers."""
    keys = [Host(f"x{number}", ()).key for number in range(3)]
    everybody = [Host(f"r{number}", ()).key for number in range(1000)]

    def chosen(usable: list[bytes]) -> dict[bytes, bytes]:
        return {key: preferred_exit(key, IPv6Network(SUBNET), usable) for key in everybody}

    before, after = chosen(keys), chosen(keys[:2])
    assert all(abs(count - 1000 / 3) <= 0.2 * 1000 / 3 for count in Counter(before.values()).values())
    assert {key for key in everybody if before[key] != after[key]} == {
        key for key in everybody if before[key] == keys[2]
    }
    assert all(abs(count - 500) <= 0.2 * 500 for count in Counter(after.values()).values())


def test_who_accepts_reaches_it_through_one_exit_and_who_does_not_does_not() -> None:
    world = settled(*exits(3), *receivers(12), Host("other", ("prod",)))
    used = {exit_of(world, f"r{number}") for number in range(12)}
    assert used == {"x0", "x1", "x2"}
    assert world.walk("other", None, BEHIND)[-1] == "unreachable"
    assert not any(key[1] == ip_network(SUBNET) for key in world.computed["other"].routing.plan.routes)


def test_a_dead_exits_receivers_move_and_the_others_stay() -> None:
    world = settled(*exits(3), *receivers(12))
    before = {f"r{number}": exit_of(world, f"r{number}") for number in range(12)}
    world.down = {"x0"}
    world.settle()
    after = {name: exit_of(world, name) for name in before}
    assert all(after[name] == exit_ for name, exit_ in before.items() if exit_ != "x0")
    world.down = {"x0", "x1", "x2"}
    world.settle()
    assert {world.walk(name, None, BEHIND)[-1] for name in before} == {"unreachable"}  # withdrawn, not blackholed
    world.down = set()
    world.settle()
    assert {name: exit_of(world, name) for name in before} == before


def test_whom_one_node_alone_cannot_reach_it_alone_passes_over() -> None:
    world = settled(*exits(2), *receivers(6))
    before = {f"r{number}": exit_of(world, f"r{number}") for number in range(6)}
    world.unreachable = {"r0": {before["r0"]}}
    world.settle()
    assert exit_of(world, "r0") != before["r0"]
    assert {name: exit_of(world, name) for name in before if name != "r0"} == {
        name: exit_ for name, exit_ in before.items() if name != "r0"
    }
    world.unreachable = {"r0": {"x0", "x1"}}  # then it may as well be mistaken
    world.settle()
    assert exit_of(world, "r0") == before["r0"]


def test_without_masquerading_all_use_one_exit() -> None:
    world = settled(*exits(3, masquerade=False), *receivers(12))
    assert len({exit_of(world, f"r{number}") for number in range(12)}) == 1


def test_more_specific_wins_and_when_it_dies_the_rest_takes_over() -> None:
    narrow = Host("narrow", ("prod",), advertise={"prod": ("2001:db8:10::/64",)})
    world = settled(*exits(1), narrow, *receivers(1))
    assert exit_of(world, "r0") == "narrow"
    world.down = {"narrow"}
    world.settle()
    assert exit_of(world, "r0") == "x0"


def test_a_more_specific_prefix_out_of_reach_gives_way_to_a_wider_one_in_reach() -> None:
    narrow = "2001:db8:10::/64"
    exits_ = [Host("narrow", ("prod",), advertise={"prod": (narrow,)}), *exits(1)]
    world = settled(*exits_, *receivers(1), Host("picky", ("prod",), accept=(narrow,)))
    world.unreachable = {name: {"narrow"} for name in ("r0", "picky")}
    world.settle()
    assert exit_of(world, "r0") == "x0"
    assert exit_of(world, "picky") == "narrow", "it would have no other way"
    world.unreachable = {"r0": {"narrow", "x0"}}
    world.settle()
    assert exit_of(world, "r0") == "narrow"


def test_what_a_client_wants_keeps_a_prefix_out_of_reach() -> None:
    narrow = "2001:db8:10::/64"
    homes = {"prod": ("home", None)}
    exits_ = [Host("narrow", ("prod",), advertise={"prod": (narrow,)}), *exits(1)]
    home, picky = Host("home", ("prod",), accept=(SUBNET,)), Host("picky", ("prod",), homes=homes, accept=(narrow,))
    world = settled(*exits_, home, picky)
    world.unreachable = {"home": {"narrow"}}
    world.settle()
    assert world.walk("picky", None, BEHIND) == ["picky", "home", "narrow", "left"]
    everything = settled(*exits_, home, Host("easy", ("prod",), homes=homes, accept=(SUBNET,)))
    everything.unreachable = {"home": {"narrow"}}
    everything.settle()
    assert everything.walk("easy", None, BEHIND) == ["easy", "home", "x0", "left"]


def test_the_default_route_is_for_those_who_accept_it_alone() -> None:
    world = settled(*exits(1, "::/0"), *receivers(1), Host("all", ("prod",), accept=("*",)), *receivers_of_default())
    assert world.walk("r0", None, ELSEWHERE)[-1] == "unreachable"
    assert world.walk("all", None, ELSEWHERE)[-1] == "unreachable"
    assert exit_of(world, "default", ELSEWHERE) == "x0"


def receivers_of_default() -> list[Host]:
    return [Host("default", ("prod",), accept=("::/0",))]


def test_a_clients_exits_are_its_homes_and_a_clients_own_prefix_follows_it() -> None:
    laptop = Host("laptop", ("prod",), homes={"prod": ("h1", "h2")}, accept=(SUBNET,))
    site = Host("site", ("prod",), homes={"prod": ("h1", "h2")}, advertise={"prod": ("2001:db8:20::/64",)})
    homes = [Host("h1", ("prod",)), Host("h2", ("prod",))]
    world = settled(*exits(3), laptop, site, *homes, *receivers(1, ("*",)))
    way = world.walk("laptop", None, BEHIND)
    assert way[1] == "h1" and way[-1] == "left"
    assert world.walk("h1", None, BEHIND)[-1] == "unreachable"  # it carries what it does not use itself
    there = IPv6Address("2001:db8:20::9")
    assert world.walk("r0", None, there) == ["r0", "h1", "site", "left"]
    world.down = {"h1"}
    world.settle()
    assert world.walk("laptop", None, BEHIND)[1] == "h2"
    assert world.walk("r0", None, there) == ["r0", "h2", "site", "left"]


def test_a_prefix_behind_a_bridge_is_reached_if_the_bridge_takes_it() -> None:
    meshes = ("prod", "office")
    gateway = Host("gw", meshes, meshes, accept=(SUBNET,))
    far = Host("far", ("office",), accept=("*",))
    client = Host("laptop", ("office",), homes={"office": ("home", None)}, accept=("*",))
    world = settled(*exits(2), gateway, far, client, Host("home", ("office",)))
    assert world.walk("far", None, BEHIND)[1] == "gw"
    assert exit_of(world, "far") in ("x0", "x1")
    assert world.walk("laptop", None, BEHIND)[1:3] == ["home", "gw"]
    shy = settled(*exits(2), Host("gw", meshes, meshes), far)
    assert shy.walk("far", None, BEHIND)[-1] == "unreachable"


def test_a_bridge_that_is_the_exit_itself() -> None:
    meshes = ("prod", "office")
    gateway = Host("gw", meshes, meshes, advertise={"prod": (SUBNET,)})
    world = settled(gateway, Host("near", ("prod",), accept=("*",)), Host("far", ("office",), accept=("*",)))
    assert world.walk("near", None, BEHIND) == ["near", "gw", "left"]
    assert world.walk("far", None, BEHIND) == ["far", "gw", "left"]


@pytest.mark.parametrize(
    "prefix",
    [str(mesh_prefix("prod")), f"{node_address('prod', Host('r0', ()).key)}/128", str(mesh_prefix("office"))],
    ids=["the mesh's own prefix", "another's address", "a mesh behind a bridge"],
)
def test_what_lies_within_a_mesh_is_refused_and_changes_nothing(prefix: str) -> None:
    meshes = ("prod", "office")
    others = [Host("gw", meshes, meshes), Host("far", ("office",)), *receivers(2, ("*", "::/0"))]
    liar = Host("liar", ("prod",), advertise={"prod": (prefix,)})
    honest, lied_to = settled(*others, Host("liar", ("prod",))), settled(*others, liar)
    for host in others:
        assert lied_to.computed[host.name].plans == honest.computed[host.name].plans
        assert lied_to.computed[host.name].routing.plan == honest.computed[host.name].routing.plan
    joined = lied_to._joined(lied_to.hosts["r1"], "prod", lied_to.view("r1", "prod"))
    assert joined.offers.refused == {liar.key: f"liar advertises {prefix}, which lies within a mesh"}


@pytest.mark.parametrize(
    "prefix",
    [str(mesh_prefix("prod")), f"{node_address('prod', Host('r0', ()).key)}/128", str(mesh_prefix("office"))],
    ids=["the mesh's own prefix", "another's address", "the mesh that it bridges"],
)
def test_a_bridge_does_not_lead_to_what_lies_within_a_mesh_either(prefix: str) -> None:
    meshes = ("prod", "office")
    others = [Host("far", ("office",)), *receivers(2, ("*", "::/0"))]
    honest, lied_to = settled(*others, Host("gw", meshes, meshes)), settled(*others, Host("gw", meshes, meshes))
    entry = lied_to.published["gw", "prod"]
    lie = BridgedRoute(("office",), prefix)
    lied_to.published["gw", "prod"] = replace(entry, routes=(*entry.routes, lie))
    for name in ("r0", "r1"):
        lied_to.look(name)
        assert lied_to.computed[name].plans == honest.computed[name].plans
        assert lied_to.computed[name].routing.plan == honest.computed[name].routing.plan


def test_an_exit_of_one_mesh_does_not_lead_into_another_that_the_host_is_in() -> None:
    """They need know nothing of each other: the host does."""
    victim = Host("member", ("office",))
    both = Host("both", ("prod", "office"), accept=("*",))
    liar = Host("liar", ("prod",), advertise={"prod": (f"{victim.address('office')}/128",)})
    world = settled(victim, both, liar)
    assert world.walk("both", None, victim.address("office")) == ["both", "member", "arrived"]
    assert not any(table == EXIT_TABLE for table, _network in world.computed["both"].routing.plan.routes)


def test_a_client_carries_nothing_for_a_client() -> None:
    named = Host("named", ("prod",), homes={"prod": ("r0", None)})
    naming = Host("naming", ("prod",), homes={"prod": ("named", None)}, accept=("*", "::/0"))
    world = settled(*exits(1, "::/0"), *receivers(1, ()), named, naming)
    assert world.walk("named", None, ELSEWHERE)[-1] == "unreachable"


def test_nobody_crowds_others_out_of_what_a_bridge_tells() -> None:
    """A neighbour that names a thousand meshes leaves room for the one that names three."""
    many = tuple(BridgedRoute((f"m{number}",)) for number in range(1000))
    few = tuple(BridgedRoute(("z", f"far{number}")) for number in range(3))
    offers = {
        b"many": {route.path[-1]: ("office", *route.path) for route in many},
        b"few": {route.path[-1]: ("office", *route.path) for route in few},
    }
    choices = {
        "prod": {},
        "office": {
            name: Choice(path_cost("office", path[1:]), path[1:], key)
            for key, paths in offers.items()
            for name, path in paths.items()
        },
    }
    joined = {mesh: Joined(bridge=True) for mesh in ("prod", "office")}
    told = advertise("prod", joined, choices)
    assert len(told) == 256
    assert told[0] == BridgedRoute(("office",))
    assert {route.path[-1] for route in told} >= {"far0", "far1", "far2"}


def test_what_a_bridge_tells_fits_into_its_entry() -> None:
    """However long the names are that it heard."""
    long = [".".join([f"{number:03}" + "x" * 60] * 3 + ["m"]) for number in range(300)]
    path = tuple(long[:14])
    choices = {
        "prod": {},
        "office": {name: Choice(path_cost("office", (*path, name)), (*path, name), b"via") for name in long[14:]},
    }
    told = advertise("prod", {mesh: Joined(bridge=True) for mesh in ("prod", "office")}, choices)
    entry = Entry(
        name="gw",
        role=Role.PEER,
        tunnel_key=bytes(32),
        bridge=True,
        routes=told,
        services={f"s{number}": "v" * 255 for number in range(64)},
        advertise=tuple(f"2001:db8:{number:x}::/48" for number in range(1, 257)),
        description="d" * 255,
    )
    assert len(told) > 1
    assert encode_entry(entry)
