"""Version vectors: what of everybody a map has heard.

Every number has one writer, so one number a node says how far a map has followed it
(Parker et al., "Detection of mutual inconsistency in distributed systems", 1983).
A node shares its numbers among entries, verdicts and leaves: two maps of equal vectors
have heard everybody's latest, while digests decide whether they hold the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias

from smegmesh.crdt.map import MeshMap

VersionVector: TypeAlias = Mapping[bytes, int]


class Relation(Enum):
    """How one vector stands to another."""

    EQUAL = "equal"
    BEHIND = "behind"
    AHEAD = "ahead"
    CONCURRENT = "concurrent"


def version_vector(mesh: MeshMap) -> dict[bytes, int]:
    """Node key -> highest number seen; a revoked node's is that of `order.INFINITE`."""
    keys = mesh.entries.keys() | mesh.removals.keys() | mesh.verdicts.keys()
    return {key: max(number for number, _hash in mesh.orders(key)) for key in keys}


def compare(mine: VersionVector, theirs: VersionVector) -> Relation:
    """How `mine` stands to `theirs`; a node that is missing counts as 0."""
    keys = mine.keys() | theirs.keys()
    behind = any(mine.get(key, 0) < theirs.get(key, 0) for key in keys)
    ahead = any(mine.get(key, 0) > theirs.get(key, 0) for key in keys)
    if behind and ahead:
        return Relation.CONCURRENT
    if behind:
        return Relation.BEHIND
    return Relation.AHEAD if ahead else Relation.EQUAL
