"""From the routes and rules that the kernel holds to those of a plan: what to change. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network

from smegmesh.dataplane.policy_messages import (
    MAIN_TABLE,
    METRIC,
    THROW,
    UNICAST,
    UNREACHABLE,
    HeldRoute,
    HeldRule,
    Way,
)
from smegmesh.routing.tables import HostPlan, Route, Rule

Place = tuple[int, IPv6Network]
_LENGTH = 128  # bits of an address


@dataclass(frozen=True, slots=True)
class RouteChanges:
    """`add` where there is none of ours, `replace` where there is; `remove` comes last."""

    add: Mapping[Place, Way]
    replace: Mapping[Place, Way]
    remove: tuple[HeldRoute, ...]


@dataclass(frozen=True, slots=True)
class RuleChanges:
    """`add` comes before `remove`."""

    add: tuple[Rule, ...]
    remove: tuple[HeldRule, ...]


def unmarked_tables(plan: HostPlan) -> frozenset[int]:
    """Tables that catch what any program of the host sends."""
    return frozenset(rule.table for rule in plan.rules if rule.unmarked)


def wanted_ways(plan: HostPlan, indexes: Mapping[str, int], held: Iterable[HeldRoute]) -> dict[Place, Way]:
    """What each place should hold: the plan's routes whose interface is there, and throws for what main has better."""
    ways: dict[Place, Way] = {
        place: Way(THROW) for place in _better_in_main(plan, [route for route in held if route.table == MAIN_TABLE])
    }
    for place, route in plan.routes.items():
        way = _way(route, indexes)
        if way is not None:
            ways[place] = way
    return ways


def plan_devices(plan: HostPlan) -> frozenset[str]:
    """The interfaces that routes of the plan lead into."""
    return frozenset(route.device for route in plan.routes.values() if route.device is not None)


def missing_devices(plan: HostPlan, indexes: Mapping[str, int]) -> dict[str, int]:
    """How many routes of the plan each interface lacks that is not there."""
    missing = (route.device for route in plan.routes.values() if route.device is not None)
    return dict(Counter(device for device in missing if device not in indexes))


def route_changes(wanted: Mapping[Place, Way], held: Iterable[HeldRoute]) -> RouteChanges:
    """What to change of the agent's routes outside the main table. O(wanted + held)."""
    ours: defaultdict[Place, list[HeldRoute]] = defaultdict(list)
    foreign: set[Place] = set()
    for route in held:
        place = route.table, route.prefix
        if route.table == MAIN_TABLE:
            continue
        if route.ours:
            ours[place].append(route)
        elif route.metric == METRIC and route.origin is None:
            foreign.add(place)
    add: dict[Place, Way] = {}
    replace: dict[Place, Way] = {}
    remove: list[HeldRoute] = []
    for place, way in wanted.items():
        routes = ours.pop(place, [])
        right = next((route for route in routes if route.way == way and route.metric == METRIC), None)
        if right is not None:
            remove += [route for route in routes if route is not right]
            continue
        before = next((route for route in routes if route.metric == METRIC and route.origin is None), None)
        # Replacing where another's route has the same place could take that one's.
        if before is not None and place not in foreign:
            replace[place] = way
            remove += [route for route in routes if route is not before]
        else:
            add[place] = way
            remove += routes
    remove += [route for routes in ours.values() for route in routes]
    return RouteChanges(add, replace, tuple(remove))


def rule_changes(wanted: Collection[Rule], held: Iterable[HeldRule]) -> RuleChanges:
    """What to change of the agent's rules; of two that are the same one is too many."""
    lacking = set(wanted)
    remove = []
    for rule in held:
        if rule.rule in lacking:
            lacking.remove(rule.rule)
        else:
            remove.append(rule)
    return RuleChanges(tuple(sorted(lacking, key=rule_order)), tuple(remove))


def rule_order(rule: Rule) -> tuple[int, int, str, int, bool, int]:
    """A total order of rules, by priority first."""
    return (
        rule.priority,
        rule.table,
        rule.device or "",
        int(rule.source or 0),
        rule.unmarked,
        -1 if rule.suppress is None else rule.suppress,
    )


def describe_routes(changes: RouteChanges) -> list[str]:
    """The changes in words, a line for each table and kind."""
    wrong: defaultdict[tuple[int, str], list[IPv6Network]] = defaultdict(list)
    for table, prefix in changes.add:
        wrong[table, "were missing"].append(prefix)
    for table, prefix in changes.replace:
        wrong[table, "went elsewhere"].append(prefix)
    for route in changes.remove:
        wrong[route.table, "did not belong there"].append(route.prefix)
    return [f"table {table}: routes {what}: {_some(prefixes)}" for (table, what), prefixes in sorted(wrong.items())]


def describe_rules(changes: RuleChanges) -> list[str]:
    """The changes in words, a line for each rule."""
    added = [f"rule {rule.priority} to table {rule.table} was missing" for rule in changes.add]
    removed = [
        "a rule with selectors of others did not belong there"
        if held.rule is None
        else f"rule {held.rule.priority} to table {held.rule.table} did not belong there"
        for held in changes.remove
    ]
    return added + removed


def _way(route: Route, indexes: Mapping[str, int]) -> Way | None:
    if route.device is None:
        return Way(THROW if route.elsewhere else UNREACHABLE)
    index = indexes.get(route.device)
    return None if index is None else Way(UNICAST, index, route.source)


def _better_in_main(plan: HostPlan, main: Collection[HeldRoute]) -> set[Place]:
    """Where an unmarked table must send to the next rule what the main table has a more specific route for.

    The agent's own routes there, the meshes, count as well. Default routes are left to rules with `suppress`.
    """
    tables = unmarked_tables(plan)
    by_length: defaultdict[int, defaultdict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for table, prefix in plan.routes:
        if table in tables and prefix.prefixlen:
            by_length[prefix.prefixlen][_bits(prefix, prefix.prefixlen)].add(table)
    better: set[Place] = set()
    for route in main:
        if not route.unicast or route.origin is not None:
            continue
        for length, prefixes in by_length.items():
            if length < route.prefix.prefixlen:
                better.update((table, route.prefix) for table in prefixes.get(_bits(route.prefix, length), ()))
    return better


def _bits(prefix: IPv6Network, length: int) -> int:
    """The first bits of a prefix, as a number."""
    return int(prefix.network_address) >> (_LENGTH - length)


def _some(prefixes: Collection[IPv6Network], count: int = 3) -> str:
    named = [str(prefix) for prefix in sorted(prefixes)[:count]]
    return ", ".join(named) + (f" and {len(prefixes) - count} more" if len(prefixes) > count else "")
