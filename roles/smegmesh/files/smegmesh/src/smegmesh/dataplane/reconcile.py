"""One mesh interface, kept as its plan says."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Interface, IPv6Network
from types import MappingProxyType

from smegmesh.dataplane.diff import WantedPeer, diff
from smegmesh.dataplane.peer_table import PeerTable
from smegmesh.dataplane.plane import (
    DeviceSettings,
    DeviceState,
    Endpoint,
    PeerChange,
    PeerState,
    Plane,
    PlaneError,
)
from smegmesh.dataplane.system import Link, System
from smegmesh.identity.keys import KEY_LENGTH, public_key
from smegmesh.routing.plan import PeerPlan, Plan, PlanChange

#: What `check` says of peers that follow their names: nobody changed the interface.
SILENT = "peers that are silent and have another address now, or had none"
_LEAVING = 0.05  # seconds
_NO_KEY = bytes(KEY_LENGTH)
_NONE: Mapping[bytes, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Difference:
    """What an interface holds otherwise than was planned, in words; `peer` is the key of the peer it is about."""

    what: str
    peer: bytes | None = None


class Reconciler:
    """Owns one interface: brings it up, follows its plan, repairs it, takes it down.

    Synchronous; call it in a worker thread, one call at a time. It keeps for itself what is wanted
    and what the device is known to hold; `endpoints` resolve the `host:port` of the peers in a plan
    or in a change of it. An interface that exists is adopted with its sessions, so that a restart
    of the agent loses no packet.
    """

    def __init__(
        self,
        plane: Plane,
        system: System,
        device: str,
        settings: DeviceSettings,
        mtu: int,
        wall: Callable[[], float] = time.time,
        former: Collection[bytes] = (),
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`former` are public keys that an interface of ours may have from before a rotation; `pause` is given
        seconds in which packets that were for a peer when another took its place leave.
        """
        self.device = device
        self._plane = plane
        self._system = system
        self._settings = settings
        self._public_key = public_key(settings.private_key)
        self._former = former
        self._mtu = mtu
        self._wall = wall  # the clock of handshakes
        self._pause = pause
        self._ours = False
        self._wanted: dict[bytes, WantedPeer] = {}
        self._routes: frozenset[IPv6Network] = frozenset()
        self._address: IPv6Interface | None = None
        self._known: PeerTable | None = None  # what the device holds; None while, and after, that is in doubt

    def bring_up(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> bool:
        """Create or adopt the interface and make it what the plan says; True if it was created.

        PlaneError says why it cannot be; an interface that was just created is taken away again,
        and one that somebody else made is left as it is.
        """
        self._want_all(plan, endpoints)
        created, _changes = self._establish(plan.address)
        return created

    def apply(self, change: PlanChange, endpoints: Mapping[str, Endpoint]) -> list[PeerChange]:
        """Carry out a change of the plan on what is known of the device; the changes made. O(peers in the change).

        After an error nothing is known: then the interface is looked at, and made again if it is gone.
        """
        self._want(change.peers, endpoints)
        reroute, self._routes = self._routes != change.routes, change.routes
        known, self._known = self._known, None
        if known is None:
            _created, changes = self._establish(change.address, change.successors)
            return changes
        if reroute:
            self._system.ensure_routes(self.device, self._routes)
        if change.successors:
            known = PeerTable(self._plane.dump(self.device).peers)  # with the endpoints that were learned since
        changes = self._set_peers(known, change.peers, successors=change.successors)
        self._known = known
        return changes

    def rekey(self, private_key: bytes) -> None:
        """Have another private key. What comes in under sessions of the one before is still taken, what goes out waits
        for new ones: WireGuard holds up to 128 packets for a peer until its handshake is done.
        """
        self._settings = replace(self._settings, private_key=private_key)
        self._former, self._public_key = (*self._former, self._public_key), public_key(private_key)
        self._plane.configure(self.device, self._settings)

    def check(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> list[str]:
        """Compare the interface itself with the whole plan and repair it; what had to be repaired. O(peers)."""
        self._want_all(plan, endpoints)
        self._known = None
        try:
            state = self._plane.dump(self.device)
        except PlaneError:
            self._establish(plan.address)
            return [f"{self.device} was gone"]
        repaired = [f"{self.device} had another {what}" for what in self._configure(state)]
        held = PeerTable(state.peers)
        changes = self._set_peers(held, now=self._wall())
        followed = sum(map(_is_move, changes))
        if followed:
            repaired.append(f"{self.device} had {followed} {SILENT}")
        if len(changes) > followed:
            repaired.append(f"{self.device} had {len(changes) - followed} peers that were not as planned")
        repaired += self._repair_link(plan)
        self._known = held
        return repaired

    def compare(self) -> list[Difference]:
        """How the interface differs from what was last planned, as `check` would repair it; O(peers), no change."""
        try:
            state = self._plane.dump(self.device)
        except PlaneError:
            return [Difference("it is gone")]
        differing = [Difference(f"it has another {what}") for what in self._differing(state)]
        held = PeerTable(state.peers)
        changes = diff(self._wanted, held, now=self._wall())
        differing += dict.fromkeys(
            Difference(_wrong(change, held), change.key) for change in changes if not _is_move(change)
        )
        link = self._system.link(self.device)
        if not self._is_up(link):
            differing.append(Difference(f"it is not up with MTU {self._mtu}"))
        if self._address is not None and self._address.ip not in self._system.held_addresses(self.device):
            differing.append(Difference(f"it has lost its address {self._address}"))
        if self._system.held_routes(self.device) != self._routes:
            differing.append(Difference("it has other routes"))
        return differing

    @property
    def mtu(self) -> int:
        """What the interface is to have."""
        return self._mtu

    def renew(self, key: bytes) -> None:
        """Start a new session with a peer: one that has lost its own is not heard until it is sent a handshake.

        WireGuard itself notices that only after 15 s of unanswered packets.
        """
        if key not in self._wanted:
            return
        self._known = None
        held = PeerTable(self._plane.dump(self.device).peers)
        before = held.peers.get(key)
        removal = PeerChange(key, remove=True, add=False)
        held.advance([removal])
        again = diff(self._wanted, held)
        if before is not None and before.endpoint is not None:
            again = [
                replace(change, endpoint=before.endpoint) if change.key == key and change.endpoint is None else change
                for change in again
            ]
        self._plane.apply(self.device, [removal, *again])
        held.advance(again)
        self._known = held

    def state(self) -> DeviceState:
        """The interface as it is now, for counters and handshakes."""
        return self._plane.dump(self.device)

    def take_down(self) -> None:
        """Remove the interface, with its peers, addresses and routes."""
        self._plane.delete(self.device)
        self._ours, self._known = False, None

    def _want(self, peers: Mapping[bytes, PeerPlan | None], endpoints: Mapping[str, Endpoint]) -> None:
        for key, plan in peers.items():
            before = self._wanted.pop(key, None)
            if plan is not None:
                endpoint = None if plan.endpoint is None else endpoints.get(plan.endpoint)
                given = (None, None) if before is None else (before.given, before.given_address)
                self._wanted[key] = WantedPeer(plan, endpoint, *given)

    def _want_all(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> None:
        self._want({**dict.fromkeys(self._wanted), **plan.peers}, endpoints)
        self._routes = plan.routes

    def _establish(
        self, address: IPv6Interface, successors: Mapping[bytes, bytes] = _NONE
    ) -> tuple[bool, list[PeerChange]]:
        self._known, self._address = None, address
        created = self._plane.create(self.device)
        try:
            state = self._plane.dump(self.device)
            if not created and not self._ours:
                self._check_ours(state)
            self._configure(state)
            # Peers before the link goes up: faster, and no packet meets a half-made interface.
            held = PeerTable(self._plane.dump(self.device).peers)
            changes = self._set_peers(held, successors=successors)
            self._system.set_link(self.device, mtu=self._mtu, up=True)
            self._system.ensure_address(self.device, address)
            self._system.ensure_routes(self.device, self._routes)
        except PlaneError:
            if created:
                self.take_down()
            raise
        self._known, self._ours = held, True
        return created, changes

    def _check_ours(self, state: DeviceState) -> None:
        """An interface that is there has a key of ours, or none yet; any other is somebody else's."""
        if state.public_key not in (self._public_key, _NO_KEY, *self._former):
            raise PlaneError(
                f"interface {self.device}: there is one already, with another key: it is left alone; "
                f"declare another name, or take it away (`ip link delete {self.device}`) if nobody needs it"
            )

    def _set_peers(
        self,
        held: PeerTable,
        keys: Collection[bytes] | None = None,
        now: float | None = None,
        successors: Mapping[bytes, bytes] = _NONE,
    ) -> list[PeerChange]:
        """Make the peers what is wanted; with `keys`, these alone, which must be all that differ. `now`: see `diff`.

        A successor takes over from the key before it.
        """
        changes, last = _succeed(diff(self._wanted, held, keys, now), held, successors)
        if changes:
            self._plane.apply(self.device, changes)
            held.advance(changes)
        if last:
            self._pause(_LEAVING)
            self._plane.apply(self.device, last)
            held.advance(last)
        for key in self._wanted.keys() & (self._wanted if keys is None else keys):
            self._wanted[key] = self._wanted[key].carried_out(held.peers[key].endpoint)
        return changes + last

    def _configure(self, state: DeviceState) -> list[str]:
        """Set key, port and mark where they differ; which did."""
        differing = self._differing(state)
        if differing:
            self._plane.configure(self.device, self._settings)
        return differing

    def _differing(self, state: DeviceState) -> list[str]:
        settings = self._settings
        return [
            name
            for name, held, wanted in (
                ("key", state.public_key, self._public_key),
                ("port", state.listen_port, settings.listen_port),
                ("mark", state.fwmark, settings.fwmark),
            )
            if held != wanted
        ]

    def _repair_link(self, plan: Plan) -> list[str]:
        repaired = []
        if not self._is_up(self._system.link(self.device)):
            self._system.set_link(self.device, mtu=self._mtu, up=True)
            repaired.append(f"{self.device} was not up with MTU {self._mtu}")
        if self._system.ensure_address(self.device, plan.address):
            repaired.append(f"{self.device} had lost its address {plan.address}")
        if self._system.ensure_routes(self.device, plan.routes):
            repaired.append(f"{self.device} had other routes")
        return repaired

    def _is_up(self, link: Link | None) -> bool:
        return link is not None and link.up and link.mtu == self._mtu


def _succeed(
    changes: list[PeerChange], held: PeerTable, successors: Mapping[bytes, bytes]
) -> tuple[list[PeerChange], list[PeerChange]]:
    """The same, with the endpoints that the keys before have; and what goes last: these keys, which nobody has then."""
    if not successors:
        return changes, []
    going = {change.key for change in changes if change.remove} & set(successors.values())
    first = [change for change in changes if change.key not in going]
    last = [change for change in changes if change.key in going]
    return [_placed(change, held.peers.get(successors.get(change.key, b""))) for change in first], last


def _placed(change: PeerChange, before: PeerState | None) -> PeerChange:
    return change if before is None or before.endpoint is None else replace(change, endpoint=before.endpoint)


def _is_move(change: PeerChange) -> bool:
    """Whether a peer that is silent gets the address that its name has now."""
    return change == PeerChange(change.key, add=False, endpoint=change.endpoint)


def _wrong(change: PeerChange, held: PeerTable) -> str:
    if change.remove:
        return "nobody planned this peer"
    return "it has other allowed IPs, or another keepalive" if change.key in held.peers else "it is missing"
