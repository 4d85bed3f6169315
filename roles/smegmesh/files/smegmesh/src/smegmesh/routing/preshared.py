"""Preshared keys of pairs of members: which one both use, said by both before either does.

A node offers, in its entry, the tags of the keys that it shares with another, and accepts those of them that the
other one offers. It uses a key only once the other has accepted it, so that neither does before both hold it and
know it of each other. Of several, as while a key is replaced, the node of the lower key has the word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from smegmesh.crdt.entry import PairTags
from smegmesh.gossip.view import Member, View

_TAG_SIZE = 8


@dataclass(frozen=True, slots=True)
class PairKey:
    """A preshared key (32 bytes), with the tag by which entries speak of it."""

    tag: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The preshared keys of this node in a mesh, by the name of the other one, newest first; `name` is its own."""

    name: str = ""
    keys: Mapping[str, tuple[PairKey, ...]] = field(default_factory=dict)


def make_keyring(mesh_id: str, name: str, keys: Mapping[str, Iterable[bytes]]) -> Keyring:
    """The keyring of a node by its name, of keys by the name of the other, newest first."""
    pairs = {
        other: tuple(PairKey(_tag(mesh_id, name, other, key), key) for key in shared) for other, shared in keys.items()
    }
    return Keyring(name, pairs)


def _tag(mesh_id: str, one: str, other: str, key: bytes) -> bytes:
    """Equal at both ends. It is public: a hash tells nothing of 32 random bytes."""
    words = b"".join(word.encode() + b"\0" for word in (mesh_id, *sorted((one, other))))
    return hashlib.sha256(b"smegmesh/preshared\0" + words + key).digest()[:_TAG_SIZE]


def agreed_key(keyring: Keyring, own: bytes, member: Member) -> bytes | None:
    """The key that this node (`own`: its node key) uses with a member, None for none."""
    mine = {pair.tag: pair.key for pair in keyring.keys.get(member.entry.name, ())}
    told = member.entry.preshared.get(keyring.name)
    if told is None:
        return None
    order = mine if own < member.node_key else told.offered
    return next((mine[tag] for tag in order if tag in mine and tag in told.accepted), None)


class Pairs:
    """What this node has to say of the keys it holds, by the view that was followed last."""

    def __init__(self, keyring: Keyring, view: View) -> None:
        self._name = keyring.name
        self._held = keyring.keys
        self._view = view
        self._told: dict[str, dict[bytes, tuple[bytes, ...]]] = {
            other: {} for other in keyring.keys
        }  # offers, by node key
        self._take(view, view.members if keyring.keys else ())

    def follow(self, view: View) -> None:
        """Go to the next view. O(members that changed), nothing without keys."""
        if not self._held:
            return
        before, self._view = self._view, view
        changed = view.changed_since(before)
        for key in changed & before.members.keys():
            self._told.get(before.members[key].entry.name, {}).pop(key, None)
        self._take(view, changed & view.members.keys())

    def said(self) -> dict[str, PairTags]:
        """For the own entry, by the name of the other."""
        return {other: self._said_of(other, pairs) for other, pairs in self._held.items()}

    @property
    def problems(self) -> list[str]:
        """Which keys are not in use, in words."""
        without = [other for other, tags in self.said().items() if not tags.accepted]
        return [f"no preshared key with {other}: it is not there, or does not have the same one" for other in without]

    def _said_of(self, other: str, pairs: Iterable[PairKey]) -> PairTags:
        offered = tuple(pair.tag for pair in pairs)
        told = {tag for tags in self._told[other].values() for tag in tags}
        return PairTags(offered, tuple(tag for tag in offered if tag in told))

    def _take(self, view: View, keys: Iterable[bytes]) -> None:
        for key in keys:
            entry = view.members[key].entry
            if entry.name in self._told and (tags := entry.preshared.get(self._name)) is not None:
                self._told[entry.name][key] = tags.offered
