"""The directory: what follows from who is a member, kept up to date change by change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from smegmesh.crdt.digest import DigestTree
from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.held import Held, place_of
from smegmesh.crdt.removal import Cause
from smegmesh.gossip.rings import Rings

#: Nibbles of a place that are the address: nodes that share them collide.
_ADDRESS = 16


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change of a node did: whether a member, a peer came or went, whether its homes are others now."""

    members: bool = False
    peers: bool = False
    homes: bool = False


NO_EFFECT = Effect()


class Directory:
    """The peers on their rings and in the order of their keys, who names whom as home, who is left out."""

    def __init__(self, rings: int, bootstrap: Iterable[str]) -> None:
        self.rings = Rings(rings)
        self.clients: dict[bytes, tuple[bytes, ...]] = {}  # home or backup -> clients that name it
        self.hidden: set[bytes] = set()  # members whose address a lower key has
        self.pruned: set[bytes] = set()  # who may still be there
        self._known_at: dict[str, set[bytes]] = {address: set() for address in bootstrap}

    def copy(self) -> Directory:
        """The same, going its own way."""
        copy = Directory(0, ())
        copy.rings = self.rings.copy()
        copy.clients = self.clients.copy()
        copy.hidden = self.hidden.copy()
        copy.pruned = self.pruned.copy()
        copy._known_at = {address: keys.copy() for address, keys in self._known_at.items()}
        return copy

    @property
    def peers(self) -> Sequence[bytes]:
        """The node keys of all peers, in ascending order."""
        return self.rings.keys

    def known_at(self, address: str) -> bool:
        """Whether some member names this bootstrap address for its links."""
        return bool(self._known_at.get(address))

    def changed(self, before: Held | None, after: Held, tree: DigestTree) -> Effect:
        """Follow what is held of a node."""
        key = after.key
        old = before.member if before is not None else None
        new = after.member
        if before is None or before.removal is not after.removal or (old is None) != (new is None):
            pruned = after.removal is not None and after.removal.cause is Cause.PRUNE and new is None
            (self.pruned.add if pruned else self.pruned.discard)(key)
            self._share_address(after, tree)
        if old is new:
            return NO_EFFECT
        return self._members_changed(key, old.entry if old else None, new.entry if new else None)

    def collision(self, key: bytes, tree: DigestTree) -> tuple[bytes, bytes]:
        """Of the members that share the address of this one: who has it, and the next, who is left out."""
        first, second, *_others = self._holders(place_of(key), tree)
        return first, (key if key != first else second)

    def _members_changed(self, key: bytes, old: Entry | None, new: Entry | None) -> Effect:
        was, now = _is_peer(old), _is_peer(new)
        if was != now:
            (self.rings.add if now else self.rings.remove)(key)
        before, after = named(old), named(new)
        other_homes = set(before) != set(after)
        if other_homes:
            for other in before:
                left = tuple(client for client in self.clients[other] if client != key)
                self.clients[other] = left
                if not left:
                    del self.clients[other]
            for other in after:
                self.clients[other] = (*self.clients.get(other, ()), key)
        if self._known_at:
            self._note_links(key, old.links if old else (), new.links if new else ())
        came_or_went = (old is None) != (new is None)
        if not came_or_went and was == now and not other_homes:
            return NO_EFFECT
        return Effect(came_or_went, was != now, other_homes)

    def _note_links(self, key: bytes, old: Iterable[str], new: Iterable[str]) -> None:
        for address in old:
            if address in self._known_at:
                self._known_at[address].discard(key)
        for address in new:
            if address in self._known_at:
                self._known_at[address].add(key)

    def _share_address(self, node: Held, tree: DigestTree) -> None:
        """Of the members with one address the lowest key has it, the others are left out."""
        holders = self._holders(node.place, tree)
        self.hidden.difference_update(holders, (node.key,))
        self.hidden.update(holders[1:])

    def _holders(self, place: bytes, tree: DigestTree) -> list[bytes]:
        address = place[:_ADDRESS]
        return sorted(held.key for held in tree.near(place) if held.present and held.place.startswith(address))


def named(entry: Entry | None) -> tuple[bytes, ...]:
    """Whom a client names as home and backup."""
    if entry is None or entry.role is not Role.CLIENT:
        return ()
    return tuple(dict.fromkeys(key for key in (entry.home, entry.backup) if key is not None))


def _is_peer(entry: Entry | None) -> bool:
    return entry is not None and entry.role is Role.PEER
