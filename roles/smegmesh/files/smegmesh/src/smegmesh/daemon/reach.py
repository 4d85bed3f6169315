"""Whether a mesh is heard at all: a bridge that is cut off from one mesh must not draw the others' packets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_PATIENCE = 3.0  # seconds without any link
_START = 8.0  # the same after a start
_RESOLUTION = 0.01  # a timer may come so much early


class Reach:
    """Tells links that are being made anew from a mesh that is out of reach.

    `changed` is called when it may be so from now on. Times are those of `clock`, monotonic seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
        changed: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._call_at = call_at
        self._changed = changed
        self._until = clock() + _START
        self._linked = False
        self._timer: asyncio.TimerHandle | None = self._call_at(self._until, changed)

    def connected(self, *, linked: bool, others: bool) -> bool:
        """Whether the mesh is in reach: there is a link, there was one just now, or there is nobody else."""
        if self._linked and not linked:
            self._until = self._clock() + _PATIENCE
            self.close()
            self._timer = self._call_at(self._until, self._changed)
        self._linked = linked
        return linked or not others or self._clock() < self._until - _RESOLUTION

    def close(self) -> None:
        """Call nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
