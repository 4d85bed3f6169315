"""Bodies of verdicts."""

from __future__ import annotations

import msgspec
import pytest

from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.record import MAX_BODY, Kind, RecordError
from smegmesh.crdt.verdict import MAX_ACCUSED, Accusation, decode_verdict, encode_verdict

A, B, C = (bytes([letter]) * 32 for letter in b"abc")


@pytest.mark.parametrize(
    "accused",
    [{}, {A: Accusation(1)}, {C: Accusation(3), B: Accusation(MAX_NUMBER, mute=True), A: Accusation(1)}],
)
def test_a_verdict_comes_back(accused: dict[bytes, Accusation]) -> None:
    assert decode_verdict(encode_verdict(accused)) == accused


def test_the_body_is_the_documented_map() -> None:
    body = encode_verdict({C: Accusation(3), B: Accusation(2, mute=True), A: Accusation(1)})
    assert msgspec.msgpack.decode(body) == {"d": A + C, "m": B, "n": [1, 3, 2]}
    assert encode_verdict({}) == b"\x80"


def test_the_largest_verdict_fits() -> None:
    accused = {number.to_bytes(32, "big"): Accusation(MAX_NUMBER) for number in range(MAX_ACCUSED)}
    body = encode_verdict(accused)
    assert len(body) < MAX_BODY[Kind.VERDICT]
    with pytest.raises(RecordError, match=f"{MAX_ACCUSED + 1} nodes"):
        encode_verdict({**accused, b"\xff" * 32: Accusation(1)})


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"d": A[:-1]}, "field d"),
        ({"m": B + A}, "field m are not in ascending order"),
        ({"d": A + A}, "ascending"),
        ({"d": A + B, "m": B, "n": [1, 1, 1]}, "both"),
        ({"d": A}, "1 nodes but has 0 numbers"),
        ({"d": A, "n": [1, 2]}, "1 nodes but has 2 numbers"),
        ({"d": A, "n": [-1]}, r"\.n"),
        ({"d": A, "n": [2**63]}, r"\.n"),
        ({"d": "text"}, r"\.d"),
    ],
)
def test_an_error_says_what_is_wrong(fields: dict[str, object], what: str) -> None:
    with pytest.raises(RecordError, match=what):
        decode_verdict(msgspec.msgpack.encode(fields))


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(RecordError, match="32"):
        encode_verdict({b"short": Accusation(1)})
    with pytest.raises(RecordError, match="32"):
        encode_verdict({bytes(31): Accusation(1), b"\xff" * 33: Accusation(1)})


def test_fields_of_newer_agents_are_no_error() -> None:
    assert decode_verdict(msgspec.msgpack.encode({"d": A, "n": [1], "zz": [1]})) == {A: Accusation(1)}
