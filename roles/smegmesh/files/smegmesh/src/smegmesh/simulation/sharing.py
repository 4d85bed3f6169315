"""What the engines of a simulation share: equal parts of maps, verified statements, loaded disks.

All of it is content-addressed: an engine cannot tell whether a part was made for it or
found. Tables have two generations, so that what nobody asked for lately is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, cast

from smegmesh.crdt.held import Held
from smegmesh.crdt.pool import Branch, Inner, Leaf, Pool
from smegmesh.crdt.removal import Removal
from smegmesh.crdt.statement import SignedEntry, SignedVerdict
from smegmesh.gossip.codec import MAX_FRAME, Items, decode, encode
from smegmesh.gossip.settings import Stored
from smegmesh.gossip.sharing import Memo, Sharing, Triple

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_GENERATION = 100_000
_STATEMENTS = 400_000
#: Frames that are shorter (bytes) are not worth it to be taken apart.
_SHORT = 400

_ITEMS = 3  # the tag of the codec, behind the head of the array

#: A frame under way, whole or in shared parts.
Parcel = bytes | Items


class _Table(Generic[K, V]):
    """The values that were asked for lately, by what they consist of."""

    __slots__ = ("_old", "_young")

    def __init__(self) -> None:
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def one(self: _Table[K, K], key: K) -> K:
        """The first of equal ones."""
        found = self.get(key)
        if found is None:
            self.put(key, key)
            return key
        return found

    def put(self, key: K, value: V) -> None:
        if len(self._young) >= _GENERATION:
            self._old, self._young = self._young, {}
        self._young[key] = value


class SharedPool(Pool):
    """Hands out one object for all equal parts (hash consing: Ershov, 1958)."""

    def __init__(self) -> None:
        # Statements are one object each already (the memo sees to it), and live as long as what holds them.
        self._held: _Table[tuple[int, int, int], Held] = _Table()
        self._leaves: _Table[tuple[Held, ...], Leaf] = _Table()
        self._inner: _Table[tuple[Branch, ...], Inner] = _Table()

    def held(
        self, key: bytes, entry: SignedEntry | None, removal: Removal | None, verdict: SignedVerdict | None
    ) -> Held:
        parts = id(entry), id(removal), id(verdict)
        found = self._held.get(parts)
        if found is None:
            found = Held(key, entry, removal, verdict)
            self._held.put(parts, found)
        return found

    def leaf(self, nodes: tuple[Held, ...]) -> Leaf:
        found = self._leaves.get(nodes)
        if found is None:
            found = Leaf(nodes)
            self._leaves.put(nodes, found)
        return found

    def inner(self, children: tuple[Branch, ...]) -> Inner:
        found = self._inner.get(children)
        if found is None:
            found = Inner(children)
            self._inner.put(children, found)
        return found


class Shared(Sharing):
    """For all engines of one simulated mesh."""

    def __init__(self) -> None:
        super().__init__(SharedPool(), Memo(_STATEMENTS, MAX_FRAME))
        self._stored: Stored | None = None
        self._loaded: object = None
        self._triples: _Table[Triple, Triple] = _Table()
        self._certificates: _Table[bytes, bytes] = _Table()

    def parcel(self, frame: bytes) -> Parcel:
        """A frame for the time that it is under way: in a cold start gigabytes are, of the same few records."""
        if len(frame) < _SHORT or frame[1] != _ITEMS:
            return frame
        items = decode(frame)
        assert isinstance(items, Items)
        records = [self._triples.one(triple) for triple in items.records]
        certificates = [self._certificates.one(der) for der in items.certificates]
        return Items(records, items.removals, certificates, items.sync)

    def loaded(self, stored: Stored, load: Callable[[], T], copy: Callable[[T], T]) -> T:
        """Loads the same disk (the very object) once, if all who start from it do so one after the other."""
        if not stored.records:
            return load()
        if self._stored is None or self._stored.records is not stored.records:
            self._stored, self._loaded = stored, load()
        return copy(cast(T, self._loaded))


def frame_of(parcel: Parcel) -> bytes:
    """The frame that it was."""
    return parcel if isinstance(parcel, bytes) else encode(parcel)
