"""The difference between what a device should hold and what it holds. Pure.

WireGuard moves an allowed IP silently from its previous owner to whoever is given it. Here
nothing is ever taken that way: removals and losses come first, then what moved, then what is
new, all in one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from smegmesh.dataplane.peer_table import PeerTable
from smegmesh.dataplane.plane import NO_PRESHARED_KEY, Endpoint, PeerChange, PeerState
from smegmesh.routing.plan import PeerPlan

#: Seconds without a handshake after which a session is over, whoever uses it (Reject-After-Time, whitepaper 6.1).
SILENCE = 180.0


@dataclass(frozen=True, slots=True)
class WantedPeer:
    """A peer as a device should hold it.

    `endpoint` is what the plan's `host:port` resolves to; while it is None, the device's stays as it is.
    `given` is the `host:port` that the device was last given: a peer that has an endpoint, given or learned
    from its packets, gets another only when that is none of those that would do any more, or when it is silent
    and another comes first by now, or the name has moved. `given_address` is what the name was when the device
    last had just that, or at the first look.
    """

    plan: PeerPlan
    endpoint: Endpoint | None = None
    given: str | None = None
    given_address: Endpoint | None = None

    def carried_out(self, held: Endpoint | None) -> WantedPeer:
        """The same once that was done; `held` is the endpoint that the device has then."""
        given = self.plan.endpoint if self._is_given(held) else self.given
        arrived = given != self.given or self.given_address is None or held == self.endpoint
        address = self.endpoint if arrived and self.endpoint is not None else self.given_address
        if (given, address) == (self.given, self.given_address):
            return self
        return replace(self, given=given, given_address=address)

    def _is_given(self, held: Endpoint | None) -> bool:
        """Whether the device has what the plan names, or as good as has it."""
        if self.plan.endpoint is None or self.given is None:
            return True
        return self.endpoint is not None and (held == self.endpoint or self.given not in self.plan.others)


def diff(
    wanted: Mapping[bytes, WantedPeer],
    held: PeerTable,
    keys: Iterable[bytes] | None = None,
    now: float | None = None,
) -> list[PeerChange]:
    """Changes that turn what is held into what is wanted, in the order to carry them out.

    With `keys` only these peers are compared, at the cost of these: they must hold every peer that
    differs. An allowed IP that moves differs at both ends. `now`, in seconds since the epoch, is given where
    the handshakes of `held` are those of now: then peers that are silent follow their names.
    """
    removals: list[PeerChange] = []
    losses: list[PeerChange] = []
    moves: list[PeerChange] = []
    others: list[PeerChange] = []
    for key in _all(wanted, held) if keys is None else keys:
        aim, there = wanted.get(key), held.peers.get(key)
        if aim is None:
            if there is not None:
                removals.append(PeerChange(key, remove=True, add=False))
        elif there is None:
            change = _addition(key, aim)
            (moves if _takes_over(change, held) else others).append(change)
        else:
            kept = there.allowed_ips & aim.plan.allowed_ips
            if kept != there.allowed_ips:
                losses.append(PeerChange(key, add=False, allowed_ips=kept))
            change = _update(key, aim, there, now)
            if change != PeerChange(key, add=False):
                (moves if _takes_over(change, held) else others).append(change)
    return removals + losses + moves + others


def _all(wanted: Mapping[bytes, WantedPeer], held: PeerTable) -> Iterable[bytes]:
    return [*wanted, *(held.peers.keys() - wanted.keys())]


def _addition(key: bytes, aim: WantedPeer) -> PeerChange:
    return PeerChange(
        key,
        endpoint=aim.endpoint,
        allowed_ips=aim.plan.allowed_ips,
        keepalive=aim.plan.keepalive,
        preshared_key=aim.plan.preshared_key,
    )


def _update(key: bytes, aim: WantedPeer, held: PeerState, now: float | None) -> PeerChange:
    """What a peer gains, once it has lost what it is to lose."""
    return PeerChange(
        key,
        add=False,
        endpoint=_endpoint_to_set(aim, held, now),
        allowed_ips=None if aim.plan.allowed_ips <= held.allowed_ips else aim.plan.allowed_ips,
        keepalive=None if aim.plan.keepalive == held.keepalive else aim.plan.keepalive,
        preshared_key=_key_to_set(aim.plan.preshared_key, held.preshared_key),
    )


def _key_to_set(wanted: bytes | None, held: bytes | None) -> bytes | None:
    return None if wanted == held else wanted or NO_PRESHARED_KEY


def _endpoint_to_set(aim: WantedPeer, held: PeerState, now: float | None) -> Endpoint | None:
    if held.endpoint is None:
        return aim.endpoint
    # After a restart nothing is known to be given: whatever the device has is at least as new.
    newly_named = aim.given is not None and aim.given != aim.plan.endpoint
    over = newly_named and aim.given not in aim.plan.others
    moved = aim.given_address is not None and aim.given_address != aim.endpoint
    if over or ((newly_named or moved) and _silent(held, now)):
        return None if aim.endpoint == held.endpoint else aim.endpoint
    return None


def _silent(held: PeerState, now: float | None) -> bool:
    """Whether there is no session: until a handshake nothing was learned that could be newer than a name."""
    return now is not None and (not held.handshake or now - held.handshake > SILENCE)


def _takes_over(change: PeerChange, held: PeerTable) -> bool:
    return any(held.owner(network) not in (None, change.key) for network in change.allowed_ips or ())
