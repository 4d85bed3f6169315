"""Routing tables and rules in the kernel's hands: made, repaired, obeyed by packets, and gone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from inside import Inside
from namespaces import Host, Lab

from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.policy import LinuxPolicy, Outcome
from smegmesh.dataplane.system import LinuxSystem
from smegmesh.routing.tables import HostPlan, Route, Rule

pytestmark = pytest.mark.netns

A, B = "smeg-a", "smeg-b"
SOURCE = IPv6Address("fd00::1")
PREFIX, WIDE = IPv6Network("2001:db8:10::/48"), IPv6Network("2001:db8::/32")
DEFAULT = IPv6Network("::/0")
TABLE, DEFAULTS, OF_A = 1001, 1002, 99

PLAN = HostPlan(
    routes={
        (TABLE, PREFIX): Route(A, SOURCE),
        (TABLE, IPv6Network("2001:db8:11::/48")): Route(B),
        (DEFAULTS, DEFAULT): Route(A, SOURCE),
        (OF_A, PREFIX): Route(B),
        (OF_A, DEFAULT): Route(None),
    },
    rules=frozenset(
        {
            Rule(100, OF_A, device=A),
            Rule(101, OF_A, source=SOURCE),
            Rule(102, TABLE, unmarked=True),
            Rule(103, 254, suppress=0),
            Rule(104, DEFAULTS, unmarked=True),
        }
    ),
)


@pytest.fixture
def host(lab: Lab) -> Host:
    """A host with two interfaces that stand for those of meshes."""
    host, other = lab.host("host"), lab.host("other")
    for device in (A, B):
        lab.join(host, other, device)
    host.run("ip", "-6", "address", "add", f"{SOURCE}/64", "dev", A, "nodad")
    return host


@pytest.fixture
def inside(host: Host) -> Iterator[Inside]:
    with Inside(host) as opened:
        yield opened


def ensure(inside: Inside, plan: HostPlan) -> Outcome:
    return inside.call(LinuxPolicy().ensure, plan)


def state(host: Host) -> list[str]:
    """All rules, and all routes outside main and local, one a line."""
    rules = host.run("ip", "-6", "rule").splitlines()
    routes = host.run("ip", "-6", "route", "show", "table", "all").splitlines()
    return sorted(
        rules
        + [
            re.sub(r" +", " ", route).strip()
            for route in routes
            if " table " in f" {route}" and "table local" not in route
        ]
    )


def way_to(host: Host, address: str, *more: str) -> str:
    return host.run("ip", "-6", "route", "get", address, *more, check=False)


def test_routes_and_rules_are_made_once_and_all_go_again(host: Host, inside: Inside) -> None:
    before = state(host)
    outcome = ensure(inside, PLAN)
    assert outcome.missing == ()
    made = state(host)
    assert [line for line in made if line not in before] == sorted(
        [
            "100:\tfrom all iif smeg-a lookup 99 proto 87",
            "101:\tfrom fd00::1 lookup 99 proto 87",
            "102:\tnot from all fwmark 0x736d lookup 1001 proto 87",
            "103:\tfrom all lookup main suppress_prefixlength 0 proto 87",
            "104:\tnot from all fwmark 0x736d lookup 1002 proto 87",
            "2001:db8:10::/48 dev smeg-a table 1001 proto 87 src fd00::1 metric 1024 pref medium",
            "2001:db8:10::/48 dev smeg-b table 99 proto 87 metric 1024 pref medium",
            "2001:db8:11::/48 dev smeg-b table 1001 proto 87 metric 1024 pref medium",
            "default dev smeg-a table 1002 proto 87 src fd00::1 metric 1024 pref medium",
            "unreachable default dev lo table 99 proto 87 metric 1024 pref medium",
        ]
    )
    assert ensure(inside, PLAN) == Outcome()
    assert state(host) == made
    inside.call(LinuxPolicy().clear)
    assert state(host) == before


def test_packets_go_as_the_plan_says(host: Host, inside: Inside) -> None:
    host.run("ip", "-6", "route", "add", "default", "dev", "eth0")
    ensure(inside, PLAN)
    assert f"dev {A}" in way_to(host, "2001:db8:10::5") and f"src {SOURCE}" in way_to(host, "2001:db8:10::5")
    assert "dev eth0" in way_to(host, "2001:db8:10::5", "mark", "0x736d")
    assert "dev eth0" in way_to(host, "2001:db8::9"), "what main has better than a default route"
    assert f"dev {A}" in way_to(host, "2001:db8:ffff::1")
    assert "dev eth0" in way_to(host, "2001:db8:ffff::1", "mark", "0x736d")
    assert not way_to(host, "2001:db8:ffff::1", "from", str(SOURCE))
    host.run("sysctl", "-w", "net.ipv6.conf.all.forwarding=1")
    assert f"dev {B}" in way_to(host, "2001:db8:10::5", "from", "fd00::2", "iif", A)
    assert not way_to(host, "2001:db8::9", "from", "fd00::2", "iif", A)


def test_what_others_did_to_it_is_repaired_and_what_is_theirs_is_left(host: Host, inside: Inside) -> None:
    foreign = [
        ("route", "add", "2001:db8:77::/48", "dev", "eth0", "table", str(TABLE), "proto", "static"),
        ("route", "add", str(PREFIX), "dev", "eth0", "table", str(TABLE), "proto", "static", "metric", "5000"),
        ("route", "add", "2001:db8:78::/48", "dev", "eth0", "proto", "87"),  # of main: an interface's
        ("rule", "add", "pref", "102", "lookup", str(TABLE)),
        ("rule", "add", "pref", "100", "iif", A, "lookup", str(OF_A)),
    ]
    for command in foreign:
        host.run("ip", "-6", *command)
    ensure(inside, PLAN)
    made = state(host)
    host.run("ip", "-6", "rule", "del", "pref", "101")
    host.run("ip", "-6", "rule", "add", "pref", "100", "lookup", str(OF_A), "protocol", "87")
    host.run(
        "ip", "-6", "rule", "add", "pref", "9", "to", "2001:db8::/32", "fwmark", "1/3", "lookup", "7", "protocol", "87"
    )
    host.run("ip", "-6", "rule", "add", "pref", "9", "blackhole", "protocol", "87")
    host.run("ip", "-6", "route", "del", "default", "table", str(DEFAULTS))
    host.run(
        "ip", "-6", "route", "replace", str(PREFIX), "dev", "eth0", "table", str(OF_A), "proto", "87", "metric", "1024"
    )
    host.run("ip", "-6", "route", "add", "2001:db8:79::/48", "dev", A, "table", "7", "proto", "87")
    host.run("ip", "-6", "route", "add", str(PREFIX), "dev", A, "table", str(TABLE), "proto", "87", "metric", "7")
    host.run("ip", "-6", "route", "append", str(PREFIX), "via", "fe80::9", "dev", B, "table", str(OF_A), "proto", "87")
    host.run("ip", "-6", "route", "add", "blackhole", "2001:db8:7a::/48", "table", "7", "proto", "87")
    host.run(
        "ip", "-6", "route", "add", "default", "from", "2001:db8:5::/64", "dev", "eth0", "table", "99", "proto", "87"
    )

    outcome = ensure(inside, PLAN)
    assert "rule 101 to table 99 was missing" in outcome.changed
    assert "table 1002: routes were missing: ::/0" in outcome.changed
    assert "table 99: routes went elsewhere: 2001:db8:10::/48" in outcome.changed
    assert state(host) == made
    assert ensure(inside, PLAN) == Outcome()

    inside.call(LinuxPolicy().clear)
    assert not [line for line in state(host) if "proto 87" in line]
    assert "2001:db8:78::/48" in host.run("ip", "-6", "route")
    for _command, *rest in foreign[:2]:
        assert rest[1] in host.run("ip", "-6", "route", "show", "table", str(TABLE), "proto", "static")
    assert host.run("ip", "-6", "rule").count("lookup") == 2 + 2


def test_the_interfaces_routes_and_the_plans_do_not_fight(host: Host, inside: Inside) -> None:
    ensure(inside, PLAN)
    assert inside.call(LinuxSystem().ensure_routes, A, [IPv6Network("fd00:7::/64")])
    assert ensure(inside, PLAN) == Outcome()
    assert not inside.call(LinuxSystem().ensure_routes, A, [IPv6Network("fd00:7::/64")])
    assert inside.call(LinuxSystem().ensure_routes, A, [])
    assert ensure(inside, PLAN) == Outcome()


def test_a_route_changes_its_interface_without_a_gap(host: Host, inside: Inside) -> None:
    ensure(inside, PLAN)
    watch = host.start("ip", "-6", "monitor", "route")
    time.sleep(0.3)  # nothing says that it listens
    place = TABLE, PREFIX
    for route in (Route(B), Route(A, SOURCE), Route(None), Route(A)):
        plan = replace(PLAN, routes={**PLAN.routes, place: route})
        assert ensure(inside, plan).changed == (f"table {TABLE}: routes went elsewhere: {PREFIX}",)
        assert ensure(inside, plan) == Outcome()
    time.sleep(0.2)
    watch.terminate()
    told, _ = watch.communicate(timeout=5)
    assert told.count("2001:db8:10::/48") == 4
    assert "Deleted" not in told


def test_an_interface_that_is_missing_is_waited_for(lab: Lab, host: Host, inside: Inside) -> None:
    host.run("ip", "link", "del", A)
    outcome = ensure(inside, PLAN)
    assert outcome.missing == ("no interface smeg-a yet; routes that wait for it: 2",)
    assert "iif smeg-a [detached]" in host.run("ip", "-6", "rule")

    lab.join(host, lab.hosts[1], A)
    host.run("ip", "link", "set", A, "down")
    assert len(ensure(inside, PLAN).missing) == 1
    host.run("ip", "link", "set", A, "up")
    assert len(ensure(inside, PLAN).missing) == 1, "its source is not there yet"
    host.run("ip", "-6", "address", "add", f"{SOURCE}/64", "dev", A, "nodad")
    outcome = ensure(inside, PLAN)
    assert outcome.missing == () and len(outcome.changed) == 2
    assert ensure(inside, PLAN) == Outcome()


def test_more_specific_routes_of_main_win_over_what_is_accepted(host: Host, inside: Inside) -> None:
    plan = HostPlan(
        routes={(TABLE, WIDE): Route(A), (TABLE, PREFIX): Route(B)},
        rules=frozenset({Rule(102, TABLE, unmarked=True)}),
    )
    host.run("ip", "-6", "route", "add", "2001:db8:10::/48", "via", "2001:db8::99")
    host.run("ip", "-6", "route", "add", "2001:db8:10:5::/64", "via", "2001:db8::99")
    host.run("ip", "-6", "route", "add", "2001:db8::/30", "via", "2001:db8::99")
    ensure(inside, plan)
    assert "dev eth0" in way_to(host, "2001:db8::7"), "the underlay itself"
    assert f"dev {B}" in way_to(host, "2001:db8:10::1"), "of equal ones, what was accepted"
    assert "dev eth0" in way_to(host, "2001:db8:10:5::1")
    assert f"dev {A}" in way_to(host, "2001:db8:20::1")
    assert ensure(inside, plan) == Outcome()

    host.run("ip", "-6", "route", "del", "2001:db8:10:5::/64")
    host.run("ip", "-6", "route", "add", "2001:db8:20::/48", "via", "2001:db8::99")
    assert len(ensure(inside, plan).changed) == 2
    assert f"dev {B}" in way_to(host, "2001:db8:10:5::1")
    assert "dev eth0" in way_to(host, "2001:db8:20::1")
    inside.call(LinuxPolicy().clear)
    assert "proto 87" not in host.run("ip", "-6", "route", "show", "table", "all")


def test_a_foreign_route_in_its_place_is_told_and_stays(host: Host, inside: Inside) -> None:
    host.run("ip", "-6", "route", "add", str(PREFIX), "dev", "eth0", "table", str(TABLE), "metric", "1024")
    with pytest.raises(PlaneError, match=f"table {TABLE}: {PREFIX} is already routed by something else"):
        ensure(inside, PLAN)
    assert f"dev {A}" in host.run("ip", "-6", "route", "show", "table", str(DEFAULTS)), "all else is done"
    assert host.run("ip", "-6", "route", "show", "table", str(TABLE), str(PREFIX)).count("dev eth0") == 1
    host.run("ip", "-6", "route", "del", str(PREFIX), "table", str(TABLE))
    ensure(inside, PLAN)
    assert ensure(inside, PLAN) == Outcome()


def test_a_plan_that_the_kernel_cannot_say_changes_nothing(host: Host, inside: Inside) -> None:
    before = state(host)
    with pytest.raises(PlaneError, match="rule 5: `unmarked` goes with neither"):
        ensure(inside, replace(PLAN, rules=PLAN.rules | {Rule(5, TABLE, device=A, unmarked=True)}))
    with pytest.raises(PlaneError, match="main table"):
        ensure(inside, HostPlan(routes={(254, PREFIX): Route(A)}))
    assert state(host) == before


def test_a_large_plan_takes_a_fraction_of_a_second(host: Host, inside: Inside) -> None:
    prefixes = [IPv6Network(f"2001:db8:{number:x}::/48") for number in range(1, 301)]
    tables = range(2000, 2003)
    plan = HostPlan(
        routes={(table, prefix): Route(A, SOURCE) for table in tables for prefix in prefixes},
        rules=frozenset(Rule(table, table, unmarked=True) for table in tables),
    )
    moved = replace(plan, routes={place: Route(B) for place in plan.routes})
    began = time.monotonic()
    for wanted in (plan, plan, moved):
        ensure(inside, wanted)
    inside.call(LinuxPolicy().clear)
    assert time.monotonic() - began < 2, "four of them"
    assert "proto 87" not in host.run("ip", "-6", "route", "show", "table", "all")
