"""Accusations: the verdicts of all writers, indexed by whom they accuse.

An accusation counts against the very entry that it names. Who raises its number has answered
every one that was made before; that is how a node gets rid of those whose writers are down
themselves. One with a number beyond is of an entry that is still to come, or a lie: were it to
count, a liar could accuse a node for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from smegmesh.crdt.verdict import Accusation

_NOTHING: Mapping[bytes, Accusation] = {}


class Accusations:
    """Who accuses whom."""

    def __init__(self) -> None:
        self._by_writer: dict[bytes, Mapping[bytes, Accusation]] = {}
        self._by_accused: dict[bytes, dict[bytes, Accusation]] = {}

    def replace(self, writer: bytes, accused: Mapping[bytes, Accusation]) -> set[bytes]:
        """Take a writer's verdict in place of its former one; returns those of whom it says something else."""
        before = self._by_writer.get(writer, _NOTHING)
        if accused == before:
            return set()
        changed = {key for key in before.keys() | accused.keys() if before.get(key) != accused.get(key)}
        for key in changed:
            said = accused.get(key)
            writers = self._by_accused.setdefault(key, {})
            if said is not None:
                writers[writer] = said
                continue
            del writers[writer]
            if not writers:
                del self._by_accused[key]
        if accused:
            self._by_writer[writer] = accused
        else:
            del self._by_writer[writer]
        return changed

    def by(self, writer: bytes) -> Iterable[bytes]:
        """Whom a writer accuses."""
        return self._by_writer.get(writer, _NOTHING)

    def any_against(self, key: bytes) -> bool:
        """Whether anybody accuses a node, void or not."""
        return key in self._by_accused

    def against(self, key: bytes, number: int) -> dict[bytes, Accusation]:
        """The accusations against a node whose entry has this number, by writer."""
        writers = self._by_accused.get(key)
        if not writers:
            return {}
        return {writer: said for writer, said in writers.items() if said.number == number}
