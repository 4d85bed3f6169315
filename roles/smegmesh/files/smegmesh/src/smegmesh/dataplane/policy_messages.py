"""Routes and policy rules in rtnetlink messages: what is asked for, and what a dump tells.

Pure functions over the payloads of linux/rtnetlink.h and linux/fib_rules.h; IPv6 alone.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from socket import AF_INET6
from struct import Struct

from smegmesh.dataplane.netlink import attribute, attributes
from smegmesh.dataplane.system import ROUTE_PROTOCOL
from smegmesh.routing.tables import MARK, Rule

NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
NEW_RULE, DELETE_RULE, GET_RULE = 32, 33, 34

MAIN_TABLE = 254
UNICAST, UNREACHABLE, THROW = 1, 7, 9
METRIC = 1024  # what the kernel gives an IPv6 route for which no other is asked

_U8, _U32 = Struct("=B"), Struct("=I")

# Family, lengths of destination and source, TOS, table, protocol, scope, type, flags.
_ROUTE = Struct("=8BI")
_ROUTE_DESTINATION, _ROUTE_SOURCE, _ROUTE_DEVICE, _ROUTE_METRIC, _ROUTE_PREFERRED = 1, 2, 4, 6, 7
_ROUTE_CACHE, _ROUTE_TABLE, _ROUTE_PREFERENCE = 12, 15, 20
_PLAIN_ROUTE = {
    _ROUTE_DESTINATION, _ROUTE_DEVICE, _ROUTE_METRIC, _ROUTE_PREFERRED, _ROUTE_CACHE, _ROUTE_TABLE, _ROUTE_PREFERENCE,
}  # fmt: skip

# Family, lengths of destination and source, TOS, table, two reserved, action, flags.
_RULE = Struct("=8BI")
_RULE_SOURCE, _RULE_DEVICE, _RULE_PRIORITY, _RULE_MARK, _RULE_SUPPRESS = 2, 3, 6, 10, 14
_RULE_TABLE, _RULE_MASK, _RULE_PROTOCOL = 15, 16, 21
_PLAIN_RULE = {
    _RULE_SOURCE, _RULE_DEVICE, _RULE_PRIORITY, _RULE_MARK, _RULE_SUPPRESS, _RULE_TABLE, _RULE_MASK, _RULE_PROTOCOL,
}  # fmt: skip
_LOOK_UP = 1
_INVERT, _DEVICE_DETACHED = 2, 8
_ALL_BITS = 0xFFFFFFFF
_NO_SUPPRESSION = 0xFFFFFFFF
_LENGTH = 128  # bits of an address


@dataclass(frozen=True, slots=True)
class Way:
    """What a route does with a packet: `device` is the index of an interface, 0 where `kind` is not UNICAST."""

    kind: int
    device: int = 0
    source: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class HeldRoute:
    """A route as the kernel has it. `way` is None for one that the agent would not make so.

    `origin`: the packets' sources for which alone it is (source-specific routing), None for all. `message`
    is what deletes it: exactly this one, its next hops and metric named.
    """

    table: int
    prefix: IPv6Network
    ours: bool
    unicast: bool = True
    way: Way | None = None
    metric: int = METRIC
    origin: IPv6Network | None = None
    message: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HeldRule:
    """A rule of the agent's protocol as the kernel has it. `rule` is None for one that the agent would not make so."""

    rule: Rule | None
    message: bytes = field(repr=False)


def get_routes() -> bytes:
    """The payload of a request to dump all IPv6 routes."""
    return _ROUTE.pack(AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0)


def get_rules() -> bytes:
    """The payload of a request to dump all IPv6 rules."""
    return _RULE.pack(AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0)


def put_route(table: int, prefix: IPv6Network, way: Way) -> bytes:
    """The payload of a request to make a route."""
    parts = [
        _ROUTE.pack(AF_INET6, prefix.prefixlen, 0, 0, _short(table), ROUTE_PROTOCOL, 0, way.kind, 0),
        attribute(_ROUTE_DESTINATION, prefix.network_address.packed),
        attribute(_ROUTE_TABLE, _U32.pack(table)),
        attribute(_ROUTE_METRIC, _U32.pack(METRIC)),
    ]
    if way.device:
        parts.append(attribute(_ROUTE_DEVICE, _U32.pack(way.device)))
    if way.source is not None:
        parts.append(attribute(_ROUTE_PREFERRED, way.source.packed))
    return b"".join(parts)


def read_route(payload: memoryview, tables: Container[int]) -> HeldRoute | None:
    """A route of a dump; None for one of others that is not in these tables (a full table has many)."""
    family, length, origin_length, _tos, table, protocol, _scope, kind, _flags = _ROUTE.unpack_from(payload)
    if family != AF_INET6:  # a kernel without IPv6 dumps everything else it has
        return None
    ours = protocol == ROUTE_PROTOCOL
    held = dict(attributes(payload[_ROUTE.size :]))
    if _ROUTE_TABLE in held:
        (table,) = _U32.unpack(held[_ROUTE_TABLE])
    if not ours and table not in tables:
        return None
    return HeldRoute(
        table=table,
        prefix=_network(held.get(_ROUTE_DESTINATION), length),
        ours=ours,
        unicast=kind == UNICAST,
        way=_way(kind, held) if not origin_length and held.keys() <= _PLAIN_ROUTE else None,
        metric=_number(held.get(_ROUTE_METRIC)),
        origin=_network(held.get(_ROUTE_SOURCE), origin_length) if origin_length else None,
        message=bytes(payload) if ours else b"",
    )


def put_rule(rule: Rule) -> bytes:
    """The payload of a request to make a rule.

    ValueError if it asks for a missing mark and something else: the kernel can only negate a rule as a whole.
    """
    if rule.unmarked and (rule.device is not None or rule.source is not None):
        raise ValueError(f"rule {rule.priority}: `unmarked` goes with neither a device nor a source")
    parts = [
        _RULE.pack(
            AF_INET6,
            0,
            _LENGTH if rule.source is not None else 0,
            0,
            _short(rule.table),
            0,
            0,
            _LOOK_UP,
            _INVERT if rule.unmarked else 0,
        ),
        attribute(_RULE_PRIORITY, _U32.pack(rule.priority)),
        attribute(_RULE_TABLE, _U32.pack(rule.table)),
        attribute(_RULE_PROTOCOL, _U8.pack(ROUTE_PROTOCOL)),
    ]
    if rule.device is not None:
        parts.append(attribute(_RULE_DEVICE, rule.device.encode() + bytes(1)))
    if rule.source is not None:
        parts.append(attribute(_RULE_SOURCE, rule.source.packed))
    if rule.unmarked:
        parts += [attribute(_RULE_MARK, _U32.pack(MARK)), attribute(_RULE_MASK, _U32.pack(_ALL_BITS))]
    if rule.suppress is not None:
        parts.append(attribute(_RULE_SUPPRESS, _U32.pack(rule.suppress)))
    return b"".join(parts)


def read_rule(payload: memoryview) -> HeldRule | None:
    """A rule of a dump; None for one that is not of the agent's protocol. Its `message` is what deletes it."""
    _family, to_length, from_length, tos, _table, _one, _two, action, flags = _RULE.unpack_from(payload)
    held = dict(attributes(payload[_RULE.size :]))
    if bytes(held.get(_RULE_PROTOCOL, b"")) != _U8.pack(ROUTE_PROTOCOL):
        return None
    plain = (
        action == _LOOK_UP
        and not to_length
        and not tos
        and from_length in (0, _LENGTH)
        and held.keys() <= _PLAIN_RULE
        and not flags & ~(_INVERT | _DEVICE_DETACHED)
    )
    return HeldRule(_rule(held, bool(flags & _INVERT)) if plain else None, bytes(payload))


def _rule(held: dict[int, memoryview], inverted: bool) -> Rule | None:
    source, device = held.get(_RULE_SOURCE), held.get(_RULE_DEVICE)
    suppress = _number(held.get(_RULE_SUPPRESS), _NO_SUPPRESSION)
    rule = Rule(
        priority=_number(held.get(_RULE_PRIORITY)),
        table=_number(held.get(_RULE_TABLE)),
        device=None if device is None else bytes(device).rstrip(bytes(1)).decode(errors="replace"),
        source=None if source is None else IPv6Address(bytes(source)),
        unmarked=inverted,
        suppress=None if suppress == _NO_SUPPRESSION else suppress,
    )
    mark = (_number(held.get(_RULE_MARK)), _number(held.get(_RULE_MASK)))
    expected = (MARK, _ALL_BITS) if inverted else (0, 0)
    return rule if mark == expected and not (inverted and (device or source)) else None


def _way(kind: int, held: dict[int, memoryview]) -> Way | None:
    source = held.get(_ROUTE_PREFERRED)
    preferred = None if source is None else IPv6Address(bytes(source))
    if kind == UNICAST:
        return Way(kind, _number(held.get(_ROUTE_DEVICE)), preferred)
    # The kernel names the loopback as the interface of what goes nowhere.
    return Way(kind, 0, preferred) if kind in (UNREACHABLE, THROW) else None


def _network(address: memoryview | None, length: int) -> IPv6Network:
    return IPv6Network((bytes(16) if address is None else bytes(address), length))


def _number(value: memoryview | None, default: int = 0) -> int:
    return default if value is None else int(_U32.unpack(value)[0])


def _short(table: int) -> int:
    """A table's number where there is one byte for it; 0 says that the attribute has it."""
    return table if table < 256 else 0
