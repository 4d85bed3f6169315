"""One mesh interface, kept as its plan says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from smegmesh.dataplane.diff import advance, diff
from smegmesh.dataplane.plane import (
    DeviceSettings,
    DeviceState,
    Endpoint,
    PeerChange,
    Plane,
    PlaneError,
)
from smegmesh.dataplane.system import System
from smegmesh.identity.keys import KEY_LENGTH, public_key
from smegmesh.routing.plan import Plan

_NO_KEY = bytes(KEY_LENGTH)


class Reconciler:
    """Owns one interface: brings it up, applies plans, repairs it, takes it down.

    Synchronous; call it in a worker thread, one call at a time. `endpoints` resolve the
    `host:port` of a plan. An interface that exists is adopted with its sessions, so that a
    restart of the agent loses no packet.
    """

    def __init__(
        self,
        plane: Plane,
        system: System,
        device: str,
        settings: DeviceSettings,
        mtu: int,
    ) -> None:
        self.device = device
        self._plane = plane
        self._system = system
        self._settings = settings
        self._public_key = public_key(settings.private_key)
        self._mtu = mtu
        self._plan: Plan | None = None
        self._endpoints: Mapping[str, Endpoint] = {}
        self._known: DeviceState | None = None
        self._applied: dict[bytes, str] = {}

    def bring_up(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> bool:
        """Create or adopt the interface and make it what the plan says; True if it was created.

        PlaneError says why it cannot be; an interface that was just created is taken away again,
        and one that somebody else made is left as it is.
        """
        created, _changes = self._establish(plan, endpoints)
        return created

    def apply(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> list[PeerChange]:
        """Carry out what differs from the last known state; the changes made.

        After an error nothing is known: then the interface is looked at, and made again if it is gone.
        """
        if self._known is None:
            _created, changes = self._establish(plan, endpoints)
            return changes
        if self._plan is not None and self._plan.routes != plan.routes:
            self._system.ensure_routes(self.device, plan.routes)
        return self._set_peers(plan, endpoints, self._known)

    def check(self) -> list[str]:
        """Compare the interface itself with the last plan and repair it; what had to be repaired."""
        if self._plan is None:
            return []
        try:
            state = self._plane.dump(self.device)
        except PlaneError:
            self._establish(self._plan, self._endpoints)
            return [f"{self.device} was gone"]
        repaired = [f"{self.device} had another {what}" for what in self._configure(state)]
        changes = self._set_peers(self._plan, self._endpoints, state)
        if changes:
            repaired.append(f"{self.device} had {len(changes)} peers that were not as planned")
        return repaired + self._repair_link(self._plan)

    def renew(self, key: bytes) -> None:
        """Start a new session with a peer: one that has lost its own is not heard until it is sent a handshake.

        WireGuard itself notices that only after 15 s of unanswered packets.
        """
        if self._plan is None or key not in self._plan.peers:
            return
        state = self._plane.dump(self.device)
        held = state.peers.get(key)
        without = replace(
            state,
            peers={other: peer for other, peer in state.peers.items() if other != key},
        )
        again = diff(self._plan, self._endpoints, without, self._applied)
        if held is not None and held.endpoint is not None:
            again = [
                replace(change, endpoint=held.endpoint) if change.key == key and change.endpoint is None else change
                for change in again
            ]
        self._carry_out([PeerChange(key, remove=True, add=False), *again], state)

    def state(self) -> DeviceState:
        """The interface as it is now, for counters and handshakes."""
        return self._plane.dump(self.device)

    def take_down(self) -> None:
        """Remove the interface, with its peers, addresses and routes."""
        self._plane.delete(self.device)
        self._plan, self._known = None, None
        self._applied.clear()

    def _establish(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> tuple[bool, list[PeerChange]]:
        self._known = None
        created = self._plane.create(self.device)
        try:
            state = self._plane.dump(self.device)
            if not created and self._plan is None:
                self._check_ours(state)
            self._configure(state)
            # Peers before the link goes up: faster, and no packet meets a half-made interface.
            changes = self._set_peers(plan, endpoints, self._plane.dump(self.device))
            self._system.set_link(self.device, mtu=self._mtu, up=True)
            self._system.ensure_address(self.device, plan.address)
            self._system.ensure_routes(self.device, plan.routes)
        except PlaneError:
            self._known = None
            if created:
                self.take_down()
            raise
        return created, changes

    def _check_ours(self, state: DeviceState) -> None:
        """An interface that is there has our key, or none yet; any other is somebody else's."""
        if state.public_key not in (self._public_key, _NO_KEY):
            raise PlaneError(
                f"interface {self.device}: there is one already, with another key: it is left alone; "
                f"declare another name, or take it away (`ip link delete {self.device}`) if nobody needs it"
            )

    def _set_peers(self, plan: Plan, endpoints: Mapping[str, Endpoint], state: DeviceState) -> list[PeerChange]:
        changes = diff(plan, endpoints, state, self._applied)
        self._carry_out(changes, state)
        self._plan, self._endpoints = plan, endpoints
        self._note_applied(plan, endpoints)
        return changes

    def _carry_out(self, changes: list[PeerChange], state: DeviceState) -> None:
        self._known = None  # should it fail half way
        if changes:
            self._plane.apply(self.device, changes)
            state = replace(state, peers=advance(state.peers, changes))
        self._known = state

    def _configure(self, state: DeviceState) -> list[str]:
        """Set key, port and mark where they differ; which did."""
        settings = self._settings
        differing = [
            name
            for name, held, wanted in (
                ("key", state.public_key, self._public_key),
                ("port", state.listen_port, settings.listen_port),
                ("mark", state.fwmark, settings.fwmark),
            )
            if held != wanted
        ]
        if differing:
            self._plane.configure(self.device, settings)
        return differing

    def _repair_link(self, plan: Plan) -> list[str]:
        repaired = []
        link = self._system.link(self.device)
        if link is None or not link.up or link.mtu != self._mtu:
            self._system.set_link(self.device, mtu=self._mtu, up=True)
            repaired.append(f"{self.device} was not up with MTU {self._mtu}")
        if self._system.ensure_address(self.device, plan.address):
            repaired.append(f"{self.device} had lost its address {plan.address}")
        if self._system.ensure_routes(self.device, plan.routes):
            repaired.append(f"{self.device} had other routes")
        return repaired

    def _note_applied(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> None:
        self._applied = {
            key: peer.endpoint if peer.endpoint in endpoints else self._applied.get(key, peer.endpoint)
            for key, peer in plan.peers.items()
            if peer.endpoint is not None
        }
