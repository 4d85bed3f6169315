"""Who may say what: records become statements, which alone the map takes.

A statement is a record whose signature, certificate and body were checked. The
certificate was verified against the mesh's authority before (`Authority.verify`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from smegmesh.crdt.entry import Entry
from smegmesh.crdt.entry_codec import decode_entry
from smegmesh.crdt.order import Order
from smegmesh.crdt.record import Kind, Record, RecordError
from smegmesh.crdt.verdict import Accusation, decode_verdict
from smegmesh.identity.address import node_address
from smegmesh.identity.certificate import Grant, NodeCertificate
from smegmesh.identity.possession import proves


@dataclass(frozen=True, slots=True, eq=False)
class SignedEntry:
    """An entry its node may make, with the record to relay and the certificate it was checked against."""

    record: Record
    entry: Entry
    certificate: NodeCertificate

    @property
    def order(self) -> Order:
        """The record's."""
        return self.record.order


@dataclass(frozen=True, slots=True, eq=False)
class SignedVerdict:
    """A verdict by its writer (accused node key -> accusation), with record and certificate."""

    record: Record
    accused: Mapping[bytes, Accusation]
    certificate: NodeCertificate

    @property
    def order(self) -> Order:
        """The record's."""
        return self.record.order


def accept_entry(record: Record, mesh_id: str, certificate: NodeCertificate) -> SignedEntry:
    """The entry of a record, if the certificate allows all it says. Raises RecordError."""
    _expect(record, Kind.ENTRY)
    record.check(mesh_id, certificate)
    entry = decode_entry(record.body)
    _check_grant(entry, mesh_id, certificate.grant)
    _check_tunnel(entry, record.node_key)
    key = certificate.grant.node_key
    tunnel_key = key if entry.tunnel_key == key else entry.tunnel_key
    entry = replace(entry, name=certificate.grant.node_name, tunnel_key=tunnel_key)
    return SignedEntry(_sharing(record, mesh_id, certificate), entry, certificate)


def accept_verdict(record: Record, mesh_id: str, certificate: NodeCertificate) -> SignedVerdict:
    """The verdict of a record, if it is by the certificate's owner. Raises RecordError."""
    _expect(record, Kind.VERDICT)
    record.check(mesh_id, certificate)
    return SignedVerdict(_sharing(record, mesh_id, certificate), decode_verdict(record.body), certificate)


def _sharing(record: Record, mesh_id: str, certificate: NodeCertificate) -> Record:
    """The same record; what is equal in thousands of them, or in the certificate, is the same object."""
    return replace(record, mesh_id=mesh_id, node_key=certificate.grant.node_key, certificate=certificate.fingerprint)


def _expect(record: Record, kind: Kind) -> None:
    if record.kind is not kind:
        raise RecordError(f"a record of kind {record.kind.name.lower()} is no {kind.name.lower()}")


def _check_tunnel(entry: Entry, node_key: bytes) -> None:
    """Nobody may have the tunnel of another: packets to that one would go where this one says."""
    if entry.tunnel_key != node_key and not proves(entry.tunnel_proof or b"", node_key, entry.tunnel_key):
        raise RecordError(f"{entry.name} does not prove that its tunnel key is its own", "signature")


def _check_grant(entry: Entry, mesh_id: str, grant: Grant) -> None:
    if entry.name != grant.node_name:
        raise RecordError(f"entry calls its node {entry.name!r}, its certificate {grant.node_name!r}", "grant")
    if entry.bridge and not grant.allows_bridge(mesh_id):
        raise RecordError(f"the certificate of {grant.node_name} does not grant to bridge mesh {mesh_id}", "grant")
    for route in entry.routes:
        if mesh_id in route.path:
            raise RecordError(f"a route of {grant.node_name} leads back into mesh {mesh_id}")
        if not grant.allows_bridge(route.path[0]):
            what = f"the certificate of {grant.node_name} does not grant to bridge mesh {route.path[0]}"
            raise RecordError(what, "grant")
    for prefix in entry.advertise:
        if not grant.allows_prefix(prefix):
            raise RecordError(f"the certificate of {grant.node_name} does not grant to advertise {prefix}", "grant")
    for name, key in entry.static_peers.items():
        address = node_address(mesh_id, key)
        if not grant.allows_address(address):
            what = f"the certificate of {grant.node_name} does not grant to carry static peer {name} ({address})"
            raise RecordError(what, "grant")
