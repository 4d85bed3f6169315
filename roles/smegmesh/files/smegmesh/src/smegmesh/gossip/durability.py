"""Durability: what changed since it was last made durable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from smegmesh.crdt.held import MapKind
from smegmesh.gossip.events import Persist
from smegmesh.gossip.replica import Change, by_slot, stored_bytes, stored_slot
from smegmesh.gossip.sharing import Statement

_NEVER = float("inf")


class Writes(Mapping[bytes, bytes]):
    """What is to be written, by the name of its slot; encoded when it is read."""

    def __init__(self, statements: Mapping[MapKind, Mapping[bytes, Statement]]) -> None:
        self.statements = statements

    def __getitem__(self, name: bytes) -> bytes:
        return stored_bytes(self.statements[MapKind(name[0])][name[1:]])

    def __iter__(self) -> Iterator[bytes]:
        return (stored_slot(kind, key) for kind, statements in self.statements.items() for key in statements)

    def __len__(self) -> int:
        return sum(map(len, self.statements.values()))


class Durability:
    """Collects changes. What others say may wait a moment, as they would say it again; the own number may not.

    Verdicts are not kept over a restart. `delay` is in seconds.
    """

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._dirty: list[Statement] = []  # of a slot the last counts: a third of a table's memory
        self._certificates: dict[bytes, bytes] = {}
        self._due = _NEVER

    def changed(self, change: Change, now: float) -> None:
        """A slot has another content."""
        if change.slot.kind is not MapKind.VERDICT:
            self._dirty.append(change.statement)
        if change.first is not None:
            self._certificates[change.first.fingerprint] = change.first.der
        if self._dirty or self._certificates:
            self._due = min(self._due, now + self._delay)

    def next_timer(self) -> float:
        """When `take` should be called at the latest."""
        return self._due

    def take(self, number: int) -> Persist:
        """The event that makes all changes durable, and the own number."""
        dirty, certificates = self._dirty, self._certificates
        self._dirty, self._certificates, self._due = [], {}, _NEVER
        return Persist(Writes(by_slot(dirty)), certificates, number)
