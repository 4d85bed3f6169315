"""What every WireGuard plane offers, and the values that pass through it.

A plane is synchronous; the daemon calls it in a worker thread, one call at a
time for each device. Keys are 32 raw bytes, endpoints (IP literal, port).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

Network = IPv4Network | IPv6Network
Endpoint = tuple[str, int]
NO_PRESHARED_KEY = bytes(32)


class PlaneError(Exception):
    """A plane could not do what was asked: what, on which device, what to do."""


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """Own settings of a WireGuard device. The private key is in no repr."""

    private_key: bytes = field(repr=False)
    listen_port: int
    fwmark: int = 0


@dataclass(frozen=True, slots=True)
class PeerState:
    """A peer as the device holds it. handshake is seconds since the epoch, None for never; the key is in no repr."""

    endpoint: Endpoint | None
    allowed_ips: frozenset[Network]
    keepalive: int
    handshake: float | None = None
    received: int = 0
    sent: int = 0
    preshared_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device as it is."""

    public_key: bytes
    listen_port: int
    fwmark: int
    peers: Mapping[bytes, PeerState]


@dataclass(frozen=True, slots=True)
class PeerChange:
    """One step of a diff; what is None stays as it is.

    `remove` alone takes the peer away. `add` is False for a change of a peer that
    must exist already (WireGuard's update-only). `allowed_ips` replaces the whole set. A preshared key of zeros
    is none (`NO_PRESHARED_KEY`).
    """

    key: bytes
    remove: bool = False
    add: bool = True
    endpoint: Endpoint | None = None
    allowed_ips: frozenset[Network] | None = None
    keepalive: int | None = None
    preshared_key: bytes | None = field(default=None, repr=False)


def held_key(preshared_key: bytes) -> bytes | None:
    """A preshared key as WireGuard writes it: None for its zeros."""
    return None if preshared_key == NO_PRESHARED_KEY else preshared_key


class Plane(Protocol):
    """A way to have WireGuard devices: kernel, userspace, memory."""

    name: str

    def create(self, device: str) -> bool:
        """Make the device unless it exists (then adopt it). True if it was made."""

    def delete(self, device: str) -> None:
        """Take the device away with all its peers; nothing happens if there is none."""

    def configure(self, device: str, settings: DeviceSettings) -> None:
        """Set key, port and mark; PlaneError if the port is in use (the old port is kept)."""

    def apply(self, device: str, changes: Sequence[PeerChange]) -> None:
        """Carry out changes in order, batched."""

    def dump(self, device: str) -> DeviceState:
        """The device as it is now; PlaneError if there is none."""
