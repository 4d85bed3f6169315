"""What agents send, by what it is for, as bytes on the wire."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from smegmesh.crdt.record import Kind, RecordError, decode_record
from smegmesh.crdt.verdict import encode_verdict
from smegmesh.gossip.codec import Items, decode

PING, FLOOD, ANTI_ENTROPY, REFRESH, LINKS = "ping", "flood", "anti_entropy", "refresh", "links"
CLASSES = (PING, FLOOD, ANTI_ENTROPY, REFRESH, LINKS)

_LENGTH = 4  # of a frame, before it
_RECORD, _RECORD_DATA = 22, 16_384  # overhead of a TLS 1.3 record (5 header, 1 type, 16 tag), and what it holds
_PACKET, _PACKET_DATA = 60, 1440  # headers of a packet (IPv6 and TCP), and what it holds
#: A TLS 1.3 handshake with certificates on both sides: about this much from each side.
HANDSHAKE = 2_500

_TAGS = {0: LINKS, 1: PING, 2: PING, 10: LINKS}
_ITEMS, _TRUE = 3, 0xC3
_SMALL = 1024
_NOBODY = encode_verdict({})


def wire_size(frame: bytes) -> int:
    """Bytes of a frame on the wire, with its TLS records and packets."""
    length = _LENGTH + len(frame)
    sealed = length + -(-length // _RECORD_DATA) * _RECORD
    return sealed + -(-sealed // _PACKET_DATA) * _PACKET


class Traffic:
    """Counts bytes by class. A refresh is the verdict of a leader that accuses nobody."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()

    def count(self, frame: bytes, size: int) -> None:
        """A frame was sent."""
        self.bytes[self._class(frame)] += size

    def handshake(self) -> None:
        """One side of a link was made."""
        self.bytes[LINKS] += wire_size(bytes(HANDSHAKE))

    def _class(self, frame: bytes) -> str:
        tag = frame[1]
        known = _TAGS.get(tag)
        if known is not None:
            return known
        if tag != _ITEMS or frame[-1] == _TRUE:
            return ANTI_ENTROPY
        return REFRESH if len(frame) < _SMALL and _says_nothing_new(frame) else FLOOD


@lru_cache(maxsize=4096)  # the same frame goes out on many links within a second
def _says_nothing_new(frame: bytes) -> bool:
    message = decode(frame)
    if not isinstance(message, Items) or message.removals or not message.records:
        return False
    try:
        records = [decode_record(*triple) for triple in message.records]
    except RecordError:
        return False
    return all(record.kind is Kind.VERDICT and record.body == _NOBODY for record in records)
