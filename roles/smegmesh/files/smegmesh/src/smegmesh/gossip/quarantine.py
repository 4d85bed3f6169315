"""Quarantine: the verdicts that do not count yet.

When a partition heals, thousands are put here within a second. Those of a moment wait together until the last of them
has waited long enough: a time for each would take more memory than they do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from smegmesh.crdt.verdict import Accusation

_NOTHING: Mapping[bytes, Accusation] = MappingProxyType({})
#: Seconds from the first to the last that wait together.
_MOMENT = 0.5


class _Group:
    """Those of a moment, by writer."""

    __slots__ = ("begin", "end", "verdicts")

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.end = begin
        self.verdicts: dict[bytes, Mapping[bytes, Accusation]] = {}


class Quarantine:
    """Each verdict waits for `seconds`, and half a second more at most; none waits if that is 0.

    What its writer says meanwhile takes its place, and goes on waiting.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._groups: list[_Group] = []  # in order of time

    def __bool__(self) -> bool:
        return self._seconds > 0

    def __len__(self) -> int:
        return sum(len(group.verdicts) for group in self._groups)

    def get(self, writer: bytes) -> Mapping[bytes, Accusation]:
        """What waits of a writer."""
        for group in self._groups:
            if writer in group.verdicts:
                return group.verdicts[writer]
        return _NOTHING

    def put(self, writer: bytes, accused: Mapping[bytes, Accusation], now: float) -> None:
        """Let a verdict wait, or go on waiting in another version."""
        for group in self._groups:
            if writer in group.verdicts:
                group.verdicts[writer] = accused
                return
        if not self._groups or now >= self._groups[-1].begin + _MOMENT:
            self._groups.append(_Group(now))
        group = self._groups[-1]
        group.end = now
        group.verdicts[writer] = accused

    def drop(self, writer: bytes) -> None:
        """Nothing of a writer waits any more."""
        for group in self._groups:
            if group.verdicts.pop(writer, None) is not None:
                if not group.verdicts:
                    self._groups.remove(group)
                return

    def due(self, now: float) -> Iterator[tuple[bytes, Mapping[bytes, Accusation]]]:
        """What has waited long enough, by writer; it waits no more."""
        while self._groups and now >= self._groups[0].end + self._seconds:
            yield from self._groups.pop(0).verdicts.items()

    def next_timer(self) -> float:
        """When `due` has something next."""
        return self._groups[0].end + self._seconds if self._groups else float("inf")
