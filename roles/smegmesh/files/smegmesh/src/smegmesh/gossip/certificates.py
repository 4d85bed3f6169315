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


class Waiting(Generic[T]):
    """Things that wait for a certificate, the oldest given up when there are too many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._things: OrderedDict[bytes, dict[bytes, T]] = OrderedDict()
        self._count = 0

    def put(self, fingerprint: bytes, key: bytes, thing: T) -> None:
        """Let a thing wait; one of equal key replaces it."""
        things = self._things.setdefault(fingerprint, {})
        self._count += key not in things
        things[key] = thing
        while self._count > self._limit:
            self._count -= len(self._things.popitem(last=False)[1])

    def take(self, fingerprint: bytes) -> list[T]:
        """What waited for this certificate."""
        things = self._things.pop(fingerprint, {})
        self._count -= len(things)
        return list(things.values())

    def __len__(self) -> int:
        return self._count
