"""Removals: the evidence that moves a node's horizon.

| kind | evidence | horizon |
| --- | --- | --- |
| leave | the node's own signed leave header (its body is empty) | every number up to the leave's |
| prune | the signed header of the entry it covers | that header's order |
| revoke | what the authority signed | infinite |

A prune needs no signature of whoever made it: it covers no more than the entry it
embeds, and its node refutes it by a higher one. Two removals of one horizon are equal
in the map, whatever their evidence.

Bytes: the MessagePack array `[kind, header, signature]`, for a revocation
`[kind, node key, revocation]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256

import msgspec

from smegmesh.crdt.order import INFINITE, Order, through
from smegmesh.crdt.record import KEY_SIZE, Kind, Record, RecordError, SignedHeader, check_mesh, decode_header, unpack
from smegmesh.identity.certificate import Authority, NodeCertificate
from smegmesh.identity.revocation import read_revocation

MAX_REMOVAL = 2048


class Cause(IntEnum):
    """Why a node is removed."""

    LEAVE = 1
    PRUNE = 2
    REVOKE = 3


class _Fields(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    cause: Cause
    first: bytes
    second: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Fields)
_EMPTY = sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Removal:
    """What removes `node_key` up to `horizon`; unverified until `check` passes.

    `evidence` is the signed header of a leave or prune, the bytes of a revocation.
    """

    cause: Cause
    node_key: bytes
    horizon: Order
    evidence: SignedHeader | bytes

    @property
    def certificate(self) -> bytes | None:
        """Fingerprint of the certificate that `check` needs; None for a revocation."""
        return self.evidence.certificate if isinstance(self.evidence, SignedHeader) else None

    @property
    def seen(self) -> bytes:
        """SHA-256 of all bytes: the key of duplicate suppression."""
        return sha256(self.encode()).digest()

    def encode(self) -> bytes:
        """The exact bytes that travel and are stored."""
        if isinstance(self.evidence, SignedHeader):
            return _encoder.encode(_Fields(self.cause, self.evidence.header, self.evidence.signature))
        return _encoder.encode(_Fields(self.cause, self.node_key, self.evidence))

    def check(self, mesh_id: str, certificate: NodeCertificate | None, authority: Authority) -> None:
        """Raise RecordError unless the removal is for this mesh and signed by who may.

        `certificate` is the (verified) one that `self.certificate` names; None for a revocation.
        """
        if isinstance(self.evidence, SignedHeader):
            if certificate is None:
                raise RecordError(f"certificate {self.evidence.certificate.hex()} is not known")
            self.evidence.check(mesh_id, certificate)
        else:
            self._check_revocation(self.evidence, mesh_id, authority)

    def _check_revocation(self, evidence: bytes, mesh_id: str, authority: Authority) -> None:
        try:
            revocation = read_revocation(authority, evidence)
        except ValueError as error:
            raise RecordError(f"revocation: {error}", "signature") from error
        check_mesh(revocation.mesh_id, mesh_id)
        if revocation.node_key != self.node_key:
            raise RecordError("revocation is of another node key than the one it is sent for")


def leave(record: Record) -> Removal:
    """The removal that a leave record is."""
    return _from_header(Cause.LEAVE, record)


def prune(record: SignedHeader) -> Removal:
    """The removal of an entry's node, up to this entry."""
    return _from_header(Cause.PRUNE, record)


def revoke(node_key: bytes, revocation: bytes) -> Removal:
    """The removal of a node for good, by the authority's signed revocation."""
    return Removal(Cause.REVOKE, node_key, INFINITE, revocation)


def decode_removal(data: bytes) -> Removal:
    """Read a removal's bytes; nothing is verified. Raises RecordError."""
    if len(data) > MAX_REMOVAL:
        raise RecordError(f"removal has {len(data)} bytes, more than {MAX_REMOVAL}", "oversize")
    fields = unpack("removal", _decoder, data)
    if _encoder.encode(fields) != data:
        raise RecordError("removal is not in canonical MessagePack", "malformed")
    if fields.cause is not Cause.REVOKE:
        return _from_header(fields.cause, decode_header(fields.first, fields.second))
    if len(fields.first) != KEY_SIZE:
        raise RecordError(f"removal: a node key has {KEY_SIZE} bytes, not {len(fields.first)}")
    return revoke(fields.first, fields.second)


def _from_header(cause: Cause, signed: SignedHeader) -> Removal:
    """Keeps the header alone, not the body of the record it came with."""
    expected = Kind.LEAVE if cause is Cause.LEAVE else Kind.ENTRY
    if signed.kind is not expected:
        raise RecordError(
            f"removal: a {cause.name.lower()} embeds the header of kind {expected.name.lower()}, "
            f"not of kind {signed.kind.name.lower()}"
        )
    if cause is Cause.LEAVE and signed.body_hash != _EMPTY:
        raise RecordError("a leave has no body")
    horizon = through(signed.number) if cause is Cause.LEAVE else signed.order
    return Removal(cause, signed.node_key, horizon, decode_header(signed.header, signed.signature))
