"""Removals: evidence, horizons, and who may make which."""

from __future__ import annotations

import msgspec
import pytest

from crdt_nodes import MESH, Node
from smegmesh.crdt.order import INFINITE, MAX_NUMBER, through
from smegmesh.crdt.record import Kind, RecordError
from smegmesh.crdt.removal import Cause, Removal, decode_removal, leave, prune, revoke
from smegmesh.identity.certificate import Authority, make_authority
from smegmesh.identity.revocation import make_revocation

NODE = Node("a1")
ENTRY = NODE.says(5).record
LEAVE = NODE.sign(Kind.LEAVE, 6)
AUTHORITY_PEM, AUTHORITY_KEY = make_authority("ours", 1, now=0)
AUTHORITY = Authority(AUTHORITY_PEM)
REVOCATION = make_revocation(AUTHORITY_KEY, MESH, NODE.key)
ALL = [leave(LEAVE), prune(ENTRY), revoke(NODE.key, REVOCATION)]


@pytest.mark.parametrize("removal", ALL, ids=lambda removal: removal.cause.name)
def test_a_removal_comes_back_and_passes_its_check(removal: Removal) -> None:
    again = decode_removal(removal.encode())
    assert again == removal
    assert again.encode() == removal.encode()
    assert again.seen == removal.seen
    again.check(MESH, NODE.certificate if again.certificate else None, AUTHORITY)


def test_horizons() -> None:
    assert prune(ENTRY).horizon == ENTRY.order
    assert leave(LEAVE).horizon == through(6) > NODE.sign(Kind.ENTRY, 6).order > through(5)
    assert NODE.sign(Kind.ENTRY, 7).order > leave(LEAVE).horizon
    assert revoke(NODE.key, REVOCATION).horizon == INFINITE > through(MAX_NUMBER)


def test_a_prune_keeps_no_body() -> None:
    assert not hasattr(prune(ENTRY).evidence, "body")
    assert len(prune(ENTRY).encode()) < 300


def test_evidence_must_be_of_the_right_kind() -> None:
    with pytest.raises(RecordError, match="embeds the header of kind entry"):
        prune(LEAVE)
    with pytest.raises(RecordError, match="embeds the header of kind leave"):
        leave(ENTRY)
    wrong = msgspec.msgpack.encode([Cause.PRUNE, LEAVE.header, LEAVE.signature])
    with pytest.raises(RecordError, match="embeds"):
        decode_removal(wrong)


def test_only_the_node_itself_leaves() -> None:
    forged = msgspec.msgpack.encode([Cause.LEAVE, LEAVE.header, bytes(64)])
    with pytest.raises(RecordError, match="signature"):
        decode_removal(forged).check(MESH, NODE.certificate, AUTHORITY)
    with pytest.raises(RecordError, match="is not known"):
        leave(LEAVE).check(MESH, None, AUTHORITY)
    with pytest.raises(RecordError, match="mesh"):
        leave(LEAVE).check("office", NODE.certificate, AUTHORITY)


def test_only_the_authority_revokes_and_only_the_node_it_names() -> None:
    other = Authority(make_authority("theirs", 1, now=0)[0])
    with pytest.raises(RecordError, match="theirs"):
        revoke(NODE.key, REVOCATION).check(MESH, None, other)
    with pytest.raises(RecordError, match="mesh"):
        revoke(NODE.key, REVOCATION).check("office", None, AUTHORITY)
    with pytest.raises(RecordError, match="another node key"):
        revoke(Node("a2").key, REVOCATION).check(MESH, None, AUTHORITY)
    with pytest.raises(RecordError, match="revocation"):
        revoke(NODE.key, b"nonsense").check(MESH, None, AUTHORITY)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x93",
        leave(LEAVE).encode() + b"\0",
        b"\xdc\x00\x03" + leave(LEAVE).encode()[1:],
        msgspec.msgpack.encode([4, b"", b""]),
        msgspec.msgpack.encode([Cause.REVOKE, bytes(31), REVOCATION]),
        msgspec.msgpack.encode([Cause.REVOKE, bytes(32), bytes(4096)]),
        msgspec.msgpack.encode([Cause.LEAVE, LEAVE.header, LEAVE.signature, 1]),
    ],
)
def test_bytes_that_are_no_removal_are_refused(bad: bytes) -> None:
    with pytest.raises(RecordError, match="removal"):
        decode_removal(bad)
