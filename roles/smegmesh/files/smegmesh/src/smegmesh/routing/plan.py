"""The plan: what one interface should hold for a view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Interface, IPv6Network

from smegmesh.crdt.entry import Role
from smegmesh.gossip.view import Member, View
from smegmesh.identity.address import mesh_prefix, node_address

# Seconds. Holds the mapping of a NAT or stateful firewall on the way, most of which forget after 30.
CLIENT_KEEPALIVE = 25


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


def make_plan(view: View, policy: LocalPolicy) -> Plan:
    """What this node's interface should hold for a view. O(members).

    A peer reaches every peer directly and each client through the peer that carries it
    (`View.home_of`); a client reaches everybody through its own home. Being down takes no
    WireGuard peer and no /128 away: it only moves clients to their backups.
    """
    prefix = mesh_prefix(view.mesh_id)
    is_peer = policy.role is Role.PEER
    allowed = _allowed_by_peer(view) if is_peer else _allowed_by_client(view, prefix)
    keepalive = policy.keepalive if is_peer else policy.keepalive or CLIENT_KEEPALIVE
    tunnels = _tunnels(view)
    return Plan(
        mesh_id=view.mesh_id,
        address=IPv6Interface((node_address(view.mesh_id, view.node_key), 128)),
        peers={
            tunnels[key]: PeerPlan(_endpoint(view.members[key]), frozenset(networks), keepalive)
            for key, networks in allowed.items()
            if key in tunnels
        },
        routes=frozenset({prefix}),
        forward=is_peer,
    )


def _allowed_by_peer(view: View) -> dict[bytes, list[IPv6Network]]:
    """Allowed IPs by node key: every other peer, and the clients that name this node.

    A client that names it has a WireGuard peer here in any case, so that failover only has to
    move its /128 onto a session that is alive.
    """
    allowed: dict[bytes, list[IPv6Network]] = {
        key: [_host(member)]
        for key, member in view.members.items()
        if member.entry.role is Role.PEER and key != view.node_key
    }
    for key, member in view.members.items():
        if member.entry.role is Role.PEER or key == view.node_key:
            continue
        carrier = _carrier(view, key)
        if view.node_key in (member.entry.home, member.entry.backup):
            allowed[key] = [_host(member)] if carrier == view.node_key else []
        if carrier in allowed:
            allowed[carrier].append(_host(member))
    return allowed


def _allowed_by_client(view: View, prefix: IPv6Network) -> dict[bytes, list[IPv6Network]]:
    """Allowed IPs by node key: the whole mesh at the peer that carries this node, none at the other."""
    own = view.members.get(view.node_key)
    if own is None:
        return {}
    named = [key for key in _distinct(own.entry.home, own.entry.backup) if _is_peer(view, key)]
    carrier = _carrier(view, view.node_key)
    if carrier is None and named:
        # Nobody seems to be left: keep trying the home, it may only seem so from here.
        carrier = named[0]
    return {key: [prefix] if key == carrier else [] for key in named}


def _carrier(view: View, client: bytes) -> bytes | None:
    """Node key of the peer that everybody sends a client's packets to now."""
    carrier = view.home_of(client)
    return carrier if carrier is not None and _is_peer(view, carrier) else None


def _tunnels(view: View) -> dict[bytes, bytes]:
    """Tunnel key by node key, of the others. A tunnel key that two members claim is one member's:
    that of the one born with it, else of the lower node key."""
    owners: dict[bytes, bytes] = {}
    for key, member in view.members.items():
        tunnel = member.entry.tunnel_key
        owner = owners.setdefault(tunnel, key)
        if (key != tunnel, key) < (owner != tunnel, owner):
            owners[tunnel] = key
    own = view.members.get(view.node_key)
    if own is not None:
        owners.pop(own.entry.tunnel_key, None)
    return {owner: tunnel for tunnel, owner in owners.items()}


def _is_peer(view: View, key: bytes) -> bool:
    member = view.members.get(key)
    return member is not None and member.entry.role is Role.PEER


def _host(member: Member) -> IPv6Network:
    return IPv6Network((member.address, 128))


def _endpoint(member: Member) -> str | None:
    return member.entry.endpoints[0] if member.entry.endpoints else None


def _distinct(*keys: bytes | None) -> Iterable[bytes]:
    return dict.fromkeys(key for key in keys if key is not None)
