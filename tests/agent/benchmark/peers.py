"""The mesh that is measured: peers with an endpoint, a keepalive and two allowed IPs each. Always the same."""

from __future__ import annotations

import base64
import random
from ipaddress import IPv6Network, ip_network

from smegmesh.dataplane.plane import DeviceSettings, PeerChange

COUNT = 3000
SETTINGS = DeviceSettings(private_key=random.Random(1).randbytes(32), listen_port=51820)


def changes(count: int = COUNT) -> list[PeerChange]:
    chance = random.Random(2)
    first = int(ip_network("fd00::/64").network_address)
    return [
        PeerChange(
            chance.randbytes(32),
            endpoint=(f"198.18.{number >> 8}.{number & 255}", 51820),
            allowed_ips=frozenset(IPv6Network((first + 2 * number + half, 128)) for half in (0, 1)),
            keepalive=25,
        )
        for number in range(count)
    ]


def configuration(settings: DeviceSettings, peers: list[PeerChange]) -> str:
    """The same for `wg setconf`."""
    lines = [f"[Interface]\nPrivateKey = {_text(settings.private_key)}\nListenPort = {settings.listen_port}\n"]
    for peer in peers:
        assert peer.endpoint is not None
        lines.append(
            f"[Peer]\nPublicKey = {_text(peer.key)}\n"
            f"AllowedIPs = {', '.join(map(str, peer.allowed_ips or ()))}\n"
            f"Endpoint = {peer.endpoint[0]}:{peer.endpoint[1]}\nPersistentKeepalive = {peer.keepalive}\n"
        )
    return "\n".join(lines)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
