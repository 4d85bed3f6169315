"""What agents send, by what it is for, as bytes on the wire."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from smegmesh.gossip.codec import decode
from smegmesh.gossip.traffic import CLASSES, TrafficClass, traffic_class

__all__ = ["CLASSES", "HANDSHAKE", "Traffic", "wire_size"]
_LENGTH = 4  # of a frame, before it
_RECORD, _RECORD_DATA = 22, 16_384  # overhead of a TLS 1.3 record (5 header, 1 type, 16 tag), and what it holds
_PACKET, _PACKET_DATA = 60, 1440  # headers of a packet (IPv6 and TCP), and what it holds
#: A TLS 1.3 handshake with certificates on both sides: about this much from each side.
HANDSHAKE = 2_500

#: What holds a tunnel open, in bytes with the headers of IPv6 and UDP: a keepalive, and what begins a session: its two
#: messages and a first keepalive. Seconds between two keepalives, by whichever side is first, as each puts off the
#: other's; and between two sessions: the first keepalive after 120 s (Donenfeld, "WireGuard: Next Generation Kernel
#: Network Tunnel", 2017, sections 5.4 and 6).
_KEEPALIVE, _SESSION = 80, 196 + 140 + 80
_KEEPALIVE_PAUSE, _SESSION_PAUSE = 25, 125

_TAGS: dict[int, TrafficClass] = {0: "links", 1: "ping", 2: "ping", 10: "links"}
_ITEMS, _TRUE = 3, 0xC3
_SMALL = 1024


def wire_size(frame: bytes) -> int:
    """Bytes of a frame on the wire, with its TLS records and packets."""
    length = _LENGTH + len(frame)
    sealed = length + -(-length // _RECORD_DATA) * _RECORD
    return sealed + -(-sealed // _PACKET_DATA) * _PACKET


def held_open(peers: int, clients: int) -> float:
    """What a node sends to hold its tunnels open: bytes a second, the mean of all. A client has two tunnels."""
    tunnels = peers * (peers - 1) / 2 + clients * 2
    return tunnels * (_KEEPALIVE / _KEEPALIVE_PAUSE + _SESSION / _SESSION_PAUSE) / (peers + clients)


class Traffic:
    """Counts bytes by class, from frames: what is large is not read again for it."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()

    def count(self, frame: bytes, size: int) -> None:
        """A frame was sent."""
        self.bytes[self._class(frame)] += size

    def handshake(self) -> None:
        """One side of a link was made."""
        self.bytes["links"] += wire_size(bytes(HANDSHAKE))

    def _class(self, frame: bytes) -> TrafficClass:
        tag = frame[1]
        known = _TAGS.get(tag)
        if known is not None:
            return known
        if tag != _ITEMS or frame[-1] == _TRUE:
            return "anti_entropy"
        return _read(frame) if len(frame) < _SMALL else "flood"


@lru_cache(maxsize=4096)  # the same frame goes out on many links within a second
def _read(frame: bytes) -> TrafficClass:
    return traffic_class(decode(frame))
