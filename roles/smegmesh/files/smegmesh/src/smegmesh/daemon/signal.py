"""A signal that something changed, for a task that follows it."""

from __future__ import annotations

import asyncio


class Signal:
    """Set from the event loop, awaited by one task.

    Unlike `asyncio.wait_for` around an event it never swallows the cancellation
    of the task that waits (which, before Python 3.12, is lost when both happen at once).
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake whoever waits, or the next who does."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether the next `wait` returns at once."""
        return self._event.is_set()

    async def wait(self, at_most: float | None) -> None:
        """Return when it is set, or after so many seconds; it is unset then."""
        timer = asyncio.get_running_loop().call_later(at_most, self._event.set) if at_most is not None else None
        try:
            await self._event.wait()
        finally:
            if timer is not None:
                timer.cancel()
        self._event.clear()
