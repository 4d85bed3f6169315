"""Knowledge: what a node knows of a mesh, as it takes it from its disk at a start."""

from __future__ import annotations

from dataclasses import dataclass

from smegmesh.crdt.map import MeshMap
from smegmesh.gossip.certificates import Certificates
from smegmesh.gossip.directory import Directory
from smegmesh.gossip.replica import Replica
from smegmesh.gossip.settings import Settings, Stored
from smegmesh.gossip.sharing import Sharing
from smegmesh.identity.certificate import Authority


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is stored and of no use any more: slots of records, and fingerprints of certificates.

    `replaced` are those of certificates that were renewed since.
    """

    records: tuple[bytes, ...] = ()
    certificates: tuple[bytes, ...] = ()
    replaced: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The map, the certificates its statements are under, and what follows from who is a member."""

    map: MeshMap
    certificates: Certificates
    directory: Directory
    left_out: LeftOut

    def copy(self) -> Knowledge:
        """The same, going its own way."""
        mesh = self.map.copy()
        return Knowledge(mesh, self.certificates.copy(mesh), self.directory.copy(), self.left_out)


def load(settings: Settings, authority: Authority, stored: Stored, sharing: Sharing) -> Knowledge:
    """What is stored, each part verified anew; what is of an authority that is not trusted any more is left out.

    Raises ValueError when it is damaged.
    """
    mesh = MeshMap(settings.mesh_id, pool=sharing.pool)
    certificates = Certificates(authority, mesh, sharing.owners)
    directory = Directory(settings.rings, settings.bootstrap)
    strange = tuple(certificates.load(stored.certificates))
    replica = Replica(mesh, certificates, authority, sharing)
    slots = []
    for found in replica.load(stored.records.items()):
        if isinstance(found, bytes):
            slots.append(found)
        else:
            directory.changed(found.before, found.after, mesh.tree)
    return Knowledge(mesh, certificates, directory, LeftOut(tuple(slots), strange, certificates.drop_replaced()))
