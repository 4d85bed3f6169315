"""A mesh that has been running for long: every disk knows everybody, nobody starts anew."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.held import MapKind
from smegmesh.crdt.record import Kind, sign_record
from smegmesh.gossip.engine import Stored
from smegmesh.gossip.homes import weight
from smegmesh.gossip.replica import encode_record, stored_slot
from smegmesh.simulation.mesh import Simulation, entry_of
from smegmesh.simulation.node import Disk, Node

_SETTLING = 8.0  # seconds until links are made and the duplicates among them closed
_ADAPTING = 22.0  # more of them until the pace of the observers is right for a network that loses packets


def settle(simulation: Simulation) -> None:
    """Bring all nodes up as if they had not been away, and let their links be made."""
    come_up(simulation)
    simulation.run_for(settling(simulation))


def settling(simulation: Simulation) -> float:
    """Seconds until a mesh that came up is at rest."""
    return _SETTLING + (_ADAPTING if simulation.network.loss else 0.0)


def come_up(simulation: Simulation) -> None:
    """Start all nodes with the instance that wrote the entries they know."""
    seeds = {name: simulation.random.random() for name in simulation.nodes}
    peers = [node.key for node in simulation.nodes.values() if node.role is Role.PEER]
    records: dict[bytes, bytes] = {}
    certificates: dict[bytes, bytes] = {}
    for node in simulation.nodes.values():
        certificate = node.credentials.certificate
        certificates[certificate.fingerprint] = certificate.der
        # What an engine draws first from its randomness is its instance.
        instance = Random(seeds[node.name]).randbytes(8)
        records[stored_slot(MapKind.ENTRY, node.key)] = _signed(
            simulation.mesh_id, node, _with_homes(node, peers), instance
        )
    stored = Stored(records, certificates, 1)
    for node in simulation.nodes.values():
        node.up = node.listening = True  # nobody's first dial is refused
    for node in simulation.nodes.values():
        node.disk = Disk(stored)
        simulation.boot(node, Random(seeds[node.name]), ())


def _with_homes(node: Node, peers: list[bytes]) -> Entry:
    entry = entry_of(node)
    if node.role is Role.PEER:
        return entry
    home, backup, *_others = [*sorted(peers, key=lambda key: weight(node.key, key))[:2], None, None]
    return replace(entry, home=home, backup=backup)


def _signed(mesh_id: str, node: Node, entry: Entry, instance: bytes) -> bytes:
    own = node.credentials
    fingerprint = own.certificate.fingerprint
    record = sign_record(own.identity, Kind.ENTRY, mesh_id, node.key, 1, instance, fingerprint, encode_entry(entry))
    return encode_record(record)
