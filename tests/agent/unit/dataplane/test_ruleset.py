"""The text of the nft table, and which addresses it speaks of."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from smegmesh.dataplane.firewall import ruleset
from smegmesh.dataplane.ranges import Range, longest_matches, union
from smegmesh.routing.tables import Forwarding

A, B, C = "smeg-a", "smeg-b", "smeg-c"
DEFAULT, SITE, ULA = IPv6Network("::/0"), IPv6Network("2001:db8:10::/48"), IPv6Network("fd77::/48")
OUT_OF_SITE = "::-2001:db8:f:ffff:ffff:ffff:ffff:ffff, 2001:db8:11::-fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
ABOVE = "fe00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def chain(text: str, name: str) -> list[str]:
    """The rules of a chain."""
    _before, _name, rest = text.partition(f"chain {name} {{")
    return [line.strip() for line in rest.partition("}\n    ")[0].splitlines()[2:] if line.strip() not in ("", "}")]


def test_the_table_is_replaced_in_one_step() -> None:
    text = ruleset({B: Forwarding(), A: Forwarding()})
    assert text.startswith("table inet smegmesh {}\ndelete table inet smegmesh\ntable inet smegmesh {\n")
    assert 'elements = { "smeg-a", "smeg-b" }' in text
    assert text.count("policy accept") == 3, "what is not the mesh's passes; nothing is translated"


def test_what_goes_nowhere_but_back() -> None:
    assert chain(ruleset({A: Forwarding(), B: Forwarding()}), "forward") == [
        "iifname @meshes tcp flags syn tcp option maxseg size set rt mtu",
        "oifname @meshes tcp flags syn tcp option maxseg size set rt mtu",
        'iifname "smeg-a" oifname { "smeg-a" } accept',
        'iifname "smeg-b" oifname { "smeg-b" } accept',
        "iifname @meshes drop",
        "oifname @meshes drop",
    ]


def test_a_bridge_names_pairs_of_its_own_interfaces() -> None:
    rules = chain(ruleset({A: Forwarding(frozenset({B, "eth0"})), B: Forwarding(), C: Forwarding()}), "forward")
    assert [rule for rule in rules if rule.endswith("accept")] == [
        'iifname "smeg-a" oifname { "smeg-a", "smeg-b" } accept',
        'iifname "smeg-b" oifname { "smeg-b" } accept',
        'iifname "smeg-c" oifname { "smeg-c" } accept',
    ]


def test_what_came_by_another_way_than_its_answer_would_take_goes_no_further() -> None:
    a, far, near = (IPv6Network(prefix) for prefix in ("fd00:a::/64", "fd00:f::/64", "fd00:b::/64"))
    sources = {DEFAULT: None, a: A, near: B, far: B, IPv6Network("fd00:f::/128"): C}
    rules = chain(ruleset({A: Forwarding(frozenset({B}), sources=sources), B: Forwarding()}), "forward")
    drops = [rule for rule in rules if rule.endswith("drop")][:-2]
    assert [rule.partition(" ip6 saddr")[0] for rule in drops] == [
        'oifname "smeg-a" iifname @meshes',
        'oifname "smeg-a" iifname @meshes iifname != "smeg-a"',
        'oifname "smeg-a" iifname @meshes iifname != "smeg-b"',
        'oifname "smeg-a" iifname @meshes iifname != "smeg-c"',
    ]
    assert "saddr { fd00:b::-fd00:b::ffff:ffff:ffff:ffff, fd00:f::1-fd00:f::ffff:ffff:ffff:ffff }" in drops[2]
    assert rules.index(drops[-1]) < next(at for at, rule in enumerate(rules) if rule.endswith("accept"))


def test_an_exit_translates_where_the_longest_prefix_says_so_and_never_to_meshes() -> None:
    text = ruleset({A: Forwarding(prefixes={DEFAULT: True, SITE: False, ULA: False})})
    assert chain(text, "forward")[2:-2] == [
        'iifname "smeg-a" oifname { "smeg-a" } accept',
        'iifname "smeg-a" oifname != @meshes ip6 daddr { ::-fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff, '
        f"fd77::-fd77::ffff:ffff:ffff:ffff:ffff, {ABOVE} }} accept",
        'oifname "smeg-a" iifname != @meshes ip6 saddr { 2001:db8:10::-2001:db8:10:ffff:ffff:ffff:ffff:ffff, '
        "fd77::-fd77::ffff:ffff:ffff:ffff:ffff } accept",
        'oifname "smeg-a" iifname != @meshes ct state established,related accept',
    ]
    assert chain(text, "postrouting") == [
        f'iifname "smeg-a" oifname != @meshes ip6 daddr {{ {OUT_OF_SITE}, {ABOVE} }} masquerade'
    ]


def test_all_unique_local_addresses_are_no_prefix() -> None:
    rules = chain(ruleset({A: Forwarding(prefixes={IPv6Network("fd00::/8"): True})}), "forward")
    assert not [rule for rule in rules if "daddr" in rule]


def test_marks_are_set_once_and_only_where_there_are_none() -> None:
    text = ruleset({A: Forwarding(prefixes={SITE: False}), B: Forwarding(prefixes={DEFAULT: False, SITE: True})})
    assert chain(text, "prerouting") == [
        'iifname { "lo", "smeg-a", "smeg-b" } accept',
        "meta nfproto != ipv6 accept",
        f"ct mark 0 ip6 saddr {{ ::-fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff, {ABOVE} }} fib daddr type != local accept",
        "ct direction original ct mark 0 ct mark set 0x736d",
        "ct mark 0x736d meta mark 0 meta mark set 0x736d",
    ]
    assert chain(text, "output")[-2] == "ct mark 0x736d meta mark set 0x736d"
    assert "fib" not in ruleset({A: Forwarding(prefixes={DEFAULT: True})})


def test_what_a_host_sends_from_outside_the_overlay_stays_out_of_it() -> None:
    def carried(plan: dict[str, Forwarding]) -> str:
        rule = chain(ruleset(plan), "output")[-1]
        found = re.fullmatch(r"oifname @meshes ip6 saddr != { (.*) } meta mark set 0x736d", rule)
        assert found is not None
        return found[1]

    overlay = "fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff, fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    assert carried({A: Forwarding(prefixes={DEFAULT: True})}) == f"::, {overlay}"
    site = "2001:db8:10::-2001:db8:10:ffff:ffff:ffff:ffff:ffff"
    assert carried({A: Forwarding(prefixes={SITE: False}), B: Forwarding()}) == f"::, {site}, {overlay}"


# Few bits, so that prefixes are nested often.
networks = st.builds(
    lambda bits, length: IPv6Network((bits << 120, length), strict=False), st.integers(0, 255), st.integers(0, 8)
)


@given(st.dictionaries(networks, st.booleans(), max_size=12))
def test_ranges_say_for_each_address_what_its_longest_prefix_says(prefixes: dict[IPv6Network, bool]) -> None:
    found = list(longest_matches(prefixes))
    for earlier, later in pairwise(found):
        assert earlier[0].last < later[0].first
        assert earlier[0].last + 1 < later[0].first or earlier[1] != later[1], "they could be one"
    for first in range(256):
        address = IPv6Address(first << 120 | 7)
        around = [prefix for prefix in prefixes if address in prefix]
        expected = [prefixes[max(around, key=lambda prefix: prefix.prefixlen)]] if around else []
        assert [value for where, value in found if where.first <= int(address) <= where.last] == expected


@given(st.lists(st.builds(lambda first, size: Range(first, first + size), st.integers(0, 30), st.integers(0, 9))))
def test_a_union_has_each_address_once(ranges: list[Range]) -> None:
    merged = union(ranges)
    assert [number for found in merged for number in range(found.first, found.last + 1)] == sorted(
        {number for found in ranges for number in range(found.first, found.last + 1)}
    )
    assert all(earlier.last + 1 < later.first for earlier, later in pairwise(merged))
