"""View by view to the plan, at the cost of what changed."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from ipaddress import IPv6Network

from smegmesh.crdt.entry import Role
from smegmesh.gossip.view import View
from smegmesh.routing.carriers import Carriers
from smegmesh.routing.plan import (
    NOTHING_BEYOND,
    Allowed,
    LocalPolicy,
    PeerPlan,
    Plan,
    PlanChange,
    beyond_by_peer,
    homes,
    make_plan,
    plan_peer,
    plan_routes,
    plan_static_peer,
)
from smegmesh.routing.static_peers import StaticPeers
from smegmesh.routing.tunnels import Tunnels


class Planner:
    """Follows the views of one mesh on one node; its plan is always what `make_plan` would make of the last one.

    It belongs to one thread; what it hands out is never changed afterwards.
    """

    def __init__(self, view: View, policy: LocalPolicy, allowed: Allowed = NOTHING_BEYOND) -> None:
        self._view = view
        self._policy = policy
        self._beyond = beyond_by_peer(view, policy, allowed)
        self._carriers = Carriers(view)
        self._tunnels = Tunnels(view)
        self._static_peers = StaticPeers(view)
        self._begun = make_plan(view, policy, allowed)
        self._peers = dict(self._begun.peers)

    @property
    def plan(self) -> Plan:
        """The whole plan. O(members)."""
        forward = self._policy.role is Role.PEER
        return replace(self._begun, peers=dict(self._peers), routes=self._routes, forward=forward)

    def follow(self, view: View, policy: LocalPolicy, allowed: Allowed = NOTHING_BEYOND) -> PlanChange:
        """Go to the next view; what the plan says otherwise now, and no more.

        O(members that changed, clients that changed hands with them, prefixes beyond the mesh, own static peers);
        another policy is O(members).
        """
        before, self._beyond = self._beyond, beyond_by_peer(view, policy, allowed)
        moved = {key for key in before.keys() | self._beyond.keys() if before.get(key) != self._beyond.get(key)}
        rotated = _rotated(self._view, view)
        tunnels = self._take(view, moved)
        if policy != self._policy:
            self._policy = policy
            tunnels = {*self._tunnels, *self._peers}
        tunnels |= {peer.public_key for peer in policy.static_peers}
        peers = {tunnel: peer for tunnel in tunnels if (peer := self._plan_peer(tunnel)) != self._peers.get(tunnel)}
        self._put(peers)
        successors = {tunnel: last for tunnel, last in rotated.items() if peers.get(tunnel) is not None}
        return PlanChange(self._begun.address, peers, self._routes, successors)

    @property
    def _routes(self) -> frozenset[IPv6Network]:
        return plan_routes(self._view.mesh_id, self._policy)

    def _take(self, view: View, moved: Set[bytes]) -> set[bytes]:
        """Make the view the current one; the tunnel keys whose peers may be others in it, those of `moved` included."""
        before, self._view = self._view, view
        changed = view.changed_since(before)
        touched = {*moved} | changed | self._carriers.follow(before, view, changed)
        touched |= self._static_peers.follow(before, view, changed)
        self._tunnels.follow(before, view, changed)
        if self._policy.role is Role.CLIENT:
            # Who carries this node depends on what it alone cannot reach, too.
            touched.update(homes(before, before.node_key), homes(view, view.node_key))
        return {
            member.entry.tunnel_key
            for members in (before.members, view.members)
            for key in touched
            if (member := members.get(key)) is not None
        }

    def _plan_peer(self, tunnel: bytes) -> PeerPlan | None:
        own = self._view.members.get(self._view.node_key)
        owner = self._tunnels.owner(tunnel)
        if own is not None and own.entry.tunnel_key == tunnel:
            return None
        if owner is None:
            static = (peer for peer in self._policy.static_peers if peer.public_key == tunnel)
            peer = next(static, None)
            return None if peer is None else plan_static_peer(self._view, peer, self._static_peers)
        carried = self._carriers.carried(owner) | self._static_peers.carried(self._view, owner)
        return plan_peer(self._view, self._policy, owner, carried, self._beyond.get(owner, frozenset()))

    def _put(self, peers: dict[bytes, PeerPlan | None]) -> None:
        for tunnel, peer in peers.items():
            if peer is None:
                del self._peers[tunnel]
            else:
                self._peers[tunnel] = peer


def _rotated(before: View, view: View) -> dict[bytes, bytes]:
    """The tunnel keys that members have now, each with the one that the member had before. O(members that changed)."""
    found = {}
    for key in view.changed_since(before):
        if key in before.members and key in view.members:
            last, tunnel = before.members[key].entry.tunnel_key, view.members[key].entry.tunnel_key
            if last != tunnel:
                found[tunnel] = last
    return found
