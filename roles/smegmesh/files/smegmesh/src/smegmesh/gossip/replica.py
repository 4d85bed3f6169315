"""The replica: the maps of the mesh behind the checks that everything passes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from smegmesh.crdt.held import Held, MapKind
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.order import Order
from smegmesh.crdt.record import Kind, Record, RecordError, check_mesh, decode_record
from smegmesh.crdt.removal import Removal, decode_removal, leave
from smegmesh.crdt.statement import SignedEntry, SignedVerdict, accept_entry, accept_verdict
from smegmesh.gossip.certificates import Certificates, Waiting
from smegmesh.gossip.codec import Slot
from smegmesh.gossip.sharing import Sharing, Statement, Triple
from smegmesh.identity.certificate import Authority, NodeCertificate

_WAITING = 16 * 1024 * 1024  # bytes
_REFUSED = 20  # of what waited for one certificate, a link

_decode_triple = msgspec.msgpack.Decoder(Triple).decode
_encode_triple = msgspec.msgpack.Encoder().encode

Raw = Record | Removal


@dataclass(frozen=True, slots=True)
class Source:
    """Whence something came: a link (None: this node itself), as news or as the answer to a comparison."""

    link: int | None
    sync: bool


OWN = Source(None, False)


@dataclass(frozen=True, slots=True)
class Change:
    """A slot has another content. `first`: the certificate of the statement, if it is the first under it."""

    source: Source
    slot: Slot
    statement: Statement
    before: Held | None
    after: Held
    first: NodeCertificate | None


@dataclass(frozen=True, slots=True)
class Refused:
    """What had waited for its certificate was bad."""

    source: Source
    error: RecordError


@dataclass(frozen=True, slots=True)
class Missing:
    """A statement waits for this certificate of its writer."""

    node_key: bytes
    fingerprint: bytes


class Replica:
    """What this node knows of the mesh. Nothing changes before it is verified.

    What is taken ends in a Change or in Missing, or says nothing new: then in its slot if it is what the map holds,
    counted as a `duplicate`, or in None, counted as `stale`, if that is higher.
    """

    def __init__(
        self,
        mesh: MeshMap,
        certificates: Certificates,
        authority: Authority,
        sharing: Sharing,
        counters: Counter[str] | None = None,
    ) -> None:
        self.map = mesh
        self.certificates = certificates
        self._authority = authority
        self._memo = sharing.memo
        self._counters: Counter[str] = Counter() if counters is None else counters
        self._waiting: Waiting[tuple[Raw, Source]] = Waiting(_WAITING)

    def take_record(self, triple: Triple, source: Source) -> Change | Missing | Slot | None:
        """Take a record off the wire. Raises RecordError."""
        known = self._memo.get(triple)
        return self.take(decode_record(*triple) if known is None else _raw(known), source, triple, known)

    def take_removal(self, data: bytes, source: Source) -> Change | Missing | Slot | None:
        """Take a removal off the wire. Raises RecordError."""
        known = self._memo.get(data)
        return self.take(decode_removal(data) if known is None else _raw(known), source, data, known)

    def take(
        self, raw: Raw, source: Source = OWN, wire: Triple | bytes | None = None, known: Statement | None = None
    ) -> Change | Missing | Slot | None:
        """Verify and merge. Raises RecordError.

        `wire` are its bytes as they came; `known` is what they were verified as before, which does
        not say that the certificate is at hand here.
        """
        held = self.map.get(raw.node_key)
        if held is not None and known is not None and (known is held.entry or known is held.verdict):
            return self._known(source, Slot(MapKind.ENTRY if known is held.entry else MapKind.VERDICT, raw.node_key))
        if isinstance(raw, Record):
            check_mesh(raw.mesh_id, self.map.mesh_id)
            if wire is None:
                wire = raw.triple
                known = self._memo.get(wire)
            if raw.kind is Kind.LEAVE:
                raw = leave(raw)
        kind, order = _kind(raw), _order(raw)
        highest = None if held is None else held.order(kind)
        if highest is not None and order <= highest:
            return self._known(source, Slot(kind, raw.node_key) if order == highest else None)
        certificate = None
        if raw.certificate is not None:
            certificate = self.certificates.at(held, raw.certificate)
            if certificate is None:
                self._waiting.put(raw.certificate, raw.seen, size_of(raw), (raw, source))
                return Missing(raw.node_key, raw.certificate)
        statement = self._verify(raw, certificate) if known is None else known
        change = self._merge(statement, source, held, certificate)
        if known is None and wire is not None:
            self._memo.put(wire, statement)
        return change

    def take_certificate(self, der: bytes) -> list[Change | Refused]:
        """Take a certificate off the wire, and what waited for it, as `release`. Raises CertificateError."""
        certificate = self.certificates.read(der)
        return [] if certificate is None else self.release(certificate.fingerprint)

    def release(self, fingerprint: bytes) -> list[Change | Refused]:
        """Take what waited for a certificate that is known now; returns what became of it.

        Of a link that sent so many bad ones, the rest is given up: each costs the check of a signature.
        """
        results: list[Change | Refused] = []
        bad: Counter[int | None] = Counter()
        for raw, source in self._waiting.take(fingerprint):
            if bad[source.link] == _REFUSED:
                continue
            try:
                change = self.take(raw, source)
            except RecordError as error:
                bad[source.link] += 1
                results.append(Refused(source, error))
            else:
                if isinstance(change, Change):
                    results.append(change)
        return results

    def statement(self, slot: Slot) -> Statement | None:
        """What a slot holds."""
        held = self.map.get(slot.key)
        if held is None:
            return None
        if slot.kind is MapKind.ENTRY:
            return held.entry
        return held.verdict if slot.kind is MapKind.VERDICT else held.removal

    def load(self, stored: Iterable[tuple[bytes, bytes]]) -> Iterable[Change | bytes]:
        """Take what an earlier run kept; certificates come first. Raises RecordError.

        What is under a certificate that is not known, and a revocation by an authority that is not trusted any more, is
        left out, and its slot returned: with its authority goes all that it said.
        """
        for slot, data in stored:
            raw: Raw
            if slot[:1] == bytes([MapKind.ENTRY]):
                try:
                    raw = decode_record(*_decode_triple(data))
                except msgspec.MsgspecError as error:
                    raise RecordError(f"stored record: {error}") from error
            else:
                raw = decode_removal(data)
                if raw.certificate is None and not self._revokes(raw):
                    yield slot
                    continue
            change = self.take(raw)
            if isinstance(change, Change):
                yield change
            elif isinstance(change, Missing):
                yield slot

    def _revokes(self, removal: Removal) -> bool:
        try:
            removal.check(self.map.mesh_id, None, self._authority)
        except RecordError:
            return False
        return True

    def _known(self, source: Source, slot: Slot | None) -> Slot | None:
        """Count what says nothing new."""
        if source.link is not None:
            self._counters["stale" if slot is None else "duplicate"] += 1
        return slot

    def _verify(self, raw: Raw, certificate: NodeCertificate | None) -> Statement:
        if isinstance(raw, Removal):
            raw.check(self.map.mesh_id, certificate, self._authority)
            return raw
        assert certificate is not None
        accept = accept_entry if raw.kind is Kind.ENTRY else accept_verdict
        return accept(raw, self.map.mesh_id, certificate)

    def _merge(
        self, statement: Statement, source: Source, before: Held | None, certificate: NodeCertificate | None
    ) -> Change:
        if isinstance(statement, SignedEntry):
            kind, after = MapKind.ENTRY, self.map.merge_entry(statement)
        elif isinstance(statement, SignedVerdict):
            kind, after = MapKind.VERDICT, self.map.merge_verdict(statement)
        else:
            kind, after = MapKind.REMOVAL, self.map.merge_removal(statement)
        assert after is not None
        first = certificate is not None and self.certificates.used(before, after, certificate)
        return Change(source, Slot(kind, after.key), statement, before, after, certificate if first else None)


def size_of(raw: Raw) -> int:
    """Bytes that a record or removal has on the wire."""
    if isinstance(raw, Record):
        return len(raw.header) + len(raw.signature) + len(raw.body)
    return len(raw.encode())


def stored_slot(kind: MapKind, key: bytes) -> bytes:
    """The name under which a slot is stored."""
    return bytes([kind]) + key


def encode_record(record: Record) -> bytes:
    """A record as it is stored."""
    return _encode_triple(record.triple)


def slot_of(statement: Statement) -> Slot:
    """The slot that a statement is for."""
    raw = _raw(statement)
    return Slot(_kind(raw), raw.node_key)


def by_slot(statements: Iterable[Statement]) -> dict[MapKind, dict[bytes, Statement]]:
    """Statements by the slots that they are for, of each the last."""
    found: dict[MapKind, dict[bytes, Statement]] = {}
    for statement in statements:
        slot = slot_of(statement)
        found.setdefault(slot.kind, {})[slot.key] = statement
    return found


def stored_bytes(statement: Statement) -> bytes:
    """The content under which it is stored."""
    if isinstance(statement, Removal):
        return statement.encode()
    return encode_record(statement.record)


def _raw(statement: Statement) -> Raw:
    return statement if isinstance(statement, Removal) else statement.record


def _order(raw: Raw) -> Order:
    return raw.horizon if isinstance(raw, Removal) else raw.order


def _kind(raw: Raw) -> MapKind:
    if isinstance(raw, Removal):
        return MapKind.REMOVAL
    return MapKind.ENTRY if raw.kind is Kind.ENTRY else MapKind.VERDICT
