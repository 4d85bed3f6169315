"""Static peers: WireGuard peers without an agent, each carried by the one member that declares it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, field
from ipaddress import IPv6Network

from smegmesh.gossip.view import Liveness, View
from smegmesh.identity.address import node_address


@dataclass(frozen=True, slots=True)
class StaticPeer:
    """One that this node carries. `endpoint` is `host:port`, None if it dials us; keepalive is in seconds.

    `behind` are prefixes outside the overlay that are reached through it.
    """

    public_key: bytes
    endpoint: str | None = None
    keepalive: int = 0
    preshared_key: bytes | None = field(default=None, repr=False)
    behind: frozenset[IPv6Network] = frozenset()


def static_network(mesh_id: str, public_key: bytes) -> IPv6Network:
    """The address of a static peer, which follows from its key like a node's, as an allowed IP."""
    return IPv6Network((node_address(mesh_id, public_key), 128))


def carrier_of_static(view: View, public_key: bytes, claimants: Collection[bytes]) -> bytes | None:
    """Node key of the member that carries a static peer, of those that say so.

    None if it is a member by now, which speaks for itself. Of several the lowest node key carries it, who is down
    only if all are: a static peer may have moved from a host that died.
    """
    if public_key in view.members or not claimants:
        return None
    return min(claimants, key=lambda key: (_is_down(view, key), key))


class StaticPeers:
    """Who says that it carries which static peer, kept up to date at the cost of what changed."""

    def __init__(self, view: View) -> None:
        self._claimants: dict[bytes, set[bytes]] = {}  # node keys by public key
        self._add(view, view.members)

    def carrier(self, view: View, public_key: bytes) -> bytes | None:
        """Node key of the member that carries a static peer. This node counts once its entry is in the view."""
        return carrier_of_static(view, public_key, self._claimants.get(public_key, ()))

    def carried(self, view: View, key: bytes) -> Set[IPv6Network]:
        """The addresses of the static peers that a member carries."""
        if not self._claimants:
            return frozenset()
        return {static_network(view.mesh_id, peer) for peer in _said(view, key) if self.carrier(view, peer) == key}

    def follow(self, before: View, view: View, changed: Set[bytes]) -> set[bytes]:
        """Go from one view to the next, where `changed` are other members.

        Returns the node keys of who may carry others now.
        """
        concerned = {peer for at in (before, view) for key in changed for peer in _said(at, key)}
        concerned |= changed & self._claimants.keys()
        touched = self._claiming(concerned)
        for key in changed:
            self._remove(before, key)
        self._add(view, changed)
        return touched | self._claiming(concerned)

    def _claiming(self, peers: Iterable[bytes]) -> set[bytes]:
        return {key for peer in peers for key in self._claimants.get(peer, ())}

    def _add(self, view: View, keys: Iterable[bytes]) -> None:
        for key in keys:
            for peer in _said(view, key):
                self._claimants.setdefault(peer, set()).add(key)

    def _remove(self, view: View, key: bytes) -> None:
        for peer in _said(view, key):
            claimants = self._claimants[peer]
            claimants.remove(key)
            if not claimants:
                del self._claimants[peer]


def _said(view: View, key: bytes) -> Collection[bytes]:
    """The static peers that a member says it carries."""
    member = view.members.get(key)
    return () if member is None else member.entry.static_peers.values()


def _is_down(view: View, key: bytes) -> bool:
    return view.members[key].liveness is Liveness.DOWN
