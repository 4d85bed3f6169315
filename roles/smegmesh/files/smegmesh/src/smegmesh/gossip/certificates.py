"""The certificates of a mesh's writers, by fingerprint, and what waits for one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Generic, TypeVar

from smegmesh.identity.certificate import Authority, NodeCertificate

T = TypeVar("T")


class Certificates:
    """Verified certificates; each is verified once."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._known: dict[bytes, NodeCertificate] = {}
        self._relayed: set[bytes] = set()

    def __contains__(self, fingerprint: bytes) -> bool:
        return fingerprint in self._known

    def get(self, fingerprint: bytes) -> NodeCertificate | None:
        return self._known.get(fingerprint)

    def add(self, certificate: NodeCertificate) -> bool:
        """Take a verified certificate; says whether it was new."""
        new = certificate.fingerprint not in self._known
        self._known.setdefault(certificate.fingerprint, certificate)
        return new

    def read(self, der: bytes) -> NodeCertificate | None:
        """Verify and take a certificate; None if it was known. Raises CertificateError."""
        if sha256(der).digest() in self._known:
            return None
        certificate = self._authority.verify(der)
        self.add(certificate)
        return certificate

    def load(self, stored: Mapping[bytes, bytes]) -> None:
        """Take what an earlier run kept; raises CertificateError."""
        for der in stored.values():
            certificate = self._authority.verify(der)
            self.add(certificate)
            self._relayed.add(certificate.fingerprint)

    def first_relay(self, fingerprint: bytes) -> bool:
        """Whether nothing under this certificate was relayed yet; it then travels along, once."""
        if fingerprint in self._relayed or fingerprint not in self._known:
            return False
        self._relayed.add(fingerprint)
        return True


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
