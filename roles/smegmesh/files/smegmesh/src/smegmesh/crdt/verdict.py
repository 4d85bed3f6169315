"""The verdict: which of the nodes it observes a node cannot reach.

Body: a MessagePack map of `d` (down) and `m` (mute), each the accused node keys, sorted
and joined, and of `n`: for each of them, those of `d` first, the number that its entry
had. Who raises its number has answered every accusation made before. What is empty is
left out; unknown fields are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import msgspec

from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.record import KEY_SIZE, MAX_BODY, Kind, RecordError, unpack

#: Accused nodes of one verdict, so that it fits a frame.
MAX_ACCUSED = 16_384


@dataclass(frozen=True, slots=True)
class Accusation:
    """What a writer says of a node whose entry had `number`: it is down, or only mute."""

    number: int
    mute: bool = False


class _Body(msgspec.Struct, frozen=True, gc=False):
    d: bytes = b""
    m: bytes = b""
    n: tuple[Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)], ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Body)


def encode_verdict(accused: Mapping[bytes, Accusation]) -> bytes:
    """Body of a verdict record, the same bytes for equal verdicts. Raises RecordError when a limit is broken."""
    keys = sorted(accused, key=lambda key: (accused[key].mute, key))
    down = b"".join(key for key in keys if not accused[key].mute)
    mute = b"".join(key for key in keys if accused[key].mute)
    fields = {"d": down, "m": mute, "n": [accused[key].number for key in keys]}
    body = _encoder.encode({name: value for name, value in fields.items() if value})
    if decode_verdict(body) != accused:
        raise RecordError(f"verdict: a node key has {KEY_SIZE} bytes")
    return body


def decode_verdict(body: bytes) -> dict[bytes, Accusation]:
    """Read a verdict record's body: accused node key -> accusation. Raises RecordError."""
    if len(body) > MAX_BODY[Kind.VERDICT]:
        raise RecordError(f"verdict has {len(body)} bytes, more than {MAX_BODY[Kind.VERDICT]}")
    fields = unpack("verdict", _decoder, body)
    down, mute = _keys("d", fields.d), _keys("m", fields.m)
    count = len(down) + len(mute)
    if count > MAX_ACCUSED:
        raise RecordError(f"verdict accuses {count} nodes, more than {MAX_ACCUSED}")
    if len(fields.n) != count:
        raise RecordError(f"verdict accuses {count} nodes but has {len(fields.n)} numbers")
    accused = {key: Accusation(number) for key, number in zip(down, fields.n[: len(down)], strict=True)}
    accused |= {key: Accusation(number, mute=True) for key, number in zip(mute, fields.n[len(down) :], strict=True)}
    if len(accused) != count:
        raise RecordError("verdict: a node key is both down and mute")
    return accused


def _keys(field: str, joined: bytes) -> list[bytes]:
    if len(joined) % KEY_SIZE:
        raise RecordError(f"verdict: field {field} is no sequence of keys of {KEY_SIZE} bytes")
    keys = [joined[start : start + KEY_SIZE] for start in range(0, len(joined), KEY_SIZE)]
    if any(first >= second for first, second in pairwise(keys)):
        raise RecordError(f"verdict: the keys of field {field} are not in ascending order")
    return keys
