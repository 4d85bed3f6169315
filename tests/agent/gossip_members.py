"""A map and what follows from it, kept up to date change by change as an engine does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

from crdt_nodes import MESH, Node
from smegmesh.crdt import held
from smegmesh.crdt.entry import Role
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.pool import Pool
from smegmesh.crdt.record import Kind
from smegmesh.crdt.removal import Removal, leave, prune
from smegmesh.crdt.statement import SignedEntry
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.directory import NO_EFFECT, Directory, Effect
from smegmesh.gossip.liveness import Judgement

RINGS = 3


@cache
def node(name: str) -> Node:
    """The node of this name, always the same."""
    return Node(name)


def key(name: str) -> bytes:
    """Its node key."""
    return node(name).key


@cache
def says(name: str, number: int, homes: tuple[str, ...] | None, links: tuple[str, ...] = ()) -> SignedEntry:
    """Its entry: a client's if there are `homes` (home and backup, or fewer), else a peer's."""
    if homes is None:
        return node(name).says(number, links=links)
    keys = dict(zip(("home", "backup"), map(key, homes), strict=False))
    return node(name).says(number, role=Role.CLIENT, **keys)


@cache
def leaves(name: str, number: int) -> Removal:
    """Its leave under this number."""
    return leave(node(name).sign(Kind.LEAVE, number))


class Members:
    """Members that come, go and accuse each other."""

    def __init__(self, bootstrap: Iterable[str] = (), pool: Pool | None = None, quarantine: float = 0.0) -> None:
        self.map = MeshMap(MESH, pool=pool)
        self.directory = Directory(RINGS, bootstrap)
        self.judgement = Judgement(self.map, self.directory, quarantine, patience=3.0)
        self.now = 0.0
        self.verdicts: dict[bytes, dict[bytes, Accusation]] = {}  # as they were last said, by writer

    def take(self, said: SignedEntry | Removal) -> Effect:
        """Merge what was said of a node; returns what that did."""
        of = said.node_key if isinstance(said, Removal) else said.record.node_key
        before = self.map.get(of)
        after = self.map.merge_removal(said) if isinstance(said, Removal) else self.map.merge_entry(said)
        if after is None:
            return NO_EFFECT
        effect = self.directory.changed(before, after, self.map.tree)
        self.judgement.changed(of, effect)
        return effect

    def put(
        self,
        name: str,
        *homes: str,
        number: int | None = None,
        client: bool = False,
        links: tuple[str, ...] = (),
    ) -> Effect:
        """A node says that it is a member, under its next number unless one is given."""
        number = self.map.floor(key(name)) + 1 if number is None else number
        return self.take(says(name, number, homes if homes or client else None, links))

    def remove(self, name: str) -> Effect:
        """A node leaves."""
        return self.take(leaves(name, max(self.map.floor(key(name)), 1)))

    def prune(self, name: str) -> Effect:
        """A node is taken out for what it said last."""
        entry = self.map.entries.get(key(name))
        return NO_EFFECT if entry is None else self.take(prune(entry.record))

    def accuse(self, writer: str, accused: dict[bytes, Accusation], now: float | None = None) -> None:
        """A node's verdict, in place of its last."""
        self.verdicts[key(writer)] = accused
        self.judgement.accuse(key(writer), accused, self.now if now is None else now)


@contextmanager
def one_address(*names: str) -> Iterator[None]:
    """In here these nodes have one address, as keys that somebody ground for it would: their hashes begin alike."""
    alike = {key(name) for name in names}
    hashed = held.node_hash
    held.node_hash = lambda of: bytes(8) + hashed(of)[8:] if of in alike else hashed(of)
    held.place_of.cache_clear()
    try:
        yield
    finally:
        held.node_hash = hashed
        held.place_of.cache_clear()
