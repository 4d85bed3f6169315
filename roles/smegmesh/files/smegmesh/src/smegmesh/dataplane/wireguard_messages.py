"""WireGuard's generic netlink messages: settings and peer changes out, dumps in.

Pure functions. Numbers and layouts are those of linux/wireguard.h, version 1. One
attribute holds 64 KiB at most, so peers are packed to size: many into one message,
and one whose allowed IPs are too many continued in the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from struct import Struct

from smegmesh.dataplane.netlink import NESTED, attribute, attributes, batches
from smegmesh.dataplane.plane import DeviceSettings, DeviceState, Endpoint, Network, PeerChange, PeerState, held_key

FAMILY = "wireguard"
VERSION = 1
GET_DEVICE, SET_DEVICE = 0, 1

KEY_SIZE = 32
NO_KEY = bytes(KEY_SIZE)
# Below the 65535 of an attribute, with room for the device's own attributes around it.
NEST_LIMIT = 60_000

_NAME, _PRIVATE_KEY, _PUBLIC_KEY, _DEVICE_FLAGS, _LISTEN_PORT, _FWMARK, _PEERS = range(2, 9)
_REPLACE_PEERS = 1

_KEY, _PRESHARED_KEY, _PEER_FLAGS, _ENDPOINT, _KEEPALIVE, _HANDSHAKE, _RECEIVED, _SENT, _ALLOWED_IPS = range(1, 10)
_REMOVE, _REPLACE_ALLOWED_IPS, _UPDATE_ONLY = 1, 2, 4

_FAMILY, _ADDRESS, _PREFIX_LENGTH = 1, 2, 3

_GENERIC_HEADER = Struct("=BBxx")
_U16, _U32, _U64, _PORT = Struct("=H"), Struct("=I"), Struct("=Q"), Struct(">H")
_TIME = Struct("=qq")
_SOCKADDR_IN = Struct("=H2s4s8x")
_SOCKADDR_IN6 = Struct("=H2s4x16sI")
# A whole allowed IP in one go, as thousands are packed at once: the nest's header, then
# header and value (padded to four bytes) of family, address and prefix length.
_ALLOWED_IPV4 = Struct("=HH HHH2x HH4s HHB3x")
_ALLOWED_IPV6 = Struct("=HH HHH2x HH16s HHB3x")


def get_device(device: str) -> bytes:
    """The payload of a request for the dump of a device."""
    return _GENERIC_HEADER.pack(GET_DEVICE, VERSION) + _name(device)


def set_listen_port(device: str, port: int) -> bytes:
    """The payload of a request that sets the port alone."""
    return _set_device(device, attribute(_LISTEN_PORT, _U16.pack(port)))


def set_keys_and_mark(device: str, settings: DeviceSettings) -> bytes:
    """The payload of a request that sets private key and mark. ValueError for a key that is none."""
    return _set_device(
        device,
        attribute(_PRIVATE_KEY, _checked_key(settings.private_key)),
        attribute(_FWMARK, _U32.pack(settings.fwmark)),
    )


def remove_all_peers(device: str) -> bytes:
    """The payload of a request that takes every peer away."""
    return _set_device(device, attribute(_DEVICE_FLAGS, _U32.pack(_REPLACE_PEERS)))


def set_peers(device: str, changes: Iterable[PeerChange], limit: int = NEST_LIMIT) -> Iterator[bytes]:
    """The payloads of the requests that carry out `changes` in order, peers of `limit` bytes in each.

    ValueError for a key, endpoint or number that cannot be one.
    """
    nests = (nest for change in changes for nest in peer_nests(change, limit))
    for batch in batches(nests, limit):
        yield _set_device(device, attribute(_PEERS | NESTED, b"".join(batch)))


def peer_nests(change: PeerChange, limit: int = NEST_LIMIT) -> Iterator[bytes]:
    """One change as nests of at most `limit` bytes each; those after the first only add allowed IPs."""
    key = attribute(_KEY, _checked_key(change.key))
    if change.remove:
        yield attribute(NESTED, key + attribute(_PEER_FLAGS, _U32.pack(_REMOVE)))
        return
    first = key + _peer_settings(change)
    if not change.allowed_ips:
        yield attribute(NESTED, first)
        return
    # 8: the headers of the peer's nest and of its allowed IPs.
    room = limit - len(first) - 8
    for part in batches(map(_allowed_ip, change.allowed_ips), room):
        yield attribute(NESTED, first + attribute(_ALLOWED_IPS | NESTED, b"".join(part)))
        first = key + attribute(_PEER_FLAGS, _U32.pack(_UPDATE_ONLY))


def _peer_settings(change: PeerChange) -> bytes:
    flags = 0 if change.add else _UPDATE_ONLY
    if change.allowed_ips is not None:
        flags |= _REPLACE_ALLOWED_IPS
    parts = [attribute(_PEER_FLAGS, _U32.pack(flags))] if flags else []
    if change.preshared_key is not None:
        parts.append(attribute(_PRESHARED_KEY, _checked_key(change.preshared_key)))
    if change.endpoint is not None:
        parts.append(attribute(_ENDPOINT, encode_endpoint(change.endpoint)))
    if change.keepalive is not None:
        parts.append(attribute(_KEEPALIVE, _number(_U16, change.keepalive, "keepalive")))
    return b"".join(parts)


def _allowed_ip(network: Network) -> bytes:
    address, length = network.network_address.packed, network.prefixlen
    if len(address) == 4:
        return _ALLOWED_IPV4.pack(28, NESTED, 6, _FAMILY, AF_INET, 8, _ADDRESS, address, 5, _PREFIX_LENGTH, length)
    return _ALLOWED_IPV6.pack(40, NESTED, 6, _FAMILY, AF_INET6, 20, _ADDRESS, address, 5, _PREFIX_LENGTH, length)


def encode_endpoint(endpoint: Endpoint) -> bytes:
    """(IP literal, port) as the kernel's socket address; the zone of an IPv6 one is an interface's index.

    ValueError for a host that is no IP literal, or a port that is none.
    """
    host, number = endpoint
    port = _number(_PORT, number, "port")
    address, _percent, zone = host.partition("%")
    try:
        if ":" in address:
            return _SOCKADDR_IN6.pack(AF_INET6, port, inet_pton(AF_INET6, address), int(zone or 0))
        return _SOCKADDR_IN.pack(AF_INET, port, inet_pton(AF_INET, host))
    except (OSError, ValueError) as error:
        raise ValueError(f"endpoint host {host!r} is no IP address; resolve it first") from error


def decode_endpoint(data: memoryview) -> Endpoint:
    """The kernel's socket address as (IP literal, port). ValueError for a family that is not IP."""
    (family,) = _U16.unpack_from(data)
    (port,) = _PORT.unpack_from(data, 2)
    if family == AF_INET:
        return inet_ntop(AF_INET, data[4:8]), port
    if family == AF_INET6:
        (zone,) = _U32.unpack_from(data, 24)
        return inet_ntop(AF_INET6, data[8:24]) + (f"%{zone}" if zone else ""), port
    raise ValueError(f"an endpoint of address family {family}")


@dataclass(slots=True)
class DeviceReader:
    """Gathers a device from the messages of its dump.

    Only the first message says what the device is; a peer may continue in the next
    with nothing but its key and more allowed IPs.
    """

    public_key: bytes = NO_KEY
    listen_port: int = 0
    fwmark: int = 0
    _peers: dict[bytes, dict[int, memoryview]] = field(default_factory=dict)
    _allowed_ips: dict[bytes, list[Network]] = field(default_factory=dict)

    def read(self, payload: memoryview) -> None:
        """Take in one message (what follows the netlink header). ValueError if it is malformed."""
        for kind, data in attributes(payload[_GENERIC_HEADER.size :]):
            if kind == _PEERS:
                for _index, peer in attributes(data):
                    self._read_peer(dict(attributes(peer)))
            elif kind == _PUBLIC_KEY:
                self.public_key = bytes(data)
            elif kind == _LISTEN_PORT:
                (self.listen_port,) = _U16.unpack(data)
            elif kind == _FWMARK:
                (self.fwmark,) = _U32.unpack(data)

    def _read_peer(self, parts: dict[int, memoryview]) -> None:
        key = bytes(parts[_KEY])
        self._peers.setdefault(key, parts)
        networks = self._allowed_ips.setdefault(key, [])
        networks.extend(_read_network(nest) for _index, nest in attributes(parts.get(_ALLOWED_IPS, memoryview(b""))))

    def state(self) -> DeviceState:
        """The device, from all that was read. A device without a key has one of zeros."""
        peers = {key: _peer_state(parts, self._allowed_ips[key]) for key, parts in self._peers.items()}
        return DeviceState(self.public_key, self.listen_port, self.fwmark, peers)


def _read_network(nest: memoryview) -> Network:
    parts = dict(attributes(nest))
    address = bytes(parts[_ADDRESS])
    return (IPv4Network if len(address) == 4 else IPv6Network)((address, parts[_PREFIX_LENGTH][0]))


def _peer_state(parts: dict[int, memoryview], networks: list[Network]) -> PeerState:
    def number(kind: int, layout: Struct) -> int:
        return int(layout.unpack(parts[kind])[0]) if kind in parts else 0

    seconds, nanoseconds = _TIME.unpack(parts[_HANDSHAKE]) if _HANDSHAKE in parts else (0, 0)
    return PeerState(
        endpoint=decode_endpoint(parts[_ENDPOINT]) if _ENDPOINT in parts else None,
        allowed_ips=frozenset(networks),
        keepalive=number(_KEEPALIVE, _U16),
        handshake=seconds + nanoseconds / 1e9 if seconds or nanoseconds else None,
        received=number(_RECEIVED, _U64),
        sent=number(_SENT, _U64),
        preshared_key=held_key(bytes(parts[_PRESHARED_KEY])) if _PRESHARED_KEY in parts else None,
    )


def _set_device(device: str, *parts: bytes) -> bytes:
    return _GENERIC_HEADER.pack(SET_DEVICE, VERSION) + _name(device) + b"".join(parts)


def _name(device: str) -> bytes:
    return attribute(_NAME, device.encode() + b"\0")


def _checked_key(key: bytes) -> bytes:
    if len(key) != KEY_SIZE:
        raise ValueError(f"a WireGuard key is {KEY_SIZE} bytes, not {len(key)}")
    return key


def _number(layout: Struct, value: int, what: str) -> bytes:
    if not 0 <= value < 1 << 8 * layout.size:
        raise ValueError(f"{what} {value} is not within 0 to {(1 << 8 * layout.size) - 1}")
    return layout.pack(value)
