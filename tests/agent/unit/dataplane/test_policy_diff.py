"""Routes and rules: the diff, the messages, and the twin in memory."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smegmesh.dataplane import policy_messages as messages
from smegmesh.dataplane.netlink import attribute
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.policy import MemoryPolicy, Outcome
from smegmesh.dataplane.policy_diff import (
    Place,
    describe_routes,
    describe_rules,
    missing_devices,
    route_changes,
    rule_changes,
    wanted_ways,
)
from smegmesh.dataplane.policy_messages import THROW, UNICAST, UNREACHABLE, HeldRoute, HeldRule, Way
from smegmesh.routing.tables import HostPlan, Route, Rule

SOURCE = IPv6Address("fd00::1")
DEFAULT, WIDE, SITE = IPv6Network("::/0"), IPv6Network("2001:db8::/32"), IPv6Network("2001:db8:10::/48")
INTO_A, INTO_B = Way(UNICAST, 5, SOURCE), Way(UNICAST, 6)
INDEXES = {"smeg-a": 5, "smeg-b": 6}
ANY = Rule(10, 51, unmarked=True)


def held(ways: Mapping[Place, Way]) -> list[HeldRoute]:
    return [HeldRoute(table, prefix, ours=True, way=way) for (table, prefix), way in ways.items()]


def main(prefix: str, **more: object) -> HeldRoute:
    return replace(HeldRoute(254, IPv6Network(prefix), ours=False), **more)  # type: ignore[arg-type]


# Routes


def test_a_plan_becomes_ways_and_what_lacks_its_interface_is_counted() -> None:
    plan = HostPlan({(51, SITE): Route("smeg-a", SOURCE), (51, WIDE): Route("gone"), (52, DEFAULT): Route(None)})
    assert wanted_ways(plan, INDEXES, []) == {(51, SITE): INTO_A, (52, DEFAULT): Way(UNREACHABLE)}
    assert missing_devices(plan, INDEXES) == {"gone": 1}


def test_main_keeps_what_it_has_more_specific() -> None:
    routes = [
        main("2001:db8::/64"),
        main("2001:db8:10::/48"),
        main("2001:db8:10:1::/64", ours=True),
        main("2001:db8:11::/48", unicast=False),
        main("2001:db8:12::/48", origin=SITE),
        main("2001:db8::/32"),
        main("2001::/16"),
        main("2001:db9::/48"),
        main("::/0"),
    ]
    plan = HostPlan({(51, WIDE): Route("smeg-a", SOURCE), (51, SITE): Route("smeg-b")}, frozenset({ANY}))
    throws = {(51, IPv6Network(prefix)): Way(THROW) for prefix in ("2001:db8::/64", "2001:db8:10:1::/64")}
    assert wanted_ways(plan, INDEXES, routes) == {(51, WIDE): INTO_A, (51, SITE): INTO_B, **throws}

    marked = replace(plan, rules=frozenset({replace(ANY, unmarked=False, device="smeg-a")}))
    assert wanted_ways(marked, INDEXES, routes) == {(51, WIDE): INTO_A, (51, SITE): INTO_B}, "of a mesh, not of all"
    default = HostPlan({(51, DEFAULT): Route("smeg-b")}, frozenset({ANY}))
    assert wanted_ways(default, INDEXES, routes) == {(51, DEFAULT): INTO_B}


def test_only_what_differs_is_changed() -> None:
    wanted = {(51, SITE): INTO_A, (51, WIDE): INTO_B, (52, DEFAULT): Way(UNREACHABLE)}
    changes = route_changes(wanted, held({(51, SITE): INTO_A, (51, WIDE): INTO_A, (53, DEFAULT): INTO_A}))
    assert changes.add == {(52, DEFAULT): Way(UNREACHABLE)}
    assert changes.replace == {(51, WIDE): INTO_B}
    assert [(route.table, route.prefix) for route in changes.remove] == [(53, DEFAULT)]
    assert describe_routes(changes) == [
        "table 51: routes went elsewhere: 2001:db8::/32",
        "table 52: routes were missing: ::/0",
        "table 53: routes did not belong there: ::/0",
    ]


def test_another_metric_or_next_hop_is_no_match_and_goes() -> None:
    right = HeldRoute(51, SITE, ours=True, way=INTO_A)
    other, hops = replace(right, metric=7), replace(right, way=None)
    changes = route_changes({(51, SITE): INTO_A}, [other, right])
    assert (changes.add, changes.replace, changes.remove) == ({}, {}, (other,))
    assert route_changes({(51, SITE): INTO_A}, [hops, right]).remove == (hops,)
    assert route_changes({(51, SITE): INTO_A}, [hops]).replace == {(51, SITE): INTO_A}
    assert route_changes({(51, SITE): INTO_A}, [other]).add == {(51, SITE): INTO_A}


def test_routes_of_others_and_of_main_are_not_changed() -> None:
    foreign = [HeldRoute(51, WIDE, ours=False), HeldRoute(51, SITE, ours=False), HeldRoute(254, SITE, ours=True)]
    changes = route_changes({}, foreign)
    assert (changes.add, changes.replace, changes.remove) == ({}, {}, ())
    beside = route_changes({(51, SITE): INTO_B}, [*foreign, HeldRoute(51, SITE, ours=True, way=INTO_A)])
    assert not beside.replace, "the kernel might take the other's for it"


def test_many_routes_are_told_in_one_line() -> None:
    wanted = {(51, IPv6Network(f"2001:db8:{number}::/48")): INTO_A for number in range(5)}
    assert describe_routes(route_changes(wanted, [])) == [
        "table 51: routes were missing: 2001:db8::/48, 2001:db8:1::/48, 2001:db8:2::/48 and 2 more"
    ]


ways = st.sampled_from([INTO_A, INTO_B, Way(UNREACHABLE), Way(THROW)])
places = st.tuples(st.sampled_from([51, 52]), st.sampled_from([DEFAULT, WIDE, SITE]))


@given(st.dictionaries(places, ways), st.dictionaries(places, ways))
def test_changes_lead_from_any_state_to_the_plan(before: dict[Place, Way], wanted: dict[Place, Way]) -> None:
    changes = route_changes(wanted, held(before))
    after = {**before, **changes.replace, **changes.add}
    for route in changes.remove:
        del after[route.table, route.prefix]
    assert after == wanted
    assert not changes.add.keys() & before.keys() and changes.replace.keys() <= before.keys()


# Rules


def test_rules_are_added_in_order_and_what_is_twice_goes_once() -> None:
    first, second = Rule(1, 9, device="smeg-a"), Rule(2, 9, source=SOURCE)
    twice = HeldRule(ANY, b"twice")
    strange = HeldRule(None, b"strange")
    changes = rule_changes({second, first, ANY}, [HeldRule(ANY, b"once"), twice, strange])
    assert changes.add == (first, second)
    assert changes.remove == (twice, strange)
    assert describe_rules(changes) == [
        "rule 1 to table 9 was missing",
        "rule 2 to table 9 was missing",
        "rule 10 to table 51 did not belong there",
        "a rule with selectors of others did not belong there",
    ]


# Messages


@pytest.mark.parametrize(
    "rule",
    [
        Rule(0, 51),
        Rule(100, 70000, device="smeg-a"),
        Rule(100, 51, source=SOURCE, suppress=0),
        Rule(100, 51, device="smeg-a", source=SOURCE),
        Rule(100, 254, unmarked=True, suppress=48),
    ],
)
def test_a_rule_is_read_as_it_was_made(rule: Rule) -> None:
    made = messages.put_rule(rule)
    assert messages.read_rule(memoryview(made)) == HeldRule(rule, made)


def test_no_mark_and_something_else_cannot_be_asked_for() -> None:
    for rule in (Rule(5, 51, device="smeg-a", unmarked=True), Rule(5, 51, source=SOURCE, unmarked=True)):
        with pytest.raises(ValueError, match="rule 5: `unmarked` goes with neither"):
            messages.put_rule(rule)


def test_a_rule_that_the_agent_would_not_make_so_is_no_rule_of_a_plan() -> None:
    made = messages.put_rule(Rule(100, 51))
    output_device = made + attribute(17, b"eth0\0")
    other_mark = made + attribute(10, struct.pack("=I", 7)) + attribute(16, struct.pack("=I", 7))
    inverted = made[:8] + struct.pack("=I", 2) + made[12:]
    blackhole = made[:7] + b"\x06" + made[8:]
    for message in (output_device, other_mark, inverted, blackhole):
        assert messages.read_rule(memoryview(message)) == HeldRule(None, message)
    foreign = made.replace(attribute(21, b"\x57"), attribute(21, b"\x03"))
    assert messages.read_rule(memoryview(foreign)) is None


@pytest.mark.parametrize("way", [INTO_A, INTO_B, Way(UNREACHABLE), Way(THROW)])
@pytest.mark.parametrize("table", [51, 70000])
def test_a_route_is_read_as_it_was_made(way: Way, table: int) -> None:
    made = messages.put_route(table, SITE, way)
    assert messages.read_route(memoryview(made), ()) == HeldRoute(
        table, SITE, ours=True, unicast=way.kind == UNICAST, way=way, message=made
    )


def test_routes_of_others_are_read_where_they_count() -> None:
    made = bytearray(messages.put_route(254, SITE, INTO_B))
    made[5] = 3  # the protocol
    assert messages.read_route(memoryview(made), {51}) is None
    assert messages.read_route(memoryview(made), {254}) == HeldRoute(254, SITE, ours=False, way=INTO_B)
    made[0] = 2  # IPv4, which a kernel without IPv6 answers with
    assert messages.read_route(memoryview(made), {254}) is None


def test_a_route_by_a_gateway_is_none_that_the_agent_made() -> None:
    made = messages.put_route(51, SITE, INTO_B) + attribute(5, SOURCE.packed)
    read = messages.read_route(memoryview(made), ())
    assert read is not None and read.ours and read.way is None


# The twin in memory


def test_the_twin_tells_what_it_changed_and_what_waits() -> None:
    policy = MemoryPolicy()
    policy.absent = {"smeg-b"}
    plan = HostPlan({(51, SITE): Route("smeg-a"), (51, WIDE): Route("smeg-b")}, frozenset({ANY}))
    waits = ("no interface smeg-b yet; routes that wait for it: 1",)
    changed = ("table 51: routes were missing: 2001:db8:10::/48", "rule 10 to table 51 was missing")
    assert policy.ensure(plan) == Outcome(changed, waits)
    assert policy.ensure(plan) == Outcome((), waits)
    policy.absent = set()
    assert policy.ensure(plan).missing == ()
    with pytest.raises(PlaneError, match="fault of the agent"):
        policy.ensure(HostPlan({(254, SITE): Route("smeg-a")}))
    policy.clear()
    assert (policy.routes, policy.rules) == ({}, frozenset())
