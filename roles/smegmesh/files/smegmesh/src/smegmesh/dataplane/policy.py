"""The agent's own routing tables and policy rules, kept as a host's plan says.

Its routes in every table but main, and its rules, carry its protocol number; those of others,
in whatever table, are never touched. The main table is the interfaces' (`system.py`).
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from smegmesh.dataplane import policy_messages as messages
from smegmesh.dataplane.netlink import CREATE, EXCLUSIVE, REPLACE, ROUTE, Connection, NetlinkError, connection
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.policy_diff import (
    Place,
    RouteChanges,
    RuleChanges,
    describe_routes,
    describe_rules,
    missing_devices,
    plan_devices,
    route_changes,
    rule_changes,
    unmarked_tables,
    wanted_ways,
)
from smegmesh.dataplane.policy_messages import MAIN_TABLE, HeldRoute, HeldRule, Way
from smegmesh.routing.tables import HostPlan, Rule

# The interface is being made: gone again, not up, or without IPv6 yet.
_NOT_YET = {errno.ENODEV, errno.ENETDOWN, errno.EACCES}
_GONE = {errno.ESRCH, errno.ENOENT}
_NO_RULES = {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}  # of a kernel without IPv6 or without policy routing
# The kernel deletes the first rule that fits, and a general one fits more than itself.
_RULE_PASSES = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """In words: what was not as planned and is now, and what is still missing since an interface is not ready."""

    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class Policy(Protocol):
    """Routing tables and rules of a host. All raise PlaneError."""

    def ensure(self, plan: HostPlan) -> Outcome:
        """Make the agent's routes outside the main table, and its rules, exactly those of the plan.

        A more specific unicast route in the main table keeps winning over a prefix that all
        unmarked packets are looked up for, unless that is a default route.
        """

    def clear(self) -> None:
        """Take all of them away."""


class LinuxPolicy:
    """The tables and rules of the running kernel, in the network namespace of the calling thread."""

    def ensure(self, plan: HostPlan) -> Outcome:
        _check(plan)
        indexes = _indexes(plan)
        with _explained("cannot set routes and rules"), connection(ROUTE) as route:
            held = _routes(route, plan)
            rules = rule_changes(plan.rules, _rules(route))
            wanted = wanted_ways(plan, indexes, held)
            routes = route_changes(wanted, held)
            # No rule leads to a table that is not filled yet, or is emptied already.
            refused = _put_routes(route, routes)
            _change_rules(route, plan, rules)
            _remove_routes(route, routes)
        taken = [place for place, error in refused.items() if error.errno == errno.EEXIST]
        if taken:
            table, prefix = taken[0]
            raise PlaneError(
                f"table {table}: {prefix} is already routed by something else: "
                f"remove that route (`ip -6 route show table {table}`)"
            )
        done = _without(routes, refused)
        return Outcome(
            changed=(*describe_routes(done), *describe_rules(rules)),
            missing=(*_absent(plan, indexes), *_not_ready(refused)),
        )

    def clear(self) -> None:
        self.ensure(HostPlan())


class MemoryPolicy:
    """Tables and rules in memory, the twin of LinuxPolicy. Interfaces in `absent` do not exist."""

    def __init__(self) -> None:
        self.absent: set[str] = set()
        self.routes: dict[Place, Way] = {}
        self.rules: frozenset[Rule] = frozenset()
        self._indexes: dict[str, int] = {}

    def ensure(self, plan: HostPlan) -> Outcome:
        _check(plan)
        indexes = {device: self._index(device) for device in plan_devices(plan) - self.absent}
        held = [HeldRoute(table, prefix, ours=True, way=way) for (table, prefix), way in self.routes.items()]
        self.routes = wanted_ways(plan, indexes, [])
        routes = route_changes(self.routes, held)
        rules = rule_changes(plan.rules, [HeldRule(rule, b"") for rule in self.rules])
        self.rules = plan.rules
        return Outcome((*describe_routes(routes), *describe_rules(rules)), _absent(plan, indexes))

    def clear(self) -> None:
        self.ensure(HostPlan())

    def _index(self, device: str) -> int:
        return self._indexes.setdefault(device, len(self._indexes) + 1)


def _check(plan: HostPlan) -> None:
    """Before anything is changed: can the kernel be asked for all of it?"""
    try:
        for rule in plan.rules:
            messages.put_rule(rule)
    except ValueError as error:
        raise PlaneError(f"the plan cannot be carried out: {error}: this is a fault of the agent, report it") from error
    if any(table == MAIN_TABLE for table, _prefix in plan.routes):
        raise PlaneError("the plan has routes for the main table: this is a fault of the agent, report it")


def _indexes(plan: HostPlan) -> dict[str, int]:
    """The indexes of the plan's interfaces that are there."""
    found = {}
    for device in plan_devices(plan):
        try:
            found[device] = socket.if_nametoindex(device)
        except OSError:
            continue
    return found


def _routes(route: Connection, plan: HostPlan) -> list[HeldRoute]:
    """The agent's routes, and those of others that count: in the plan's tables, and in main where it has the word."""
    tables = {table for table, _prefix in plan.routes} | ({MAIN_TABLE} if unmarked_tables(plan) else set())
    answers = route.dump(messages.GET_ROUTE, messages.get_routes())
    read = (messages.read_route(answer.payload, tables) for answer in answers if answer.kind == messages.NEW_ROUTE)
    return [held for held in read if held is not None]


def _rules(route: Connection) -> list[HeldRule]:
    try:
        answers = route.dump(messages.GET_RULE, messages.get_rules())
    except NetlinkError as error:
        if error.errno in _NO_RULES:
            return []
        raise
    read = (messages.read_rule(answer.payload) for answer in answers if answer.kind == messages.NEW_RULE)
    return [held for held in read if held is not None]


def _put_routes(route: Connection, changes: RouteChanges) -> dict[Place, NetlinkError]:
    """Add and replace; what could not be done now. Raises what is no matter of time or of others' routes."""
    refused: dict[Place, NetlinkError] = {}
    for ways, flags in ((changes.add, CREATE | EXCLUSIVE), (changes.replace, CREATE | REPLACE)):
        payloads = [messages.put_route(table, prefix, way) for (table, prefix), way in ways.items()]
        for (place, way), error in zip(ways.items(), route.attempt(messages.NEW_ROUTE, payloads, flags), strict=True):
            if error is None:
                continue
            # The kernel knows the address of a route's source only once an interface has it.
            if not (error.errno in _NOT_YET | {errno.EEXIST} or (error.errno == errno.EINVAL and way.source)):
                raise error
            refused[place] = error
    return refused


def _change_rules(route: Connection, plan: HostPlan, changes: RuleChanges) -> None:
    for _pass in range(_RULE_PASSES):
        # Not EXCLUSIVE: the kernel takes a rule for one that is there when that has selectors besides the same ones.
        route.request(messages.NEW_RULE, [messages.put_rule(rule) for rule in changes.add], CREATE)
        refusals = route.attempt(messages.DELETE_RULE, [held.message for held in changes.remove])
        _raise_unless_gone(refusals)
        if not changes.remove:
            return
        changes = rule_changes(plan.rules, _rules(route))
        if not changes.add and not changes.remove:
            return
    raise NetlinkError(errno.EAGAIN, "somebody else changes the agent's rules all the time")


def _remove_routes(route: Connection, changes: RouteChanges) -> None:
    payloads = [held.message for held in changes.remove]
    _raise_unless_gone(route.attempt(messages.DELETE_ROUTE, payloads))


def _raise_unless_gone(refusals: list[NetlinkError | None]) -> None:
    for error in refusals:
        if error is not None and error.errno not in _GONE:
            raise error


def _without(changes: RouteChanges, refused: Mapping[Place, NetlinkError]) -> RouteChanges:
    """The changes that were not refused."""
    add = {place: way for place, way in changes.add.items() if place not in refused}
    replace = {place: way for place, way in changes.replace.items() if place not in refused}
    return RouteChanges(add, replace, changes.remove)


def _absent(plan: HostPlan, indexes: Mapping[str, int]) -> tuple[str, ...]:
    missing = sorted(missing_devices(plan, indexes).items())
    return tuple(f"no interface {device} yet; routes that wait for it: {count}" for device, count in missing)


def _not_ready(refused: Mapping[Place, NetlinkError]) -> Iterator[str]:
    for reason, count in sorted(Counter(str(error.strerror) for error in refused.values()).items()):
        yield f"an interface is not ready ({reason}); routes that wait for it: {count}"


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """The kernel's refusals become PlaneError."""
    try:
        yield
    except NetlinkError as error:
        if error.errno == errno.EPERM:
            raise PlaneError(f"{what}: not permitted: the agent needs CAP_NET_ADMIN") from error
        raise PlaneError(f"{what}: {error.strerror}") from error
