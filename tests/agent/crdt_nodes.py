"""Nodes that sign, for tests of what the maps do with signed records."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.order import Order
from smegmesh.crdt.record import Kind, Record, sign_record
from smegmesh.crdt.statement import SignedEntry, SignedVerdict, accept_entry, accept_verdict
from smegmesh.crdt.verdict import Accusation, encode_verdict
from smegmesh.identity.certificate import Grant, NodeCertificate
from smegmesh.identity.keys import IdentityKey

MESH = "prod"


@dataclass
class Node:
    """A node with an identity key and a certificate (as if verified) that names it `name`."""

    name: str
    meshes: tuple[str, ...] = (MESH,)
    bridges: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    identity: IdentityKey = field(default_factory=IdentityKey.generate)

    @cached_property
    def key(self) -> bytes:
        return sha256(self.name.encode()).digest()

    @cached_property
    def certificate(self) -> NodeCertificate:
        grant = Grant(self.name, self.key, self.meshes, self.bridges, self.prefixes)
        return NodeCertificate(b"", sha256(self.identity.public).digest(), grant, self.identity.public, 1, 0, 2**32)

    def entry(self, **attributes: object) -> Entry:
        return Entry(**{"name": self.name, "role": Role.PEER, "tunnel_key": self.key, **attributes})

    def sign(self, kind: Kind, number: int, body: bytes = b"", mesh: str = MESH, instance: bytes = bytes(8)) -> Record:
        fingerprint = self.certificate.fingerprint
        return sign_record(self.identity, kind, mesh, self.key, number, instance, fingerprint, body)

    def says(self, number: int, instance: bytes = bytes(8), **attributes: object) -> SignedEntry:
        record = self.sign(Kind.ENTRY, number, encode_entry(self.entry(**attributes)), instance=instance)
        return accept_entry(record, MESH, self.certificate)

    def accuses(self, number: int, down: frozenset[bytes] = frozenset()) -> SignedVerdict:
        record = self.sign(Kind.VERDICT, number, encode_verdict({key: Accusation(1) for key in down}))
        return accept_verdict(record, MESH, self.certificate)


@dataclass(frozen=True)
class Said:
    """Stands for an entry, a removal or a verdict where only its order is looked at."""

    order: Order

    @property
    def horizon(self) -> Order:
        return self.order
