"""Signed records: what a node says, as the exact bytes that travel and are stored.

A record is three byte strings. The header is a MessagePack array

    [version, kind, mesh id, node key, number, instance, certificate, body hash]

with the SHA-256 fingerprint of the writer's certificate and the SHA-256 of the
body; the signature (Ed25519, the writer's identity key) is over
`b"smegmesh/record\\0" + header`; the body depends on the kind. A header alone thus
proves which number its node used, which is what removals embed.

Decoding is cheap and believes nobody; `SignedHeader.check` ties the signature to a
certificate. Bodies are read by `entry_codec` and `verdict`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Annotated, TypeVar

import msgspec

from smegmesh.crdt.fault import Fault, unpack_fault
from smegmesh.crdt.order import HASH_SIZE, MAX_NUMBER, Order
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.identity.keys import IdentityKey, verify

VERSION = 1
SIGNATURE_SIZE = 64
KEY_SIZE = 32
INSTANCE_SIZE = 8
MAX_HEADER = 512

_CONTEXT = b"smegmesh/record\0"


class RecordError(ValueError):
    """A record, body or removal is not what it should be; the text says what and why.

    It goes to logs and may quote anyone's bytes, so it is cut at `MAX_TEXT` characters.
    `fault` is one word for counters.
    """

    MAX_TEXT = 400

    def __init__(self, text: str, fault: Fault = "content") -> None:
        super().__init__(text if len(text) <= self.MAX_TEXT else text[: self.MAX_TEXT - 1] + "\u2026")
        self.fault = fault


T = TypeVar("T")


def unpack(what: str, decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    """Decode MessagePack from anyone. Whatever msgspec raises on bad bytes becomes a RecordError about `what`."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise RecordError(f"{what}: {error}", unpack_fault(error)) from error


class Kind(IntEnum):
    """What a record says."""

    ENTRY = 1
    LEAVE = 2
    VERDICT = 3


#: Bytes of a body. A verdict fits a frame (1 MiB), a leave has no body.
MAX_BODY = {Kind.ENTRY: 64 * 1024, Kind.LEAVE: 0, Kind.VERDICT: 768 * 1024}

_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
_Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_SIZE, max_length=HASH_SIZE)]


class _Fields(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    kind: Kind
    mesh_id: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    node_key: _Key
    number: Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
    instance: Annotated[bytes, msgspec.Meta(min_length=INSTANCE_SIZE, max_length=INSTANCE_SIZE)]
    certificate: _Hash
    body_hash: _Hash


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Fields)


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header and its signature: `header` is the array's exact bytes, the rest but `signature` is read from it."""

    header: bytes
    signature: bytes
    kind: Kind
    mesh_id: str
    node_key: bytes
    number: int
    instance: bytes
    certificate: bytes
    body_hash: bytes
    order: Order

    def verify(self, identity_public: bytes) -> bool:
        """Whether the signature is by this identity key."""
        return verify(identity_public, self.signature, _CONTEXT + self.header)

    def check(self, mesh_id: str, certificate: NodeCertificate) -> None:
        """Raise RecordError unless the certificate (already verified) allows its owner to say this here."""
        check_mesh(self.mesh_id, mesh_id)
        if certificate.fingerprint != self.certificate:
            raise RecordError(
                f"record names certificate {self.certificate.hex()}, not {certificate.fingerprint.hex()}", "certificate"
            )
        if certificate.grant.node_key != self.node_key:
            raise RecordError("record is about another node key than its certificate", "certificate")
        if not certificate.grant.allows_mesh(mesh_id):
            raise RecordError(
                f"the certificate of {certificate.grant.node_name} does not grant mesh {mesh_id}", "grant"
            )
        if not self.verify(certificate.identity_key):
            raise RecordError(f"signature is not by the identity key of {certificate.grant.node_name}", "signature")


@dataclass(frozen=True, slots=True)
class Record(SignedHeader):
    """A signed header and its body; nothing is verified but the body's hash."""

    body: bytes

    @property
    def triple(self) -> tuple[bytes, bytes, bytes]:
        """What travels."""
        return self.header, self.signature, self.body

    @property
    def seen(self) -> bytes:
        """SHA-256 of all bytes: the key of duplicate suppression."""
        return sha256(self.header + self.signature + self.body).digest()


def check_mesh(said: str, mesh_id: str) -> None:
    """Raise RecordError when something of mesh `said` turns up in mesh `mesh_id`."""
    if said != mesh_id:
        raise RecordError(f"belongs to mesh {said!r}, not to {mesh_id!r}", "mesh")


def sign_record(
    identity: IdentityKey,
    kind: Kind,
    mesh_id: str,
    node_key: bytes,
    number: int,
    instance: bytes,
    certificate: bytes,
    body: bytes = b"",
) -> Record:
    """Make a record. `certificate` is the fingerprint of the writer's. Raises RecordError on a bad value."""
    fields = _Fields(VERSION, kind, mesh_id, node_key, number, instance, certificate, sha256(body).digest())
    header = _encoder.encode(fields)
    return decode_record(header, identity.sign(_CONTEXT + header), body)


def decode_header(header: bytes, signature: bytes) -> SignedHeader:
    """Read a header, which must be canonical MessagePack; the signature is not verified. Raises RecordError."""
    return SignedHeader(header, signature, *_read(header, signature))


def decode_record(header: bytes, signature: bytes, body: bytes) -> Record:
    """Read a record; the body must match the header's hash, the signature is not verified. Raises RecordError."""
    record = Record(header, signature, *_read(header, signature), body)
    limit = MAX_BODY[record.kind]
    if len(body) > limit:
        raise RecordError(f"body of a {record.kind.name.lower()} has {len(body)} bytes, more than {limit}", "oversize")
    if sha256(body).digest() != record.body_hash:
        raise RecordError("body does not match the hash in the header", "body")
    return record


def _read(header: bytes, signature: bytes) -> tuple[Kind, str, bytes, int, bytes, bytes, bytes, Order]:
    """What a header says, in the order of SignedHeader's attributes."""
    if len(signature) != SIGNATURE_SIZE:
        raise RecordError(f"signature has {len(signature)} bytes, not {SIGNATURE_SIZE}", "signature")
    if len(header) > MAX_HEADER:
        raise RecordError(f"header has {len(header)} bytes, more than {MAX_HEADER}", "oversize")
    fields = unpack("header", _decoder, header)
    if _encoder.encode(fields) != header:
        raise RecordError("header is not in canonical MessagePack", "malformed")
    return (
        fields.kind,
        fields.mesh_id,
        fields.node_key,
        fields.number,
        fields.instance,
        fields.certificate,
        fields.body_hash,
        (fields.number, sha256(header).digest()),
    )
