"""Signed records: what is signed, what is refused, what a certificate must say."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest

from crdt_nodes import MESH, Node
from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.record import MAX_BODY, Kind, Record, RecordError, decode_header, decode_record
from smegmesh.identity.certificate import NodeCertificate

NODE = Node("a1")
RECORD = NODE.sign(Kind.ENTRY, 7, b"body", instance=b"instance")


def test_exact_bytes_come_back() -> None:
    again = decode_record(RECORD.header, RECORD.signature, RECORD.body)
    assert again == RECORD
    assert (again.mesh_id, again.node_key, again.number, again.instance) == (MESH, NODE.key, 7, b"instance")
    assert again.certificate == NODE.certificate.fingerprint


def test_order_and_seen_are_hashes_of_the_signed_and_of_all_bytes() -> None:
    assert RECORD.order == (7, sha256(RECORD.header).digest())
    assert RECORD.seen == sha256(RECORD.header + RECORD.signature + RECORD.body).digest()


def test_header_is_the_documented_array_and_the_signature_covers_it_in_context() -> None:
    fields = msgspec.msgpack.decode(RECORD.header)
    assert fields == [
        1,
        1,
        MESH,
        NODE.key,
        7,
        b"instance",
        NODE.certificate.fingerprint,
        sha256(b"body").digest(),
    ]
    assert RECORD.signature == NODE.identity.sign(b"smegmesh/record\0" + RECORD.header)


def test_only_the_writers_key_verifies() -> None:
    assert RECORD.verify(NODE.identity.public)
    assert not RECORD.verify(Node("a2").identity.public)


def test_another_body_is_refused() -> None:
    with pytest.raises(RecordError, match="hash"):
        decode_record(RECORD.header, RECORD.signature, b"Body")


def changed(**changes: object) -> bytes:
    names = ["version", "kind", "mesh", "node_key", "number", "instance", "certificate", "body_hash"]
    fields = dict(zip(names, msgspec.msgpack.decode(RECORD.header), strict=True)) | changes
    return msgspec.msgpack.encode(list(fields.values()))


@pytest.mark.parametrize(
    "header",
    [
        changed(version=2),
        changed(kind=4),
        changed(kind="entry"),
        changed(mesh=""),
        changed(mesh="m" * 254),
        changed(mesh="\u20ac" * 253),
        changed(node_key=bytes(31)),
        changed(number=0),
        changed(number=-1),
        changed(number=MAX_NUMBER + 1),
        changed(number=1.0),
        changed(instance=bytes(9)),
        changed(certificate=b""),
        changed(more=1),
        b"\xdc\x00\x08" + RECORD.header[1:],
        RECORD.header + b"\0",
        RECORD.header[:-1],
        b"",
        b"\x91" * 400,
        bytes(600),
    ],
    ids=lambda header: header[:12].hex(),
)
def test_a_header_that_is_not_exactly_right_is_refused(header: bytes) -> None:
    with pytest.raises(RecordError, match="header"):
        decode_header(header, RECORD.signature)


def test_the_last_number_is_a_number() -> None:
    assert NODE.sign(Kind.ENTRY, MAX_NUMBER).number == MAX_NUMBER


def test_a_signature_has_64_bytes() -> None:
    with pytest.raises(RecordError, match="signature has 63"):
        decode_header(RECORD.header, RECORD.signature[:-1])


@pytest.mark.parametrize("kind", Kind)
def test_a_body_may_be_as_long_as_its_kind_allows(kind: Kind) -> None:
    assert NODE.sign(kind, 1, bytes(MAX_BODY[kind])).kind is kind
    with pytest.raises(RecordError, match=f"body of a {kind.name.lower()}"):
        NODE.sign(kind, 1, bytes(MAX_BODY[kind] + 1))


def test_check_accepts_what_the_certificate_allows() -> None:
    RECORD.check(MESH, NODE.certificate)
    anywhere = Node("a1", meshes=("*",))
    anywhere.sign(Kind.LEAVE, 1).check(MESH, anywhere.certificate)


STRANGER = Node("s", meshes=("office",))
THIEF = Node("t", identity=NODE.identity)


@pytest.mark.parametrize(
    ("record", "mesh", "certificate", "what"),
    [
        (RECORD, "office", NODE.certificate, "belongs to mesh 'prod'"),
        (RECORD, MESH, Node("a1").certificate, "names certificate"),
        (STRANGER.sign(Kind.ENTRY, 1), MESH, STRANGER.certificate, "does not grant mesh"),
        (THIEF.sign(Kind.ENTRY, 1), MESH, NODE.certificate, "another node key"),
        (decode_record(RECORD.header, bytes(64), RECORD.body), MESH, NODE.certificate, "signature"),
    ],
)
def test_check_refuses(record: Record, mesh: str, certificate: NodeCertificate, what: str) -> None:
    with pytest.raises(RecordError, match=what):
        record.check(mesh, certificate)
