"""The map of a mesh: who is in it, who was removed, who accuses whom.

A two-phase map (Shapiro et al., "A comprehensive study of convergent and commutative
replicated data types", 2011) whose removals are horizons, so that a node can come back:
it is present if its highest entry lies above its highest horizon. Entries, horizons and
verdicts are three maps of node key -> maximum by order; merging commutes, associates and
is idempotent. All of them only grow: an entry that is covered stays (its endpoints are
still dialled), and a verdict is kept whoever wrote it, as nodes learn of memberships in
different order; what a non-member says is left out where verdicts are read.

A map that is full refuses new keys with `MapFull`. Two full maps may thus differ; that
is the price of the limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

from smegmesh.crdt.digest import DigestTree, Item, MapKind
from smegmesh.crdt.order import INFINITE, Order
from smegmesh.crdt.record import RecordError, check_mesh
from smegmesh.crdt.removal import Removal
from smegmesh.crdt.statement import SignedEntry, SignedVerdict

MAX_MEMBERS = 65_536
MAX_HORIZONS = 1_000_000

T = TypeVar("T")


class MapFull(RecordError):
    """A new node does not fit into the map any more."""


@dataclass(frozen=True, slots=True)
class Merged(Generic[T]):
    """Whether a merge changed the map, and what it replaced."""

    changed: bool
    replaced: T | None = None


class MeshMap:
    """The maps of one mesh. It trusts what it is given: statements and removals that were checked."""

    __slots__ = ("_entries", "_members", "_removals", "_tree", "_verdicts", "max_horizons", "max_members", "mesh_id")

    def __init__(self, mesh_id: str, *, max_members: int = MAX_MEMBERS, max_horizons: int = MAX_HORIZONS) -> None:
        self.mesh_id = mesh_id
        self.max_members = max_members
        self.max_horizons = max_horizons
        self._entries: dict[bytes, SignedEntry] = {}
        self._removals: dict[bytes, Removal] = {}
        self._verdicts: dict[bytes, SignedVerdict] = {}
        self._members: dict[bytes, SignedEntry] = {}
        self._tree = DigestTree()

    @property
    def entries(self) -> Mapping[bytes, SignedEntry]:
        """The highest entry of every node, covered or not. A live, read-only view, as are the next three."""
        return MappingProxyType(self._entries)

    @property
    def members(self) -> Mapping[bytes, SignedEntry]:
        """The entries of the nodes that are present."""
        return MappingProxyType(self._members)

    @property
    def removals(self) -> Mapping[bytes, Removal]:
        """The highest removal of every node that has one."""
        return MappingProxyType(self._removals)

    @property
    def verdicts(self) -> Mapping[bytes, SignedVerdict]:
        """The highest verdict of every writer, member or not; for a reading use `verdict`."""
        return MappingProxyType(self._verdicts)

    @property
    def tree(self) -> DigestTree:
        """Digests over all three maps; to be read only."""
        return self._tree

    @property
    def root(self) -> bytes:
        """Equal on two maps exactly when all three of their maps are (evidence of equal horizons aside)."""
        return self._tree.root

    def present(self, node_key: bytes) -> bool:
        """Whether the node is a member."""
        return node_key in self._members

    def horizon(self, node_key: bytes) -> Order | None:
        """The highest order of the node that is removed."""
        removal = self._removals.get(node_key)
        return None if removal is None else removal.horizon

    def revoked(self, node_key: bytes) -> bool:
        """Whether the authority removed the node for good."""
        return self.horizon(node_key) == INFINITE

    def verdict(self, node_key: bytes) -> SignedVerdict | None:
        """The verdict of a member; what others said does not count."""
        return self._verdicts.get(node_key) if node_key in self._members else None

    def floor(self, node_key: bytes) -> int:
        """The highest number seen of a node, in entry, horizon or verdict; 0 if none.

        The node starts above it. Revocation is no number and does not count.
        """
        return max((order[0] for order in self.orders(node_key) if order != INFINITE), default=0)

    def orders(self, node_key: bytes) -> list[Order]:
        """What the maps hold of a node: its orders in entries, removals and verdicts."""
        found = [
            statement.order
            for statement in (self._entries.get(node_key), self._verdicts.get(node_key))
            if statement is not None
        ]
        horizon = self.horizon(node_key)
        return found if horizon is None else [*found, horizon]

    def merge_entry(self, new: SignedEntry) -> Merged[SignedEntry]:
        """Take an entry if it is higher than the one held. Raises MapFull."""
        check_mesh(new.record.mesh_id, self.mesh_id)
        key = new.record.node_key
        old = self._entries.get(key)
        if old is not None and new.order <= old.order:
            return Merged(False)
        self._check_room(key, new.order)
        self._entries[key] = new
        self._settle(key)
        self._tree.put(Item(MapKind.ENTRY, key, new.order))
        return Merged(True, old)

    def merge_removal(self, new: Removal) -> Merged[Removal]:
        """Take a removal if its horizon is higher than the one held. Raises MapFull."""
        key = new.node_key
        old = self._removals.get(key)
        if old is not None and new.horizon <= old.horizon:
            return Merged(False)
        if old is None and len(self._removals) >= self.max_horizons:
            raise MapFull(f"mesh {self.mesh_id} holds {self.max_horizons} horizons, no more fit")
        self._removals[key] = new
        self._settle(key)
        self._tree.put(Item(MapKind.REMOVAL, key, new.horizon))
        return Merged(True, old)

    def merge_verdict(self, new: SignedVerdict) -> Merged[SignedVerdict]:
        """Take a verdict if it is higher than the one held. Raises MapFull."""
        check_mesh(new.record.mesh_id, self.mesh_id)
        key = new.record.node_key
        old = self._verdicts.get(key)
        if old is not None and new.order <= old.order:
            return Merged(False)
        if old is None and len(self._verdicts) >= self.max_members + len(self._removals):
            raise MapFull(f"mesh {self.mesh_id} holds {len(self._verdicts)} verdicts, no more fit")
        self._verdicts[key] = new
        self._tree.put(Item(MapKind.VERDICT, key, new.order))
        return Merged(True, old)

    def _check_room(self, key: bytes, order: Order) -> None:
        if key not in self._members and len(self._members) >= self.max_members and self._above_horizon(key, order):
            raise MapFull(f"mesh {self.mesh_id} has {self.max_members} members, no more fit")

    def _above_horizon(self, key: bytes, order: Order) -> bool:
        horizon = self.horizon(key)
        return horizon is None or horizon < order

    def _settle(self, key: bytes) -> None:
        entry = self._entries.get(key)
        if entry is not None and self._above_horizon(key, entry.order):
            self._members[key] = entry
        else:
            self._members.pop(key, None)
