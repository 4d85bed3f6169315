"""What a host's kernel should hold beside the interfaces: own tables and rules, and what is forwarded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

#: On the packets of WireGuard and of the agent's links, and on what belongs to a connection from outside.
MARK = 0x736D


@dataclass(frozen=True, slots=True)
class Route:
    """Where a table sends a prefix: into an interface, or nowhere (`device` None: unreachable).

    `elsewhere` (`device` None): the tables after this one say. `source` is the address that this host's own
    packets get, if they have none yet.
    """

    device: str | None
    source: IPv6Address | None = None
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """A policy rule: who is looked up in a table. What is None or 0 matches everything.

    `unmarked`: only packets without `MARK`. `suppress`: routes of the table with a prefix this short or
    shorter do not count.
    """

    priority: int
    table: int
    device: str | None = None
    source: IPv6Address | None = None
    unmarked: bool = False
    suppress: int | None = None


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What is forwarded out of and into one mesh interface.

    `meshes`: other mesh interfaces into which packets of this one may go. `prefixes`: what is outside the
    overlay and reached through this host, each with whether its packets are masqueraded. `sources`: by which mesh
    interface packets with such a source come in that may go out by this one, None for no mesh's. The longest prefix
    counts.
    """

    meshes: frozenset[str] = frozenset()
    prefixes: Mapping[IPv6Network, bool] = field(default_factory=dict)
    sources: Mapping[IPv6Network, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostPlan:
    """Routes by (table, prefix) and rules, outside the main table; what is forwarded, by mesh interface."""

    routes: Mapping[tuple[int, IPv6Network], Route] = field(default_factory=dict)
    rules: frozenset[Rule] = frozenset()
    forwarding: Mapping[str, Forwarding] = field(default_factory=dict)
