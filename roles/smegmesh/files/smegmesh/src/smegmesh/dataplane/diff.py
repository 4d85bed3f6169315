"""The difference between what a device should hold and what it holds. Pure.

WireGuard moves an allowed IP silently from its previous owner to whoever is given it. Here
nothing is ever taken that way: removals and losses come first, then what moved, then what is
new, all in one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from smegmesh.dataplane.plane import (
    DeviceState,
    Endpoint,
    Network,
    PeerChange,
    PeerState,
)
from smegmesh.routing.plan import PeerPlan, Plan


def diff(
    plan: Plan,
    endpoints: Mapping[str, Endpoint],
    state: DeviceState,
    applied: Mapping[bytes, str],
) -> list[PeerChange]:
    """Changes that turn `state` into `plan`, in the order to carry them out.

    `endpoints` resolves the plan's `host:port`; one that is missing leaves the peer's endpoint
    as it is. `applied` holds the `host:port` that each peer was last given: a peer that has an
    endpoint, given or learned from its packets, gets another only when its entry names another.
    """
    held = {network: key for key, peer in state.peers.items() for network in peer.allowed_ips}
    removals = [PeerChange(key, remove=True, add=False) for key in state.peers if key not in plan.peers]
    losses: list[PeerChange] = []
    moves: list[PeerChange] = []
    others: list[PeerChange] = []
    for key, wanted in plan.peers.items():
        now = state.peers.get(key)
        endpoint = _endpoint_to_set(wanted, now, endpoints, applied.get(key))
        if now is None:
            change = PeerChange(
                key,
                endpoint=endpoint,
                allowed_ips=frozenset(wanted.allowed_ips),
                keepalive=wanted.keepalive,
            )
            gained: frozenset[Network] = frozenset(wanted.allowed_ips)
        else:
            kept = now.allowed_ips & wanted.allowed_ips
            gained = frozenset(wanted.allowed_ips - now.allowed_ips)
            if kept != now.allowed_ips:
                losses.append(PeerChange(key, add=False, allowed_ips=kept))
            change = PeerChange(
                key,
                add=False,
                endpoint=endpoint,
                allowed_ips=frozenset(wanted.allowed_ips) if gained else None,
                keepalive=wanted.keepalive if wanted.keepalive != now.keepalive else None,
            )
            if change == PeerChange(key, add=False):
                continue
        (moves if any(network in held for network in gained) else others).append(change)
    return removals + losses + moves + others


def _endpoint_to_set(
    wanted: PeerPlan,
    now: PeerState | None,
    endpoints: Mapping[str, Endpoint],
    applied: str | None,
) -> Endpoint | None:
    if wanted.endpoint is None:
        return None
    resolved = endpoints.get(wanted.endpoint)
    if now is None or now.endpoint is None:
        return resolved
    # After a restart nothing is known to be applied: whatever the device has is at least as new.
    if applied is None or applied == wanted.endpoint or resolved == now.endpoint:
        return None
    return resolved


def advance(peers: Mapping[bytes, PeerState], changes: Iterable[PeerChange]) -> dict[bytes, PeerState]:
    """The peers after the changes, as WireGuard carries them out: an allowed IP has one owner."""
    after = dict(peers)
    owners = {network: key for key, peer in after.items() for network in peer.allowed_ips}
    for change in changes:
        before = after.get(change.key)
        if change.remove:
            if before is not None:
                del after[change.key]
                for network in before.allowed_ips:
                    del owners[network]
            continue
        if before is None:
            if not change.add:
                continue
            before = PeerState(endpoint=None, allowed_ips=frozenset(), keepalive=0)
        allowed = before.allowed_ips if change.allowed_ips is None else change.allowed_ips
        for network in before.allowed_ips - allowed:
            del owners[network]
        for network in allowed - before.allowed_ips:
            previous = owners.get(network)
            if previous is not None:
                after[previous] = replace(after[previous], allowed_ips=after[previous].allowed_ips - {network})
            owners[network] = change.key
        after[change.key] = replace(
            before,
            endpoint=before.endpoint if change.endpoint is None else change.endpoint,
            allowed_ips=allowed,
            keepalive=before.keepalive if change.keepalive is None else change.keepalive,
        )
    return after
