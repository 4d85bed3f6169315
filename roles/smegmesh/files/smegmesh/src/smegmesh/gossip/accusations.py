"""Accusations: the verdicts of all writers, indexed by whom they accuse.

Who raises its number has answered every accusation that was made before; that is how
a node gets rid of those whose writers are down themselves.
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping

from smegmesh.crdt.verdict import Accusation


class Accusations:
    """Who accuses whom. An accusation older than the accused's present number is void."""

    def __init__(self) -> None:
        self._by_writer: dict[bytes, Mapping[bytes, Accusation]] = {}
        self._by_accused: dict[bytes, dict[bytes, Accusation]] = {}

    def replace(self, writer: bytes, accused: Mapping[bytes, Accusation]) -> bool:
        """Take a writer's verdict in place of its former one; says whether it is another."""
        if self._by_writer.get(writer, {}) == accused:
            return False
        for key in self._by_writer.pop(writer, ()):
            writers = self._by_accused[key]
            del writers[writer]
            if not writers:
                del self._by_accused[key]
        if accused:
            self._by_writer[writer] = accused
            for key, accusation in accused.items():
                self._by_accused.setdefault(key, {})[writer] = accusation
        return True

    def accused(self) -> KeysView[bytes]:
        """Every node that any writer accuses, void or not, a member or not. A live view."""
        return self._by_accused.keys()

    def against(self, key: bytes, number: int) -> dict[bytes, Accusation]:
        """The accusations against a node whose entry has this number, by writer."""
        writers = self._by_accused.get(key)
        if not writers:
            return {}
        return {writer: said for writer, said in writers.items() if said.number >= number}
