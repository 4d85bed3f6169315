"""A task that acts on what changes, one change after the other, until it is closed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from smegmesh.daemon.signal import Signal


class Follower(ABC):
    """What such tasks have in common: `_run` is the task, which waits for the next turn with `_rest`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._dirty = Signal()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    def changed(self) -> None:
        """What is followed is another now."""
        self._idle.clear()
        self._dirty.set()

    async def settled(self) -> None:
        """Wait until the last change was acted on."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stop following; what was done stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @abstractmethod
    async def _run(self) -> None:
        """Follow, until cancelled."""

    async def _rest(self, at_most: float | None) -> None:
        """Return at the next change, or after so many seconds."""
        if not self._dirty.is_set():
            self._idle.set()
        await self._dirty.wait(at_most)
