"""Accusations: the verdicts of all writers, indexed by whom they accuse.

The body of a verdict is a MessagePack map of `d` (down) and `m` (mute), each the
accused node keys, sorted and joined, and of `n`: for each of them, in the same
order, the number that its entry had. Who raises its number has answered every
accusation that was made before; that is how a node gets rid of those whose writers
are down themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.record import KEY_SIZE, MAX_BODY, Kind, RecordError

MAX_ACCUSED = 16_384

_Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]


@dataclass(frozen=True, slots=True)
class Accusation:
    """What a writer says of a node whose entry had `number`: down, or only mute."""

    number: int
    mute: bool = False


class _Body(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    d: bytes = b""
    m: bytes = b""
    n: Annotated[tuple[_Number, ...], msgspec.Meta(max_length=MAX_ACCUSED)] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Body)


def encode_accusations(accused: Mapping[bytes, Accusation]) -> bytes:
    """Body of a verdict record; what is beyond the limit is left out."""
    keys = sorted(accused)[:MAX_ACCUSED]
    down = [key for key in keys if not accused[key].mute]
    mute = [key for key in keys if accused[key].mute]
    numbers = tuple(accused[key].number for key in down + mute)
    return _encoder.encode(_Body(b"".join(down), b"".join(mute), numbers))


def decode_accusations(body: bytes) -> dict[bytes, Accusation]:
    """Read a verdict record's body. Raises RecordError."""
    if len(body) > MAX_BODY[Kind.VERDICT]:
        raise RecordError(f"verdict has {len(body)} bytes, more than {MAX_BODY[Kind.VERDICT]}")
    try:
        fields = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RecordError(f"verdict: {error}") from error
    down, mute = _keys(fields.d), _keys(fields.m)
    if len(fields.n) != len(down) + len(mute):
        raise RecordError(f"verdict accuses {len(down) + len(mute)} nodes but has {len(fields.n)} numbers")
    accused = {key: Accusation(number) for key, number in zip(down, fields.n)}
    accused |= {key: Accusation(number, mute=True) for key, number in zip(mute, fields.n[len(down) :])}
    if len(accused) != len(fields.n):
        raise RecordError("verdict: a node key is there twice")
    return accused


def _keys(joined: bytes) -> list[bytes]:
    if len(joined) % KEY_SIZE:
        raise RecordError(f"verdict: node keys have {KEY_SIZE} bytes")
    return [joined[start : start + KEY_SIZE] for start in range(0, len(joined), KEY_SIZE)]


class Accusations:
    """Who accuses whom. An accusation older than the accused's present number is void."""

    def __init__(self) -> None:
        self._by_writer: dict[bytes, Mapping[bytes, Accusation]] = {}
        self._by_accused: dict[bytes, dict[bytes, Accusation]] = {}

    def replace(self, writer: bytes, accused: Mapping[bytes, Accusation]) -> bool:
        """Take a writer's verdict in place of its former one; says whether it is another."""
        if self._by_writer.get(writer, {}) == accused:
            return False
        for key in self._by_writer.pop(writer, ()):
            writers = self._by_accused[key]
            del writers[writer]
            if not writers:
                del self._by_accused[key]
        if accused:
            self._by_writer[writer] = accused
            for key, accusation in accused.items():
                self._by_accused.setdefault(key, {})[writer] = accusation
        return True

    def accused(self) -> list[bytes]:
        """Every node that any writer accuses, void or not."""
        return list(self._by_accused)

    def against(self, key: bytes, number: int) -> dict[bytes, Accusation]:
        """The accusations against a node whose entry has this number, by writer."""
        writers = self._by_accused.get(key)
        if not writers:
            return {}
        return {writer: said for writer, said in writers.items() if said.number >= number}
