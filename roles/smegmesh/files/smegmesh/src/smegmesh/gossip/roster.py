"""The roster: the view in the making."""

from __future__ import annotations

from dataclasses import replace

from smegmesh.crdt.map import MeshMap
from smegmesh.gossip.directory import Directory
from smegmesh.gossip.liveness import Judgement
from smegmesh.gossip.view import Members, View


class Roster:
    """Makes views, a new one only when something changed."""

    def __init__(self, own: bytes, mesh: MeshMap, directory: Directory, judgement: Judgement) -> None:
        self._own = own
        self._map = mesh
        self._directory = directory
        self._judgement = judgement
        self._leader: bytes | None = None
        self._unreachable: frozenset[bytes] = frozenset()
        self._changed = True
        self._view: View | None = None

    def touch(self) -> None:
        """Some member is another one, or not alive in another way."""
        self._changed = True

    def lead(self, leader: bytes | None) -> None:
        """Who leads."""
        self._changed |= leader != self._leader
        self._leader = leader

    def disqualify(self, unreachable: frozenset[bytes]) -> None:
        """Whom this node alone cannot reach."""
        self._changed |= unreachable != self._unreachable
        self._unreachable = unreachable

    def took_change(self) -> bool:
        """Whether the view is another one than when this was last asked."""
        changed, self._changed = self._changed, False
        if changed:
            self._view = None
        return changed

    def view(self) -> View:
        """The picture now."""
        digest = self._map.root
        if self._view is None or self._changed:
            self._view = View(self._map.mesh_id, self._own, self._members(), self._leader, digest, self._unreachable)
        elif self._view.digest != digest:
            self._view = replace(self._view, digest=digest)
        return self._view

    def _members(self) -> Members:
        hidden = frozenset(self._directory.hidden)
        return Members(self._map.mesh_id, self._map.tree.snapshot(), self._judgement.failed(), hidden)
