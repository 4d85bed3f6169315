"""The certificates of a mesh's writers, and what waits for one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Generic, TypeVar

from smegmesh.crdt.held import Held
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.removal import Removal
from smegmesh.gossip.sharing import Owners, Statement
from smegmesh.identity.certificate import Authority, NodeCertificate, NotIssued

T = TypeVar("T")


class Certificates:
    """Verified certificates: those of the statements in the map, and those that none of them is under."""

    def __init__(self, authority: Authority, mesh: MeshMap, owners: Owners) -> None:
        self._authority = authority
        self._map = mesh
        self._owners = owners
        self._loose: dict[bytes, NodeCertificate] = {}

    def copy(self, mesh: MeshMap) -> Certificates:
        """The same certificates beside a copy of the map."""
        copy = Certificates(self._authority, mesh, self._owners)
        copy._loose = self._loose.copy()
        return copy

    def get(self, node_key: bytes, fingerprint: bytes) -> NodeCertificate | None:
        """The certificate of this fingerprint, which a record of the node names.

        It is another node's where the record lies: to be refused, not to wait for what nobody can send.
        """
        return self.at(self._map.get(node_key), fingerprint)

    def at(self, held: Held | None, fingerprint: bytes) -> NodeCertificate | None:
        """The same of a node of which the map holds this."""
        return _certificate_in(held, fingerprint) or self._find(fingerprint)

    def _find(self, fingerprint: bytes) -> NodeCertificate | None:
        loose = self._loose.get(fingerprint)
        if loose is not None:
            return loose
        owner = self._owners.get(fingerprint)
        return None if owner is None else _certificate_in(self._map.get(owner), fingerprint)

    def under(self, statements: Iterable[Statement]) -> dict[bytes, NodeCertificate]:
        """The certificates that these statements are under, by fingerprint."""
        found = {}
        for statement in statements:
            raw = statement if isinstance(statement, Removal) else statement.record
            certificate = None if raw.certificate is None else self.get(raw.node_key, raw.certificate)
            if certificate is not None:
                found[certificate.fingerprint] = certificate
        return found

    def add(self, certificate: NodeCertificate) -> None:
        """Take a verified certificate."""
        self._owners.put(certificate.fingerprint, certificate.grant.node_key)
        if _certificate_in(self._map.get(certificate.grant.node_key), certificate.fingerprint) is None:
            self._loose[certificate.fingerprint] = certificate

    def read(self, der: bytes) -> NodeCertificate | None:
        """Verify and take a certificate; None if it was at hand. Raises CertificateError."""
        if self._find(sha256(der).digest()) is not None:
            return None
        certificate = self._authority.verify(der)
        self.add(certificate)
        return certificate

    def load(self, stored: Mapping[bytes, bytes]) -> Iterable[bytes]:
        """Take what an earlier run kept, but for what an authority issued that is not trusted any more.

        The fingerprints of these are returned. Raises CertificateError.
        """
        for fingerprint, der in stored.items():
            try:
                self.add(self._authority.verify(der))
            except NotIssued:
                yield fingerprint

    def drop_replaced(self) -> tuple[bytes, ...]:
        """Let go those that nothing in the map is under, once what is stored was taken; returns their fingerprints."""
        removed = {removal.certificate for removal in self._map.removals.values()}
        replaced = tuple(fingerprint for fingerprint in self._loose if fingerprint not in removed)
        for fingerprint in replaced:
            del self._loose[fingerprint]
        return replaced

    def used(self, before: Held | None, after: Held, certificate: NodeCertificate) -> bool:
        """Something under a certificate was merged; says whether it is the first of its node.

        The map has it then. One that only a removal names is kept here, as entries may go on
        under another while newcomers still have to verify the removal.
        """
        fingerprint = certificate.fingerprint
        if _removed_under(after, fingerprint):
            self._loose[fingerprint] = certificate
        elif fingerprint in self._loose:
            del self._loose[fingerprint]
        return not _removed_under(before, fingerprint) and _certificate_in(before, fingerprint) is None


def _removed_under(held: Held | None, fingerprint: bytes) -> bool:
    return held is not None and held.removal is not None and held.removal.certificate == fingerprint


def _certificate_in(held: Held | None, fingerprint: bytes) -> NodeCertificate | None:
    if held is not None:
        if held.entry is not None and held.entry.certificate.fingerprint == fingerprint:
            return held.entry.certificate
        if held.verdict is not None and held.verdict.certificate.fingerprint == fingerprint:
            return held.verdict.certificate
    return None


#: What a waiting thing costs beside its own bytes, about.
_OVERHEAD = 1024


class Waiting(Generic[T]):
    """Things that wait for a certificate, the oldest given up when they have more than `limit` bytes together.

    They are not verified yet: whoever is certified can send any number of them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._things: OrderedDict[bytes, dict[bytes, tuple[int, T]]] = OrderedDict()
        self._bytes = 0

    def put(self, fingerprint: bytes, key: bytes, size: int, thing: T) -> None:
        """Let a thing of `size` bytes wait; one of equal key replaces it."""
        things = self._things.setdefault(fingerprint, {})
        old, _thing = things.get(key, (0, None))
        things[key] = size + _OVERHEAD, thing
        self._bytes += size + _OVERHEAD - old
        while self._bytes > self._limit:
            self._forget(self._things.popitem(last=False)[1])

    def take(self, fingerprint: bytes) -> list[T]:
        """What waited for this certificate."""
        things = self._things.pop(fingerprint, {})
        self._forget(things)
        return [thing for _size, thing in things.values()]

    def __len__(self) -> int:
        return sum(map(len, self._things.values()))

    def _forget(self, things: Mapping[bytes, tuple[int, T]]) -> None:
        self._bytes -= sum(size for size, _thing in things.values())
