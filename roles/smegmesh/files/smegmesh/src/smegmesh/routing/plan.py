"""The plan: what one interface should hold for a view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Interface, IPv6Network

from smegmesh.crdt.entry import Role


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """A WireGuard peer. `endpoint` is `host:port` as its entry names it, None if it dials us."""

    endpoint: str | None
    allowed_ips: frozenset[IPv6Network]
    keepalive: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One mesh interface: peers by tunnel public key, the own address, routes into the interface.

    `forward` says whether this node forwards for others (peers do, clients never).
    """

    mesh_id: str
    address: IPv6Interface
    peers: Mapping[bytes, PeerPlan]
    routes: frozenset[IPv6Network]
    forward: bool


@dataclass(frozen=True, slots=True)
class LocalPolicy:
    """What the declaration says of this node that a plan depends on. keepalive is in seconds."""

    role: Role
    keepalive: int = 0
