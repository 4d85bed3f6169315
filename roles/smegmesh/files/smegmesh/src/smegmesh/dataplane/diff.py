"""The difference between what a device should hold and what it holds. Pure.

WireGuard moves an allowed IP silently from its previous owner to whoever is given it. Here
nothing is ever taken that way: removals and losses come first, then what moved, then what is
new, all in one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from smegmesh.dataplane.peer_table import PeerTable
from smegmesh.dataplane.plane import Endpoint, PeerChange, PeerState
from smegmesh.routing.plan import PeerPlan


@dataclass(frozen=True, slots=True)
class WantedPeer:
    """A peer as a device should hold it.

    `endpoint` is what the plan's `host:port` resolves to; while it is None, the device's stays as it is.
    `given` is the `host:port` that the device was last given: a peer that has an endpoint, given or
    learned from its packets, gets another only when its entry names another.
    """

    plan: PeerPlan
    endpoint: Endpoint | None = None
    given: str | None = None

    def carried_out(self) -> WantedPeer:
        """The same once the device holds it."""
        named = self.plan.endpoint
        given = named if named is None or self.endpoint is not None or self.given is None else self.given
        return self if given == self.given else replace(self, given=given)


def diff(wanted: Mapping[bytes, WantedPeer], held: PeerTable, keys: Iterable[bytes] | None = None) -> list[PeerChange]:
    """Changes that turn what is held into what is wanted, in the order to carry them out.

    With `keys` only these peers are compared, at the cost of these: they must hold every peer that
    differs. An allowed IP that moves differs at both ends.
    """
    removals: list[PeerChange] = []
    losses: list[PeerChange] = []
    moves: list[PeerChange] = []
    others: list[PeerChange] = []
    for key in _all(wanted, held) if keys is None else keys:
        aim, now = wanted.get(key), held.peers.get(key)
        if aim is None:
            if now is not None:
                removals.append(PeerChange(key, remove=True, add=False))
        elif now is None:
            change = _addition(key, aim)
            (moves if _takes_over(change, held) else others).append(change)
        else:
            kept = now.allowed_ips & aim.plan.allowed_ips
            if kept != now.allowed_ips:
                losses.append(PeerChange(key, add=False, allowed_ips=kept))
            change = _update(key, aim, now)
            if change != PeerChange(key, add=False):
                (moves if _takes_over(change, held) else others).append(change)
    return removals + losses + moves + others


def _all(wanted: Mapping[bytes, WantedPeer], held: PeerTable) -> Iterable[bytes]:
    return [*wanted, *(held.peers.keys() - wanted.keys())]


def _addition(key: bytes, aim: WantedPeer) -> PeerChange:
    return PeerChange(key, endpoint=aim.endpoint, allowed_ips=aim.plan.allowed_ips, keepalive=aim.plan.keepalive)


def _update(key: bytes, aim: WantedPeer, now: PeerState) -> PeerChange:
    """What a peer gains, once it has lost what it is to lose."""
    return PeerChange(
        key,
        add=False,
        endpoint=_endpoint_to_set(aim, now),
        allowed_ips=None if aim.plan.allowed_ips <= now.allowed_ips else aim.plan.allowed_ips,
        keepalive=None if aim.plan.keepalive == now.keepalive else aim.plan.keepalive,
    )


def _endpoint_to_set(aim: WantedPeer, now: PeerState) -> Endpoint | None:
    # After a restart nothing is known to be given: whatever the device has is at least as new.
    newly_named = aim.given is not None and aim.given != aim.plan.endpoint
    return aim.endpoint if now.endpoint is None or (newly_named and aim.endpoint != now.endpoint) else None


def _takes_over(change: PeerChange, held: PeerTable) -> bool:
    return any(held.owner(network) not in (None, change.key) for network in change.allowed_ips or ())
