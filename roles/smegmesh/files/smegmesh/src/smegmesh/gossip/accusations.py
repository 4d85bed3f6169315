"""Accusations: the verdicts of all writers, indexed by whom they accuse.

An accusation counts against the very entry that it names. Who raises its number has answered
every one that was made before; that is how a node gets rid of those whose writers are down
themselves. One with a number beyond is of an entry that is still to come, or a lie: were it to
count, a liar could accuse a node for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from smegmesh.crdt.verdict import Accusation

_NOTHING: Mapping[bytes, Accusation] = {}
#: The members of a large mesh; beyond that it costs memory.
_REMEMBERED = 16_384


@lru_cache(_REMEMBERED)
def _one(writers: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The first of equal ones: all engines of a process find the same writers."""
    return writers


class Accusations:
    """Who accuses whom."""

    def __init__(self) -> None:
        self._by_writer: dict[bytes, Mapping[bytes, Accusation]] = {}
        self._by_accused: dict[bytes, tuple[bytes, ...]] = {}  # the writers, ascending

    def replace(self, writer: bytes, accused: Mapping[bytes, Accusation]) -> set[bytes]:
        """Take a writer's verdict in place of its former one; returns those of whom it says something else."""
        before = self._by_writer.get(writer, _NOTHING)
        if accused == before:
            return set()
        for key in accused.keys() - before.keys():
            self._by_accused[key] = _one(tuple(sorted((*self._by_accused.get(key, ()), writer))))
        for key in before.keys() - accused.keys():
            left = tuple(other for other in self._by_accused[key] if other != writer)
            if left:
                self._by_accused[key] = _one(left)  # in its place: a table grows by what is taken out and put in again
            else:
                del self._by_accused[key]
        if accused:
            self._by_writer[writer] = accused
        else:
            del self._by_writer[writer]
        return {key for key in before.keys() | accused.keys() if before.get(key) != accused.get(key)}

    def by(self, writer: bytes) -> Mapping[bytes, Accusation]:
        """What a writer says of whom."""
        return self._by_writer.get(writer, _NOTHING)

    def any_against(self, key: bytes) -> bool:
        """Whether anybody accuses a node, void or not."""
        return key in self._by_accused

    def writers(self, key: bytes, number: int) -> Iterator[bytes]:
        """Who accuses a node whose entry has this number."""
        by_writer = self._by_writer
        return (writer for writer in self._by_accused.get(key, ()) if by_writer[writer][key].number == number)

    def against(self, key: bytes, number: int) -> dict[bytes, Accusation]:
        """The accusations against a node whose entry has this number, by writer."""
        return {writer: self._by_writer[writer][key] for writer in self.writers(key, number)}
