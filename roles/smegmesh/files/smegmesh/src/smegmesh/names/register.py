"""Who has which name in a mesh.

A name belongs to whom the certificate names so, in any case; one of words to the node whose key spells it; an alias,
which nodes give themselves, to all who say it, unless it is one of those. Who may have a name does not depend on who
is alive: what a node that is down is called by, no other can take. All hosts that know the same members agree.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from smegmesh.crdt.entry import Entry
from smegmesh.gossip.view import Liveness, View
from smegmesh.identity.address import node_hash
from smegmesh.identity.keys import KEY_LENGTH
from smegmesh.names.services import Service, read_service
from smegmesh.names.words import LEAST, MOST, spell

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_Index = dict[str, bytes]  # node keys, sorted, one after the other: where it is one, no more memory than it has
_TOLD = 10  # of many, in words
PLACE_SIZE = 8  # bytes of a node's hash that are in its address (identity/address.py)


def place_of(node_key: bytes) -> int:
    """The second half of a node's address."""
    return int.from_bytes(node_hash(node_key)[:PLACE_SIZE], "big")


class Known(NamedTuple):
    """What of a member matters here. `certified` is the name in its certificate, `name` the same if it is a DNS label;
    `served`: whether it is to be found."""

    certified: str
    name: str | None
    alias: str | None
    services: tuple[Service, ...]
    served: bool


class Register:
    """Follows the views of one mesh; `changes` counts what that changed here."""

    def __init__(self) -> None:
        self.changes = 0
        self._view: View | None = None
        self._conflicts: list[str] | None = None  # None: to be found
        self._named: _Index = {}  # by what the certificate says
        self._aliased: _Index = {}
        self._wordy: _Index = {}  # who has neither, by the first two words
        self._offering: dict[tuple[str, str], set[bytes]] = {}  # by service and protocol
        self._places = array("Q")  # of those that are served, sorted
        self._keys: list[bytes] = []  # of the same

    def follow(self, view: View) -> None:
        """Take over what is another than in the last view."""
        before, self._view = self._view, view
        for key in view.members if before is None else view.changed_since(before):
            was, now = _known(before, key), _known(view, key)
            if was == now:
                continue
            self.changes += 1
            self._conflicts = None
            if was is not None:
                self._take_out(key, was)
            if now is not None:
                self._put_in(key, now)

    def holders(self, label: str) -> Sequence[bytes]:
        """Node keys of those whose name this is, whether they are served or not; sorted."""
        if label in self._named:
            return _split(self._named[label])
        spelled = self._spelled(label)
        return [spelled] if spelled is not None else _split(self._aliased.get(label, b""))

    def served(self, keys: Collection[bytes]) -> Iterator[tuple[bytes, Known]]:
        """Those of them that are to be found, with what is known of them."""
        view = self._view
        return ((key, known) for key in keys if _is_served(view, key) and (known := _known(view, key)) is not None)

    def name_of(self, key: bytes) -> str | None:
        """The first of its names that is its own: that of its certificate, its alias, the words; None without any."""
        known = _known(self._view, key)
        if known is None:
            return None
        if known.name is not None:
            return known.name
        if known.alias is None:
            words = self._words(key, _split(self._wordy[_first_words(key)]))
            return words if words not in self._named else None
        return known.alias if known.alias not in self._named and self._spelled(known.alias) is None else None

    def offering(self, service: str, protocol: str) -> Collection[bytes]:
        """Node keys of those who offer a service, in no order."""
        return self._offering.get((service, protocol), ())

    def offers(self, protocol: str, among: Collection[bytes] | None) -> bool:
        """Whether any of these, or anybody, who is served offers any service by a protocol."""
        return any(
            _is_served(self._view, key)
            for (_name, by), keys in self._offering.items()
            if by == protocol
            for key in (keys if among is None else keys.intersection(among))
        )

    def first_within(self, low: int, high: int) -> bytes | None:
        """The node key of the first who is served at a place from `low` to `high`, if there is one."""
        index = bisect_left(self._places, low)
        return self._keys[index] if index < len(self._places) and self._places[index] <= high else None

    def conflicts(self) -> list[str]:
        """Names that several nodes go by, in words, sorted; of many, some."""
        if self._conflicts is None:
            self._conflicts = self._find_conflicts()
        return self._conflicts

    def _find_conflicts(self) -> list[str]:
        found = []
        for label, joined in self._named.items():
            if len(joined) > KEY_LENGTH:
                found.append(f"{label} is the name of {len(joined) // KEY_LENGTH} nodes: all are answered")
        for label, joined in self._aliased.items():
            keys, held = _split(joined), self.holders(label)
            passed_over = [key for key in keys if key not in held]
            if passed_over:
                found.append(f"{label} is {self._say(held)}, so it is no alias of {self._say(passed_over)}")
            elif len(keys) > 1:
                found.append(f"{label} is the alias of {self._say(keys)}: all are answered")
        more = [f"{len(found) - _TOLD} more names are not one node's alone"] if len(found) > _TOLD else []
        return sorted(found)[:_TOLD] + more

    def _say(self, keys: Sequence[bytes]) -> str:
        """Who these are; of many, some."""
        assert self._view is not None
        told = [self._view.members[key].entry.name for key in keys[:_TOLD]]
        return ", ".join([*told, f"{len(keys) - _TOLD} more"] if len(keys) > _TOLD else told)

    def _put_in(self, key: bytes, known: Known) -> None:
        for index, label in self._labels(key, known):
            index[label] = b"".join(sorted([*_split(index.get(label, b"")), key]))
        for service in known.services:
            self._offering.setdefault((service.name, service.protocol), set()).add(key)
        if known.served:
            at = bisect_left(self._places, place_of(key))
            self._places.insert(at, place_of(key))
            self._keys.insert(at, key)

    def _take_out(self, key: bytes, known: Known) -> None:
        for index, label in self._labels(key, known):
            index[label] = b"".join(each for each in _split(index[label]) if each != key)
            if not index[label]:
                del index[label]
        for service in known.services:
            offering = self._offering[service.name, service.protocol]
            offering.discard(key)
            if not offering:
                del self._offering[service.name, service.protocol]
        if known.served:
            at = bisect_left(self._places, place_of(key))
            while self._keys[at] != key:  # whom the view shows in its stead may be there already
                at += 1
            del self._places[at], self._keys[at]

    def _labels(self, key: bytes, known: Known) -> Iterator[tuple[_Index, str]]:
        """Where it is to be found, and under what."""
        if known.name is not None:
            yield self._named, known.name
        if known.alias is not None:
            yield self._aliased, known.alias
        if known.name is None and known.alias is None:
            yield self._wordy, _first_words(key)

    def _spelled(self, label: str) -> bytes | None:
        """The node key of whom these words name."""
        alike = _split(self._wordy.get("-".join(label.split("-", LEAST)[:LEAST]), b""))
        return next((key for key in alike if self._words(key, alike) == label), None)

    def _words(self, key: bytes, alike: Collection[bytes]) -> str:
        """As many words as no other of those that begin alike has, so that a name goes from none to another."""
        place = node_hash(key)
        others = [node_hash(other) for other in alike if other != key]
        count = next(
            (size for size in range(LEAST, MOST) if not any(other[:size] == place[:size] for other in others)), MOST
        )
        return spell(place[:count])


def goes_by(name: str, key: bytes, entry: Entry) -> bool:
    """Whether a member goes by a name, in any case: by its certificate, by its alias, or by however many words of its
    key."""
    label = name.lower()
    if label in (entry.name.lower(), entry.alias):
        return True
    wordy = _name(entry) is None and entry.alias is None
    return wordy and label in {spell(node_hash(key)[:size]) for size in range(LEAST, MOST + 1)}


def _known(view: View | None, key: bytes) -> Known | None:
    member = view.members.get(key) if view is not None else None
    if view is None or member is None:
        return None
    entry = member.entry
    return Known(
        entry.name,
        _name(entry),
        entry.alias,
        tuple(filter(None, (read_service(*service) for service in sorted(entry.services.items())))),
        _is_served(view, key),
    )


def _is_served(view: View | None, key: bytes) -> bool:
    member = view.members.get(key) if view is not None else None
    return view is not None and member is not None and (member.liveness is not Liveness.DOWN or key == view.node_key)


def _name(entry: Entry) -> str | None:
    lower = entry.name.lower()
    if _LABEL.fullmatch(lower) is None:
        return None
    return entry.name if entry.name == lower else lower  # one object for both is a fifth less memory


def _split(joined: bytes) -> list[bytes]:
    return [joined[at : at + KEY_LENGTH] for at in range(0, len(joined), KEY_LENGTH)]


def _first_words(key: bytes) -> str:
    return spell(node_hash(key)[:LEAST])
