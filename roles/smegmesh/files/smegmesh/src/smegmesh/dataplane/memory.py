"""A plane of devices that exist in memory only: for tests and the simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smegmesh.dataplane.peer_table import PeerTable
from smegmesh.dataplane.plane import DeviceSettings, DeviceState, PeerChange, PlaneError
from smegmesh.identity.keys import public_key

_UNSET = DeviceState(public_key=bytes(32), listen_port=0, fwmark=0, peers={})


class MemoryPlane:
    """Behaves as WireGuard does: one owner for an allowed IP, one device for a port."""

    name = "memory"

    def __init__(self) -> None:
        self.devices: dict[str, DeviceState] = {}

    def create(self, device: str) -> bool:
        if device in self.devices:
            return False
        self.devices[device] = _UNSET
        return True

    def delete(self, device: str) -> None:
        self.devices.pop(device, None)

    def configure(self, device: str, settings: DeviceSettings) -> None:
        state = self.dump(device)
        for other, held in self.devices.items():
            if other != device and held.listen_port == settings.listen_port != 0:
                raise PlaneError(f"{device}: UDP port {settings.listen_port} is in use by {other}: choose another port")
        self.devices[device] = DeviceState(
            public_key=public_key(settings.private_key),
            listen_port=settings.listen_port,
            fwmark=settings.fwmark,
            peers=state.peers,
        )

    def apply(self, device: str, changes: Sequence[PeerChange]) -> None:
        state = self.dump(device)
        table = PeerTable(state.peers)
        table.advance(changes)
        self.devices[device] = replace(state, peers=table.peers)

    def dump(self, device: str) -> DeviceState:
        try:
            return self.devices[device]
        except KeyError:
            raise PlaneError(f"{device}: there is no such device") from None
