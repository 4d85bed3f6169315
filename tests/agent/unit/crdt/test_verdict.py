"""Bodies of verdicts."""

from __future__ import annotations

import msgspec
import pytest

from smegmesh.crdt.record import MAX_BODY, Kind, RecordError
from smegmesh.crdt.verdict import MAX_ACCUSED, Verdict, decode_verdict, encode_verdict

A, B, C = (bytes([letter]) * 32 for letter in b"abc")


@pytest.mark.parametrize("verdict", [Verdict(), Verdict(frozenset([A])), Verdict(frozenset([C, A]), frozenset([B]))])
def test_a_verdict_comes_back(verdict: Verdict) -> None:
    assert decode_verdict(encode_verdict(verdict)) == verdict


def test_the_body_is_the_documented_map() -> None:
    body = encode_verdict(Verdict(frozenset([C, A]), frozenset([B])))
    assert msgspec.msgpack.decode(body) == {"d": A + C, "m": B}
    assert encode_verdict(Verdict()) == b"\x80"


def test_the_largest_verdict_fits() -> None:
    accused = frozenset(number.to_bytes(32, "big") for number in range(MAX_ACCUSED))
    body = encode_verdict(Verdict(accused))
    assert len(body) < MAX_BODY[Kind.VERDICT]
    with pytest.raises(RecordError, match=f"{MAX_ACCUSED + 1} nodes"):
        encode_verdict(Verdict(accused, frozenset([b"\xff" * 32])))


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"d": A[:-1]}, "field d"),
        ({"m": B + A}, "field m are not in ascending order"),
        ({"d": A + A}, "ascending"),
        ({"d": A + B, "m": B}, "both"),
        ({"d": "text"}, r"\.d"),
    ],
)
def test_an_error_says_what_is_wrong(fields: dict[str, object], what: str) -> None:
    with pytest.raises(RecordError, match=what):
        decode_verdict(msgspec.msgpack.encode(fields))


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(RecordError, match="32"):
        encode_verdict(Verdict(frozenset([b"short"])))


def test_fields_of_newer_agents_are_no_error() -> None:
    assert decode_verdict(msgspec.msgpack.encode({"d": A, "zz": [1]})) == Verdict(frozenset([A]))
