"""The peers of a device, and whose each allowed IP is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from smegmesh.dataplane.plane import Network, PeerChange, PeerState, held_key

_NEW = PeerState(endpoint=None, allowed_ips=frozenset(), keepalive=0)


class PeerTable:
    """Takes changes as WireGuard carries them out: an allowed IP has one owner, the last that was given it."""

    def __init__(self, peers: Mapping[bytes, PeerState]) -> None:
        self._peers = dict(peers)
        self._owners = {network: key for key, peer in peers.items() for network in peer.allowed_ips}

    @property
    def peers(self) -> Mapping[bytes, PeerState]:
        """As they are now; it changes with the table."""
        return self._peers

    def owner(self, network: Network) -> bytes | None:
        """The peer that an allowed IP belongs to."""
        return self._owners.get(network)

    def advance(self, changes: Iterable[PeerChange]) -> None:
        """Carry out changes, in their order. O(what they touch)."""
        for change in changes:
            before = self._peers.get(change.key)
            if change.remove:
                if before is not None:
                    self._disown(before.allowed_ips)
                    del self._peers[change.key]
            elif before is not None or change.add:
                self._set(change, before or _NEW)

    def _set(self, change: PeerChange, before: PeerState) -> None:
        allowed = before.allowed_ips if change.allowed_ips is None else change.allowed_ips
        self._disown(before.allowed_ips - allowed)
        self._give(allowed - before.allowed_ips, change.key)
        self._peers[change.key] = replace(
            before,
            endpoint=before.endpoint if change.endpoint is None else change.endpoint,
            allowed_ips=allowed,
            keepalive=before.keepalive if change.keepalive is None else change.keepalive,
            preshared_key=before.preshared_key if change.preshared_key is None else held_key(change.preshared_key),
        )

    def _give(self, networks: Iterable[Network], key: bytes) -> None:
        for network in networks:
            previous = self._owners.get(network)
            if previous is not None:
                peer = self._peers[previous]
                self._peers[previous] = replace(peer, allowed_ips=peer.allowed_ips - {network})
            self._owners[network] = key

    def _disown(self, networks: Iterable[Network]) -> None:
        for network in networks:
            del self._owners[network]
