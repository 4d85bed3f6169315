"""What becomes of what is forwarded, read from rulesets as `nft -j list ruleset` prints them."""

from __future__ import annotations

from typing import Any

import pytest

from smegmesh.doctor.firewall import Flow, find_drops

DEVICE = "smeg-prod"
INSIDE = Flow(DEVICE, DEVICE, "fd58::/64", "fd58::/64")
Rule = list[dict[str, Any]]

ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}
COUNTER = {"counter": {"packets": 3, "bytes": 200}}
REJECT = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}


def match(key: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": key, "right": right}}


def meta(key: str, right: Any, op: str = "==") -> dict[str, Any]:
    return match({"meta": {"key": key}}, right, op)


def state(*words: str) -> dict[str, Any]:
    return match({"ct": {"key": "state"}}, list(words) if len(words) > 1 else words[0], "in")


def address(field: str, prefix: str) -> dict[str, Any]:
    start, length = prefix.split("/")
    right = {"prefix": {"addr": start, "len": int(length)}}
    return match({"payload": {"protocol": "ip6", "field": field}}, right)


def listing(
    *rules: Rule,
    policy: str = "accept",
    family: str = "inet",
    table: str = "filter",
    hook: str = "forward",
    **chains: Any,
) -> dict[str, Any]:
    name = {"family": family, "table": table}
    base = {**name, "name": "FORWARD", "type": "filter", "hook": hook, "prio": 0, "policy": policy}
    items: list[dict[str, Any]] = [{"metainfo": {"json_schema_version": 1}}, {"table": {**name, "name": table}}]
    items += [{"chain": base}, *({"chain": {**name, "name": chain}} for chain in chains)]
    items.append({"set": {**name, "name": "lans", "type": "ifname", "elem": ["eth0", "eth1"]}})
    for chain, its_rules in {"FORWARD": rules, **chains}.items():
        items += [{"rule": {**name, "chain": chain, "expr": rule}} for rule in its_rules]
    return {"nftables": items}


def fate(ruleset: dict[str, Any], flow: Flow = INSIDE) -> str:
    drops = find_drops(ruleset, [flow])
    return "accepted" if not drops else ("dropped" if drops[0].certain else "perhaps dropped")


DOCKER = listing(  # what dockerd makes with iptables-nft and ip6tables on
    [COUNTER, {"jump": {"target": "ISOLATION"}}],
    [meta("oifname", "docker0"), state("related", "established"), COUNTER, ACCEPT],
    [meta("iifname", "docker0"), meta("oifname", "docker0", "!="), COUNTER, ACCEPT],
    family="ip6",
    ISOLATION=[[meta("iifname", "docker0"), meta("oifname", "docker0", "!="), {"jump": {"target": "STAGE2"}}]],
    STAGE2=[[meta("oifname", "docker0"), COUNTER, DROP]],
)
FIREWALLD = listing(
    [state("established", "related"), ACCEPT],
    [match({"ct": {"key": "status"}}, "dnat", "in"), ACCEPT],
    [meta("iifname", "lo"), ACCEPT],
    [state("invalid"), DROP],
    [{"jump": {"target": "zones"}}],
    [REJECT],
    zones=[[meta("iifname", "eth0"), {"goto": {"target": "public"}}]],
    public=[[ACCEPT]],
)
FIREWALLD_TRUSTED = listing(
    [{"jump": {"target": "zones"}}],
    [REJECT],
    zones=[[meta("iifname", DEVICE), {"goto": {"target": "trusted"}}]],
    trusted=[[ACCEPT]],
)


@pytest.mark.parametrize(
    ("ruleset", "wanted"),
    [
        ({}, "accepted"),
        (listing(), "accepted"),
        (listing(policy="drop"), "dropped"),
        (listing(policy="drop", family="ip"), "accepted"),
        (listing(policy="drop", hook="input"), "accepted"),
        (listing(policy="drop", table="smegmesh"), "accepted"),  # our own
        (listing([DROP]), "dropped"),
        (listing([COUNTER, {"log": {"prefix": "no"}}, REJECT]), "dropped"),
        (listing([meta("iifname", "eth0"), DROP]), "accepted"),
        (listing([meta("iifname", "eth0", "!="), DROP]), "dropped"),
        (listing([meta("iifname", "smeg-*"), DROP]), "dropped"),
        (listing([meta("iifname", {"set": ["eth0", DEVICE]}), ACCEPT], policy="drop"), "accepted"),
        (listing([meta("iifname", "@lans"), ACCEPT], policy="drop"), "dropped"),
        (listing([meta("iifname", "@gone"), ACCEPT], policy="drop"), "perhaps dropped"),
        (listing([meta("nfproto", "ipv4"), DROP]), "accepted"),
        (listing([address("saddr", "fd00::/8"), ACCEPT], policy="drop"), "accepted"),
        (listing([address("saddr", "2001:db8::/32"), ACCEPT], policy="drop"), "dropped"),
        (listing([address("daddr", "fd58::/65"), ACCEPT], policy="drop"), "perhaps dropped"),
        (listing([state("established", "related"), ACCEPT], policy="drop"), "dropped"),
        (listing([state("invalid"), DROP]), "accepted"),
        (listing([meta("mark", 1), ACCEPT], policy="drop"), "perhaps dropped"),
        (listing([meta("mark", 1), DROP]), "accepted"),
        (listing([meta("mark", 1), {"jump": {"target": "other"}}], other=[[DROP]]), "accepted"),
        (
            listing(
                [
                    {"jump": {"target": "other"}},
                ],
                other=[[{"return": None}], [DROP]],
            ),
            "accepted",
        ),
        (listing([{"jump": {"target": "FORWARD"}}], policy="drop"), "dropped"),  # a loop, which the kernel refuses
        (
            listing(
                [
                    {
                        "vmap": {
                            "key": {"ct": {"key": "state"}},
                            "data": {"set": [["established", ACCEPT], ["invalid", DROP]]},
                        }
                    }
                ],
                policy="drop",
            ),
            "dropped",
        ),
        (
            listing(
                [{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["eth0", DROP], [DEVICE, ACCEPT]]}}}],
                policy="drop",
            ),
            "accepted",
        ),
        (listing([meta("iifname", "eth0"), {"xt": {"type": "target", "name": "REJECT"}}]), "accepted"),
        (listing([{"xt": {"type": "target", "name": "REJECT"}}]), "dropped"),
        (listing([{"xt": None}, ACCEPT], policy="drop"), "perhaps dropped"),
        (DOCKER, "accepted"),
        (FIREWALLD, "dropped"),
        (FIREWALLD_TRUSTED, "accepted"),
    ],
)
def test_the_fate_of_what_goes_from_member_to_member(ruleset: dict[str, Any], wanted: str) -> None:
    assert fate(ruleset) == wanted


def test_what_leaves_the_overlay_goes_out_by_some_interface() -> None:
    out = Flow(DEVICE, None, None, None)
    rules = listing([meta("iifname", DEVICE), meta("oifname", "eth0"), ACCEPT], policy="drop")
    assert fate(rules, out) == "perhaps dropped"
    assert fate(listing([meta("iifname", DEVICE), ACCEPT], policy="drop"), out) == "accepted"


def test_the_chain_and_the_reason_are_named() -> None:
    (drop,) = find_drops(listing([{"jump": {"target": "last"}}], last=[[REJECT]]), [INSIDE, INSIDE])
    assert (drop.chain, drop.why) == ("inet filter FORWARD", "a rule of chain last")
