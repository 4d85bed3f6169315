"""The replica: the maps of the mesh behind the checks that everything passes first."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from hashlib import sha256

import msgspec

from smegmesh.crdt.digest import MapKind
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.record import Kind, Record, RecordError, check_mesh, decode_record
from smegmesh.crdt.removal import Removal, decode_removal, leave
from smegmesh.crdt.statement import accept_entry, accept_verdict
from smegmesh.gossip.certificates import Certificates, Waiting
from smegmesh.gossip.codec import Slot
from smegmesh.identity.certificate import Authority, NodeCertificate

_SEEN = 65_536
_WAITING = 16 * 1024 * 1024  # bytes
_REFUSED = 20  # of what waited for one certificate, a link


Thing = Record | Removal
#: The link that something came from, and why it was not taken.
Refused = tuple[int | None, RecordError]
_Triple = tuple[bytes, bytes, bytes]
_encode_triple = msgspec.msgpack.Encoder().encode
_decode_triple = msgspec.msgpack.Decoder(_Triple).decode


def size_of(thing: Thing) -> int:
    """Bytes of what a slot holds, as it goes over the wire."""
    if isinstance(thing, Record):
        return len(thing.header) + len(thing.signature) + len(thing.body)
    return len(thing.encode())


class Replica:
    """What this node knows of the mesh. `on_change(slot, link)` is called after each change.

    Nothing changes before it is verified. `link` is where a change came from, None
    for the node's own; it is only handed through. What came and says nothing new is
    counted: `duplicate` if its bytes were taken before, `stale` if the map holds as much or more.
    """

    def __init__(
        self,
        mesh_id: str,
        authority: Authority,
        on_change: Callable[[Slot, int | None, bool], None],
        counters: Counter[str],
    ) -> None:
        self.map = MeshMap(mesh_id)
        self.certificates = Certificates(authority)
        self._authority = authority
        self._on_change = on_change
        self._counters = counters
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._waiting: Waiting[tuple[Thing, int | None, bool]] = Waiting(_WAITING)

    def take_record(self, triple: _Triple, link: int | None, sync: bool) -> bytes | None:
        """Take a record off the wire. Returns the fingerprint it waits for. Raises RecordError."""
        seen = sha256(b"".join(triple)).digest()
        if seen in self._seen:
            self._counters["duplicate"] += 1
            return None
        return self.take(decode_record(*triple), link, sync, seen)

    def take_removal(self, data: bytes, link: int | None, sync: bool) -> bytes | None:
        """Take a removal off the wire. Returns the fingerprint it waits for. Raises RecordError."""
        seen = sha256(data).digest()
        if seen in self._seen:
            self._counters["duplicate"] += 1
            return None
        return self.take(decode_removal(data), link, sync, seen)

    def take(self, thing: Thing, link: int | None, sync: bool = False, seen: bytes | None = None) -> bytes | None:
        """Verify and merge. Returns the fingerprint of a certificate that is missing. Raises RecordError."""
        if isinstance(thing, Record):
            check_mesh(thing.mesh_id, self.map.mesh_id)
            if thing.kind is Kind.LEAVE:
                thing = leave(thing)
        if not self._newer(thing):
            if link is not None:
                self._counters["stale"] += 1
            return None
        certificate = None if thing.certificate is None else self.certificates.get(thing.certificate)
        if certificate is None and thing.certificate is not None:
            self._waiting.put(thing.certificate, thing.seen, size_of(thing), (thing, link, sync))
            return thing.certificate
        slot = self._merge(thing, certificate)
        self._note(seen or thing.seen)
        if slot is not None:
            self._on_change(slot, link, sync)
        return None

    def take_certificate(self, der: bytes) -> list[Refused]:
        """Take a certificate off the wire, and what waited for it, as `release`. Raises CertificateError."""
        certificate = self.certificates.read(der)
        return [] if certificate is None else self.release(certificate.fingerprint)

    def release(self, fingerprint: bytes) -> list[Refused]:
        """Take what waited for a certificate that is known now; returns what was refused, and whence it was.

        Of a link that sent so many bad ones, the rest is given up: each costs the check of a signature.
        """
        refused: list[Refused] = []
        bad: Counter[int | None] = Counter()
        for thing, link, sync in self._waiting.take(fingerprint):
            if bad[link] == _REFUSED:
                continue
            try:
                self.take(thing, link, sync)
            except RecordError as error:
                bad[link] += 1
                refused.append((link, error))
        return refused

    def thing(self, slot: Slot) -> Thing | None:
        """What a slot holds."""
        if slot.kind is MapKind.ENTRY:
            entry = self.map.entries.get(slot.key)
            return None if entry is None else entry.record
        if slot.kind is MapKind.VERDICT:
            verdict = self.map.verdicts.get(slot.key)
            return None if verdict is None else verdict.record
        return self.map.removals.get(slot.key)

    def stored(self, slot: Slot) -> tuple[bytes, bytes] | None:
        """The slot and its content as `Persist` has them; verdicts are not kept over a restart."""
        thing = self.thing(slot)
        if thing is None or slot.kind is MapKind.VERDICT:
            return None
        name = bytes([slot.kind]) + slot.key
        if isinstance(thing, Removal):
            return name, thing.encode()
        return name, _encode_triple((thing.header, thing.signature, thing.body))

    def load(self, stored: Iterable[tuple[bytes, bytes]]) -> None:
        """Take what an earlier run kept; certificates come first. Raises RecordError."""
        for slot, data in stored:
            if slot[:1] == bytes([MapKind.ENTRY]):
                try:
                    self.take(decode_record(*_decode_triple(data)), None)
                except msgspec.MsgspecError as error:
                    raise RecordError(f"stored record: {error}") from error
            else:
                self.take(decode_removal(data), None)

    def _newer(self, thing: Thing) -> bool:
        if isinstance(thing, Removal):
            horizon = self.map.horizon(thing.node_key)
            return horizon is None or thing.horizon > horizon
        held = self.map.entries if thing.kind is Kind.ENTRY else self.map.verdicts
        old = held.get(thing.node_key)
        return old is None or thing.order > old.order

    def _merge(self, thing: Thing, certificate: NodeCertificate | None) -> Slot | None:
        if isinstance(thing, Removal):
            thing.check(self.map.mesh_id, certificate, self._authority)
            changed = self.map.merge_removal(thing).changed
            return Slot(MapKind.REMOVAL, thing.node_key) if changed else None
        assert certificate is not None
        if thing.kind is Kind.ENTRY:
            changed = self.map.merge_entry(accept_entry(thing, self.map.mesh_id, certificate)).changed
            return Slot(MapKind.ENTRY, thing.node_key) if changed else None
        changed = self.map.merge_verdict(accept_verdict(thing, self.map.mesh_id, certificate)).changed
        return Slot(MapKind.VERDICT, thing.node_key) if changed else None

    def _note(self, seen: bytes) -> None:
        self._seen[seen] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)
