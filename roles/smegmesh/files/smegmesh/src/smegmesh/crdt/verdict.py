"""The verdict: which of the nodes it observes a node cannot reach.

Body: a MessagePack map of `d` (down) and `m` (mute), each the node keys, sorted
and concatenated, left out when there are none. Unknown fields are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import msgspec

from smegmesh.crdt.record import KEY_SIZE, MAX_BODY, Kind, RecordError, unpack

#: Accused nodes of one verdict, so that it fits a frame.
MAX_ACCUSED = 16_384


@dataclass(frozen=True, slots=True)
class Verdict:
    """Node keys its writer cannot reach (`down`) or finds without an agent (`mute`); a key is in one of them."""

    down: frozenset[bytes] = frozenset()
    mute: frozenset[bytes] = frozenset()


class _Body(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    d: bytes = b""
    m: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Body)


def encode_verdict(verdict: Verdict) -> bytes:
    """Body of a verdict record, equal for equal verdicts. Raises RecordError beyond the limits."""
    body = _encoder.encode(_Body(b"".join(sorted(verdict.down)), b"".join(sorted(verdict.mute))))
    if decode_verdict(body) != verdict:
        raise RecordError(f"verdict: node keys have {KEY_SIZE} bytes")
    return body


def decode_verdict(body: bytes) -> Verdict:
    """Read a verdict record's body. Raises RecordError."""
    if len(body) > MAX_BODY[Kind.VERDICT]:
        raise RecordError(f"verdict has {len(body)} bytes, more than {MAX_BODY[Kind.VERDICT]}")
    fields = unpack("verdict", _decoder, body)
    verdict = Verdict(_keys("d", fields.d), _keys("m", fields.m))
    if len(verdict.down) + len(verdict.mute) > MAX_ACCUSED:
        raise RecordError(f"verdict accuses {len(verdict.down) + len(verdict.mute)} nodes, more than {MAX_ACCUSED}")
    if not verdict.down.isdisjoint(verdict.mute):
        raise RecordError("verdict: a node key is both down and mute")
    return verdict


def _keys(field: str, joined: bytes) -> frozenset[bytes]:
    if len(joined) % KEY_SIZE:
        raise RecordError(f"verdict: field {field} is no sequence of keys of {KEY_SIZE} bytes")
    keys = [joined[start : start + KEY_SIZE] for start in range(0, len(joined), KEY_SIZE)]
    if any(first >= second for first, second in pairwise(keys)):
        raise RecordError(f"verdict: the keys of field {field} are not in ascending order")
    return frozenset(keys)
