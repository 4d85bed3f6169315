"""What becomes of a new IPv6 connection in the forward chains of others, read from `nft -j list ruleset`.

Of a rule with a condition that cannot be told from here (a mark, a port) it is not known whether it holds. A
conditional drop is let pass, it is meant for something; after a conditional accept nothing is certain any more.
iptables-nft writes the same tables; those of iptables-legacy are not in there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv6Network
from itertools import chain
from typing import Any

_OWN = ("inet", "smegmesh")
_FAMILIES = ("ip6", "inet")
_INTERFACES = {"iifname": "iif", "iif": "iif", "oifname": "oif", "oif": "oif"}
_PROTOCOLS = {"nfproto": ("ipv6",), "protocol": ("ip6", "ipv6")}
_NEUTRAL = {"counter", "log", "mangle", "notrack", "flow", "accept", "drop", "reject", "jump", "goto", "return"}
_DEPTH = 16  # of jumps, as in the kernel

Expression = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection to be forwarded: by which interfaces, between which prefixes. None for any."""

    iif: str
    oif: str | None
    source: str | None
    destination: str | None


@dataclass(frozen=True, slots=True)
class Drop:
    """A base chain that drops; `certain` unless a rule before that may let it pass."""

    chain: str
    why: str
    certain: bool


@dataclass(frozen=True, slots=True)
class _End:
    """How a walk through a chain ends: accepted, dropped for a reason, or neither (at its end)."""

    verdict: str = ""
    why: str = ""
    certain: bool = True


def find_drops(ruleset: Mapping[str, Any], flows: Iterable[Flow]) -> list[Drop]:
    """The base chains of others in the forward hook that drop any of these flows; each once."""
    tables = _Ruleset(ruleset)
    ends = [(name, tables.fate(name, flow)) for flow in flows for name in tables.hooked]
    found = {name: Drop(" ".join(name), end.why, end.certain) for name, end in reversed(ends) if end.verdict == "drop"}
    return [found[name] for name in tables.hooked if name in found]


_Name = tuple[str, str, str]  # family, table, chain


class _Ruleset:
    def __init__(self, listing: Mapping[str, Any]) -> None:
        items = [item for item in listing.get("nftables", ()) if isinstance(item, dict)]
        chains = [item["chain"] for item in items if "chain" in item]
        self._policies: dict[_Name, str] = {
            (each["family"], each["table"], each["name"]): each.get("policy", "accept") for each in chains
        }
        self.hooked = [
            (each["family"], each["table"], each["name"])
            for each in chains
            if each.get("hook") == "forward"
            and each["family"] in _FAMILIES
            and (each["family"], each["table"]) != _OWN
            and each.get("type") == "filter"
        ]
        self._rules: dict[_Name, list[list[Expression]]] = {}
        for rule in (item["rule"] for item in items if "rule" in item):
            self._rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule.get("expr", []))
        self._sets: dict[_Name, list[Any]] = {
            (each["family"], each["table"], each["name"]): each.get("elem", [])
            for each in (item["set"] for item in items if "set" in item)
        }

    def fate(self, name: _Name, flow: Flow) -> _End:
        """What becomes of a flow in a base chain."""
        end = self._walk(name, flow, 0)
        if end.verdict:
            return end
        if self._policies[name] == "drop":
            return _End("drop", "policy drop", end.certain)
        return _End("accept")

    def _walk(self, name: _Name, flow: Flow, depth: int) -> _End:
        certain = True
        for rule in chain.from_iterable(map(_spread, self._rules.get(name, ()))):
            holds = _all(self._holds(expression, flow, name) for expression in rule)
            if holds is False:
                continue
            end, leaves = self._end(rule, flow, name, depth)
            leaves = leaves or bool(end.verdict)
            if leaves and holds:
                return _End(end.verdict, end.why, certain and end.certain)
            # What may be accepted, or may have left the chain, need not come as far as a later drop.
            if end.verdict != "drop":
                certain = certain and end.certain and not leaves
        return _End(certain=certain)

    def _end(self, rule: list[Expression], flow: Flow, name: _Name, depth: int) -> tuple[_End, bool]:
        """How a rule that holds ends, and whether the chain is left then whatever that is."""
        for expression in rule:
            if "accept" in expression:
                return _End("accept"), True
            if "drop" in expression or "reject" in expression or _target(expression) in ("DROP", "REJECT"):
                return _End("drop", f"a rule of chain {name[2]}"), True
            if "return" in expression:
                return _End(), True
            for word in ("jump", "goto"):
                if word in expression and depth < _DEPTH:
                    target = (*name[:2], expression[word]["target"])
                    return self._walk(target, flow, depth + 1), word == "goto"
            if "vmap" in expression or "queue" in expression:
                return _End(certain=False), False
        return _End(), False

    def _holds(self, expression: Expression, flow: Flow, name: _Name) -> bool | None:
        """Whether a condition holds for a flow; None if that cannot be told."""
        if "match" not in expression:
            return True if expression.keys() <= _NEUTRAL or _target(expression) is not None else None
        match = expression["match"]
        values = list(self._values(match["right"], name))
        found = _any(_equals(match["left"], value, flow) for value in values)
        if match.get("op") == "!=":
            return None if found is None else not found
        return found if match.get("op") in ("==", "in") else None

    def _values(self, right: Any, name: _Name) -> Iterator[Any]:
        if isinstance(right, str) and right.startswith("@"):
            right = self._sets.get((*name[:2], right[1:]), [{}])
        if isinstance(right, dict) and "set" in right:
            right = right["set"]
        for value in right if isinstance(right, list) else [right]:
            yield value["elem"]["val"] if isinstance(value, dict) and "elem" in value else value


def _spread(rule: list[Expression]) -> Iterator[list[Expression]]:
    """A rule with a verdict map as one rule for each of its verdicts; any other as it is."""
    place = next((place for place, expression in enumerate(rule) if "vmap" in expression), None)
    data = rule[place]["vmap"]["data"] if place is not None else None
    if place is None or not isinstance(data, dict) or "set" not in data:
        yield rule
        return
    for value, verdict in data["set"]:
        match = {"op": "==", "left": rule[place]["vmap"]["key"], "right": value}
        yield [*rule[:place], {"match": match}, verdict]


def _equals(left: Expression, value: Any, flow: Flow) -> bool | None:
    """Whether a field of the flow has a value; None if that cannot be told."""
    if not isinstance(left, dict):
        return None
    key = left.get("meta", {}).get("key")
    if key in _INTERFACES:
        held = getattr(flow, _INTERFACES[key])
        return None if held is None or not isinstance(value, str) else fnmatchcase(held, value)
    if key in _PROTOCOLS:
        return value in _PROTOCOLS[key]
    if left.get("ct", {}).get("key") == "state":
        return bool(value == "new")
    if left.get("ct", {}).get("key") == "status":
        return False if value == "dnat" else None
    payload = left.get("payload", {})
    if payload.get("protocol") == "ip":
        return False
    if payload.get("protocol") == "ip6" and payload.get("field") in ("saddr", "daddr"):
        return _within(flow.source if payload["field"] == "saddr" else flow.destination, value)
    return None


def _within(held: str | None, value: Any) -> bool | None:
    """Whether all of a prefix is in another; None if only a part is, or that cannot be told."""
    if isinstance(value, dict) and "prefix" in value:
        value = f"{value['prefix']['addr']}/{value['prefix']['len']}"
    try:
        network = IPv6Network(value)
    except (ValueError, TypeError):
        return None
    if held is None:
        return None
    ours = IPv6Network(held)
    return True if ours.subnet_of(network) else (None if ours.overlaps(network) else False)


def _target(expression: Expression) -> str | None:
    """The name of a target of iptables; None if it is none."""
    xt = expression.get("xt")
    return xt.get("name") if isinstance(xt, dict) and xt.get("type") == "target" else None


def _all(held: Iterable[bool | None]) -> bool | None:
    known = list(held)
    return False if False in known else (None if None in known else True)


def _any(held: Iterable[bool | None]) -> bool | None:
    known = list(held)
    return True if True in known else (None if None in known else False)
