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

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from smegmesh.crdt.digest import DigestTree
from smegmesh.crdt.held import Held, MapKind
from smegmesh.crdt.order import INFINITE, Order
from smegmesh.crdt.pool import Pool
from smegmesh.crdt.record import RecordError, check_mesh
from smegmesh.crdt.removal import Removal
from smegmesh.crdt.statement import SignedEntry, SignedVerdict

MAX_MEMBERS = 65_536
MAX_HORIZONS = 1_000_000

T = TypeVar("T")


class MapFull(RecordError):
    """A new node does not fit into the map any more."""


class Column(Mapping[bytes, T]):
    """One of the maps: node key -> what it holds. A live, read-only view."""

    __slots__ = ("_read", "_tree")

    def __init__(self, tree: DigestTree, read: Callable[[Held], T | None]) -> None:
        self._tree = tree
        self._read = read

    def __getitem__(self, key: bytes) -> T:
        held = self._tree.get(key)
        value = None if held is None else self._read(held)
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[bytes]:
        return (held.key for held in self._tree if self._read(held) is not None)

    def __len__(self) -> int:
        return sum(1 for _key in self)


class MeshMap:
    """The maps of one mesh. It trusts what it is given: statements and removals that were checked."""

    __slots__ = (
        "_horizons",
        "_members",
        "_pool",
        "_tree",
        "_verdicts",
        "max_horizons",
        "max_members",
        "mesh_id",
    )

    def __init__(
        self,
        mesh_id: str,
        *,
        max_members: int = MAX_MEMBERS,
        max_horizons: int = MAX_HORIZONS,
        pool: Pool | None = None,
    ) -> None:
        self.mesh_id = mesh_id
        self.max_members = max_members
        self.max_horizons = max_horizons
        self._pool = Pool() if pool is None else pool
        self._tree = DigestTree(self._pool)
        self._members = self._horizons = self._verdicts = 0

    def copy(self) -> MeshMap:
        """A map that holds the same and goes its own way."""
        copy = MeshMap(self.mesh_id, max_members=self.max_members, max_horizons=self.max_horizons, pool=self._pool)
        copy._tree = self._tree.snapshot()
        copy._members, copy._horizons, copy._verdicts = self._members, self._horizons, self._verdicts
        return copy

    @property
    def entries(self) -> Column[SignedEntry]:
        """The highest entry of every node, covered or not."""
        return Column(self._tree, lambda held: held.entry)

    @property
    def members(self) -> Column[SignedEntry]:
        """The entries of the nodes that are present."""
        return Column(self._tree, lambda held: held.member)

    @property
    def removals(self) -> Column[Removal]:
        """The highest removal of every node that has one."""
        return Column(self._tree, lambda held: held.removal)

    @property
    def verdicts(self) -> Column[SignedVerdict]:
        """The highest verdict of every writer, member or not: what others than members say does not count."""
        return Column(self._tree, lambda held: held.verdict)

    @property
    def size(self) -> int:
        """How many members there are."""
        return self._members

    @property
    def horizons(self) -> int:
        """How many nodes have a removal."""
        return self._horizons

    @property
    def tree(self) -> DigestTree:
        """What is held of everybody, with digests; to be read only."""
        return self._tree

    @property
    def root(self) -> bytes:
        """Equal on two maps exactly when all three of their maps are (evidence of equal horizons aside)."""
        return self._tree.root

    def get(self, node_key: bytes) -> Held | None:
        """What is held of a node."""
        return self._tree.get(node_key)

    def member(self, node_key: bytes) -> SignedEntry | None:
        """The entry of a node that is present."""
        held = self._tree.get(node_key)
        return held.entry if held is not None and held.present else None

    def present(self, node_key: bytes) -> bool:
        """Whether the node is a member."""
        held = self._tree.get(node_key)
        return held is not None and held.present

    def horizon(self, node_key: bytes) -> Order | None:
        """The highest order of the node that is removed."""
        held = self._tree.get(node_key)
        return None if held is None else held.order(MapKind.REMOVAL)

    def revoked(self, node_key: bytes) -> bool:
        """Whether the authority removed the node for good."""
        return self.horizon(node_key) == INFINITE

    def floor(self, node_key: bytes) -> int:
        """The highest number seen of a node, in entry, horizon or verdict; 0 if none.

        The node starts above it. Revocation is no number and does not count.
        """
        return max((order[0] for order in self.orders(node_key) if order != INFINITE), default=0)

    def orders(self, node_key: bytes) -> list[Order]:
        """What the maps hold of a node: its orders in entries, removals and verdicts."""
        held = self._tree.get(node_key)
        return [] if held is None else [item.order for item in held.items()]

    def merge_entry(self, new: SignedEntry) -> Held | None:
        """Take an entry if it is higher than the one held, as all of these do; raises MapFull.

        Returns what is held of the node then, None if this is nothing new.
        """
        check_mesh(new.record.mesh_id, self.mesh_id)
        key = new.record.node_key
        held = self._tree.get(key)
        if held is None:
            return self._take(None, self._pool.held(key, new, None, None))
        if held.entry is not None and new.order <= held.entry.order:
            return None
        return self._take(held, self._pool.held(key, new, held.removal, held.verdict))

    def merge_removal(self, new: Removal) -> Held | None:
        """Take a removal if its horizon is higher than the one held."""
        key = new.node_key
        held = self._tree.get(key)
        if held is None:
            return self._take(None, self._pool.held(key, None, new, None))
        if held.removal is not None and new.horizon <= held.removal.horizon:
            return None
        return self._take(held, self._pool.held(key, held.entry, new, held.verdict))

    def merge_verdict(self, new: SignedVerdict) -> Held | None:
        """Take a verdict if it is higher than the one held."""
        check_mesh(new.record.mesh_id, self.mesh_id)
        key = new.record.node_key
        held = self._tree.get(key)
        if held is None:
            return self._take(None, self._pool.held(key, None, None, new))
        if held.verdict is not None and new.order <= held.verdict.order:
            return None
        return self._take(held, self._pool.held(key, held.entry, held.removal, new))

    def _take(self, before: Held | None, after: Held) -> Held:
        if before is None or _counts(before) != _counts(after):
            self._count(before, after)
        self._tree.put(after)
        return after

    def _count(self, before: Held | None, after: Held) -> None:
        """Keep count of what is limited. Raises MapFull."""
        members = self._members + after.present - (before is not None and before.present)
        horizons = self._horizons + (before is None or before.removal is None) * (after.removal is not None)
        verdicts = self._verdicts + (before is None or before.verdict is None) * (after.verdict is not None)
        for count, held, limit, name in (
            (members, self._members, self.max_members, "members"),
            (horizons, self._horizons, self.max_horizons, "horizons"),
            (verdicts, self._verdicts, self.max_members + horizons, "verdicts"),
        ):
            if held < count > limit:
                raise MapFull(f"mesh {self.mesh_id} holds {limit} {name}, no more fit")
        self._members, self._horizons, self._verdicts = members, horizons, verdicts


def _counts(held: Held) -> tuple[bool, bool, bool]:
    """As what it is counted: member, removed, writer of a verdict."""
    return held.present, held.removal is not None, held.verdict is not None
