"""The preshared keys of a mesh: those that the host was given, and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping

from smegmesh.crdt.entry import PairTags
from smegmesh.gossip.view import View
from smegmesh.routing.preshared import Pairs, make_keyring

PairKeys = Mapping[str, tuple[bytes, ...]]  # by the name of the other, newest first


class HeldPairs:
    """What was given last, and by the view that was followed last what this node has to say of it."""

    def __init__(self, mesh_id: str, node_name: str, keys: PairKeys, view: View) -> None:
        self._mesh_id = mesh_id
        self._node_name = node_name
        self._keys = keys
        self.keyring = make_keyring(mesh_id, node_name, keys)
        self._pairs = Pairs(self.keyring, view)

    def take(self, keys: PairKeys, view: View) -> bool:
        """Hold these from now on; whether they are others, and the keyring with them."""
        if keys == self._keys:
            return False
        self._keys = keys
        self.keyring = make_keyring(self._mesh_id, self._node_name, keys)
        self._pairs = Pairs(self.keyring, view)
        return True

    def follow(self, view: View) -> bool:
        """Accept what others offer by now; whether there is something else to say."""
        before = self.said()
        self._pairs.follow(view)
        return self.said() != before

    def said(self) -> dict[str, PairTags]:
        """For the own entry, by the name of the other."""
        return self._pairs.said()

    @property
    def problems(self) -> list[str]:
        """Which keys are not in use, in words."""
        return self._pairs.problems
