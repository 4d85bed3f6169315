"""Revocations: the authority's word about a node, as a line of text."""

from __future__ import annotations

import pytest

from smegmesh.identity.certificate import Authority, make_authority
from smegmesh.identity.keys import encode_key
from smegmesh.identity.revocation import Revocation, make_revocation, read_revocation

NODE_KEY = bytes(range(32))
PEM, KEY = make_authority("default", 1, now=1_800_000_000)
AUTHORITY = Authority(PEM)
LINE = make_revocation(KEY, "prod", NODE_KEY)


def test_what_is_made_is_read() -> None:
    assert read_revocation(AUTHORITY, LINE) == Revocation("prod", NODE_KEY)
    assert LINE.startswith(b"smegmesh-revocation-1 prod " + encode_key(NODE_KEY).encode() + b" ")
    assert make_revocation(KEY, "prod", NODE_KEY) == LINE


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "expected one line"),
        (b"\xff" + LINE, "expected one line"),
        (LINE * 2, "expected one line"),
        (LINE[:-1], "canonical form"),
        (LINE + b"\n", "canonical form"),
        (LINE.replace(b"-1 ", b"-2 ", 1), "begins with 'smegmesh-revocation-2'"),
        (LINE.replace(b" prod ", b" Prod "), "mesh id 'Prod'"),
        (LINE.replace(b" prod ", b" office "), "not signed by the authority 'default'"),
        (LINE.replace(encode_key(NODE_KEY).encode(), encode_key(bytes(32)).encode()), "not signed"),
        (make_revocation(make_authority("default", 1, now=0)[1], "prod", NODE_KEY), "not signed"),
    ],
)
def test_what_is_refused(line: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_revocation(AUTHORITY, line)


def test_what_is_not_made() -> None:
    with pytest.raises(ValueError, match="mesh id"):
        make_revocation(KEY, "", NODE_KEY)
    with pytest.raises(ValueError, match="32 bytes"):
        make_revocation(KEY, "prod", b"")
    with pytest.raises(ValueError, match="not a private key"):
        make_revocation(PEM, "prod", NODE_KEY)
