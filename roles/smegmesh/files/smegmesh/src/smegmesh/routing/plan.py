"""The plan: what one interface should hold for a view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from types import MappingProxyType

from smegmesh.crdt.entry import Role
from smegmesh.gossip.view import Member, View
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.routing.endpoints import FAMILIES, usable_endpoints
from smegmesh.routing.offers import carrier
from smegmesh.routing.preshared import Keyring, agreed_key
from smegmesh.routing.static_peers import StaticPeer, StaticPeers, static_network

Allowed = Mapping[bytes, frozenset[IPv6Network]]  # prefixes outside the mesh, by the member that they begin with
NOTHING_BEYOND: Allowed = MappingProxyType({})

# Seconds. Holds the mapping of a NAT or stateful firewall on the way, most of which forget after 30.
CLIENT_KEEPALIVE = 25


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """A WireGuard peer. `endpoint` is `host:port` as its entry names it, None if it dials us; `others` would do too.

    `preshared_key` is 32 bytes, in no repr.
    """

    endpoint: str | None
    allowed_ips: frozenset[IPv6Network]
    keepalive: int = 0
    others: tuple[str, ...] = ()
    preshared_key: bytes | None = field(default=None, repr=False)


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
class PlanChange:
    """The way from one plan to the next: each peer that is another one now, None for one that goes.

    `peers` may hold some that are as they were; address and routes are the whole of what is now.
    `successors` are the tunnel keys that members have rotated to, each with the one before it.
    """

    address: IPv6Interface
    peers: Mapping[bytes, PeerPlan | None]
    routes: frozenset[IPv6Network]
    successors: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LocalPolicy:
    """What a plan depends on besides the view.

    keepalive is in seconds, as declared; `families` are the IP versions of the host's addresses in the underlay;
    `static_peers` are those that this node declares, `keyring` holds the preshared keys that it shares with members.
    """

    role: Role
    keepalive: int = 0
    families: frozenset[int] = FAMILIES
    static_peers: tuple[StaticPeer, ...] = ()
    keyring: Keyring = field(default_factory=Keyring)


def make_plan(view: View, policy: LocalPolicy, allowed: Allowed = NOTHING_BEYOND) -> Plan:
    """What this node's interface should hold for a view. O(members).

    A peer reaches every peer directly and each client through the peer that carries it
    (`View.home_of`); a client reaches everybody through its own home. Being down takes no
    WireGuard peer and no /128 away: it only moves clients to their backups. `allowed` is what
    is beyond the mesh: it goes to the peers that carry the members named.

    This is the definition; `Planner` follows views at the cost of what changed.
    """
    carried, beyond, static = _carried(view), beyond_by_peer(view, policy, allowed), StaticPeers(view)
    owners = _owners(view)
    peers = {
        tunnel: plan_peer(
            view,
            policy,
            key,
            carried.get(key, frozenset()) | static.carried(view, key),
            beyond.get(key, frozenset()),
        )
        for tunnel, key in owners.items()
    }
    peers |= {
        peer.public_key: plan_static_peer(view, peer, static)
        for peer in policy.static_peers
        if peer.public_key not in owners
    }
    return Plan(
        mesh_id=view.mesh_id,
        address=IPv6Interface((node_address(view.mesh_id, view.node_key), 128)),
        peers={tunnel: peer for tunnel, peer in peers.items() if peer is not None},
        routes=plan_routes(view.mesh_id, policy),
        forward=policy.role is Role.PEER,
    )


def beyond_by_peer(view: View, policy: LocalPolicy, allowed: Allowed) -> dict[bytes, frozenset[IPv6Network]]:
    """What is beyond the mesh, by the WireGuard peer (node key) that it is reached through.

    A client reaches it as all else, through the peer that carries it; what a client carries follows it
    through its home.
    """
    beyond: dict[bytes, frozenset[IPv6Network]] = {}
    own = _own_carrier(view) if policy.role is Role.CLIENT else None
    for key, networks in allowed.items():
        peer = own if policy.role is Role.CLIENT else carrier(view, key)
        if peer is not None:
            beyond[peer] = beyond.get(peer, frozenset()) | networks
    return beyond


def plan_peer(
    view: View, policy: LocalPolicy, key: bytes, carried: Set[IPv6Network], beyond: Set[IPv6Network] = frozenset()
) -> PeerPlan | None:
    """Another member as a WireGuard peer of this node; None if there is no tunnel between the two.

    `carried` are the addresses of the clients that it carries, `carrier_of` says which; `beyond` the
    prefixes outside the mesh.
    """
    member = view.members[key]
    is_peer = policy.role is Role.PEER
    allowed = _allowed_by_peer(view, member, carried) if is_peer else _allowed_by_client(view, key)
    if allowed is None:
        return None
    usable = usable_endpoints(member.entry.endpoints, policy.families)
    keepalive = policy.keepalive if is_peer else policy.keepalive or CLIENT_KEEPALIVE
    shared = agreed_key(policy.keyring, view.node_key, member)
    return PeerPlan(usable[0] if usable else None, allowed | beyond, keepalive, usable[1:], shared)


def plan_routes(mesh_id: str, policy: LocalPolicy) -> frozenset[IPv6Network]:
    """What is reached through the interface: the mesh, and what is behind static peers."""
    return frozenset({mesh_prefix(mesh_id)}).union(*(peer.behind for peer in policy.static_peers))


def plan_static_peer(view: View, peer: StaticPeer, static: StaticPeers) -> PeerPlan | None:
    """A static peer of this node; None while somebody else has its address, or this node its key."""
    if static.carrier(view, peer.public_key) != view.node_key:
        return None
    if view.members[view.node_key].entry.tunnel_key == peer.public_key:
        return None
    allowed = peer.behind | {static_network(view.mesh_id, peer.public_key)}
    return PeerPlan(peer.endpoint, allowed, peer.keepalive, preshared_key=peer.preshared_key)


def carrier_of(view: View, key: bytes) -> bytes | None:
    """Node key of the peer that a client's packets are sent to; None if it has none, is this node or no client."""
    member = view.members.get(key)
    if member is None or member.entry.role is Role.PEER or key == view.node_key:
        return None
    return _home_peer(view, key)


def way_to(view: View, role: Role, key: bytes) -> bytes | None:
    """Node key of the WireGuard peer that this node, of that role, sends a member's packets to.

    None for itself, for who is no member, and for a client that nobody carries.
    """
    member = view.members.get(key)
    if member is None or key == view.node_key:
        return None
    if role is Role.CLIENT:
        return _own_carrier(view)
    carrier = key if member.entry.role is Role.PEER else _home_peer(view, key)
    return key if carrier == view.node_key else carrier


def homes(view: View, client: bytes) -> Iterable[bytes]:
    """Node keys of the home and the backup that a client names, the home first."""
    member = view.members.get(client)
    named = (member.entry.home, member.entry.backup) if member is not None else ()
    return dict.fromkeys(key for key in named if key is not None)


def host_network(address: IPv6Address) -> IPv6Network:
    """A member's address as an allowed IP."""
    return IPv6Network((address, 128))


def claim(key: bytes, tunnel: bytes) -> tuple[bool, bytes]:
    """How good a node's claim to a tunnel key is; a lower one is better.

    A tunnel key that two members claim is one member's: that of the one born with it, else of the lower node key.
    """
    return (key != tunnel, key)


def _allowed_by_peer(view: View, member: Member, carried: Set[IPv6Network]) -> frozenset[IPv6Network] | None:
    """What a peer accepts from another member.

    A client that names this node has a WireGuard peer here in any case, so that failover only has to
    move its /128 onto a session that is alive.
    """
    if member.entry.role is Role.PEER:
        return frozenset(carried) | {host_network(member.address)}
    if view.node_key not in (member.entry.home, member.entry.backup):
        return None
    carries = carrier_of(view, member.node_key) == view.node_key
    return frozenset({host_network(member.address)}) if carries else frozenset()


def _allowed_by_client(view: View, key: bytes) -> frozenset[IPv6Network] | None:
    """What a client accepts from another member: the whole mesh from the peer that carries it, nothing from the other.

    If nobody seems to be left it keeps trying the home: it may only seem so from here.
    """
    if key not in homes(view, view.node_key) or not _is_peer(view, key):
        return None
    return frozenset({mesh_prefix(view.mesh_id)}) if key == _own_carrier(view) else frozenset()


def _own_carrier(view: View) -> bytes | None:
    """The peer that this node's packets go to if it is a client."""
    named = (home for home in homes(view, view.node_key) if _is_peer(view, home))
    return _home_peer(view, view.node_key) or next(named, None)


def _carried(view: View) -> dict[bytes, set[IPv6Network]]:
    """The addresses of clients by the peer that carries them."""
    carried: dict[bytes, set[IPv6Network]] = {}
    for key, member in view.members.items():
        carrier = carrier_of(view, key)
        if carrier is not None:
            carried.setdefault(carrier, set()).add(host_network(member.address))
    return carried


def _owners(view: View) -> dict[bytes, bytes]:
    """Node key by tunnel key, of the others."""
    owners: dict[bytes, bytes] = {}
    for key, member in view.members.items():
        tunnel = member.entry.tunnel_key
        owners[tunnel] = min(owners.get(tunnel, key), key, key=lambda each: claim(each, tunnel))
    own = view.members.get(view.node_key)
    if own is not None:
        owners.pop(own.entry.tunnel_key, None)
    return owners


def _home_peer(view: View, client: bytes) -> bytes | None:
    home = view.home_of(client)
    return home if home is not None and _is_peer(view, home) else None


def _is_peer(view: View, key: bytes) -> bool:
    member = view.members.get(key)
    return member is not None and member.entry.role is Role.PEER
