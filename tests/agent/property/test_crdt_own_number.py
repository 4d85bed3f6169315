"""A node's own number never goes back: over crashes, and after a sync over an old disk too.

The model: a disk (the durable number and the map as last stored), the rest of the mesh
as one map that forgets nothing, and the agent's memory, which a crash loses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from crdt_nodes import MESH, Node
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.order import next_number
from smegmesh.crdt.record import Kind
from smegmesh.crdt.removal import Removal, leave, prune
from smegmesh.crdt.statement import SignedEntry, SignedVerdict

NODE = Node("self")

Said = SignedEntry | SignedVerdict | Removal


def put(mesh: MeshMap, said: Said) -> None:
    if isinstance(said, SignedEntry):
        mesh.merge_entry(said)
    elif isinstance(said, SignedVerdict):
        mesh.merge_verdict(said)
    else:
        mesh.merge_removal(said)


@dataclass(frozen=True)
class Disk:
    """What survives a crash."""

    number: int = 0
    said: tuple[Said, ...] = ()


@dataclass
class Memory:
    """What does not: the map, whether it was synced since the start, and what was last prepared."""

    mesh: MeshMap = field(default_factory=lambda: MeshMap(MESH))
    synced: bool = False
    prepared: Said | None = None


class OwnNumber(RuleBasedStateMachine):
    """Numbers of one node through crashes, restored disks, and others that prune it."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.backups = [Disk()]
        self.memory = Memory()
        self.mesh = MeshMap(MESH)
        self.lineage: list[int] = []

    @precondition(lambda self: self.memory.prepared is None)
    @rule(kind=st.sampled_from(Kind))
    def prepare(self, kind: Kind) -> None:
        """Choose the next number and make it durable; a crash may come before it is published."""
        seen = self.mesh.floor(NODE.key)
        number = next_number(self.disk.number, self.memory.mesh.floor(NODE.key))
        assert all(number > earlier for earlier in self.lineage)
        if self.memory.synced:
            assert number > seen
        said = {Kind.ENTRY: NODE.says, Kind.VERDICT: NODE.accuses, Kind.LEAVE: self._leaves}[kind](number)
        self.disk = Disk(number, self.disk.said)
        self.lineage.append(number)
        self.memory.prepared = said

    @staticmethod
    def _leaves(number: int) -> Removal:
        return leave(NODE.sign(Kind.LEAVE, number))

    @precondition(lambda self: self.memory.prepared is not None)
    @rule()
    def publish(self) -> None:
        said = self.memory.prepared
        assert said is not None
        put(self.memory.mesh, said)
        put(self.mesh, said)
        self.disk = Disk(self.disk.number, (*self.disk.said, said))
        self.memory.prepared = None

    @rule()
    def sync(self) -> None:
        for said in (*self.mesh.entries.values(), *self.mesh.removals.values(), *self.mesh.verdicts.values()):
            put(self.memory.mesh, said)
        self.memory.synced = True

    @rule()
    def is_pruned(self) -> None:
        """Somebody else removes the node by the entry it has of it."""
        entry = self.mesh.entries.get(NODE.key)
        if entry is not None:
            self.mesh.merge_removal(prune(entry.record))
            self.memory.synced = False

    @rule()
    def crash(self) -> None:
        self.memory = Memory()
        for said in self.disk.said:
            put(self.memory.mesh, said)

    @rule()
    def back_up(self) -> None:
        self.backups.append(self.disk)

    @rule(which=st.integers(min_value=0))
    def restore(self, which: int) -> None:
        """The host comes up from an older copy of its disk, which knows nothing of later numbers."""
        self.disk = self.backups[which % len(self.backups)]
        self.lineage = [self.disk.number]
        self.crash()

    @invariant()
    def the_disk_is_never_behind_what_it_published(self) -> None:
        assert self.disk.number >= max(self.lineage, default=0)

    @invariant()
    def after_a_sync_the_next_number_brings_the_node_back(self) -> None:
        if self.memory.synced:
            number = next_number(self.disk.number, self.memory.mesh.floor(NODE.key))
            horizon = self.mesh.horizon(NODE.key)
            assert horizon is None or (number, b"") > horizon


TestOwnNumber = OwnNumber.TestCase
TestOwnNumber.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
