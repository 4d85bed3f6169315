"""Virtual time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any


class Clock:
    """Calls in order of time, then of scheduling. Times are virtual seconds."""

    __slots__ = ("_calls", "_order", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        """Call at a time, at once if that has passed."""
        heappush(self._calls, (time if time > self.now else self.now, next(self._order), call, arguments))

    def run_until(self, time: float) -> None:
        """Let time pass."""
        calls = self._calls
        while calls and calls[0][0] <= time:
            self.now, _order, call, arguments = heappop(calls)
            call(*arguments)
        self.now = max(self.now, time)

    def run_for(self, seconds: float) -> None:
        """Let so much time pass."""
        self.run_until(self.now + seconds)

    def wait(self, condition: Callable[[], bool], limit: float, step: float, state: Callable[[], object]) -> float:
        """Let time pass until the condition holds, looked at every `step`; returns the seconds.

        Raises TimeoutError after `limit`, with the `state` of then.
        """
        start = self.now
        while not condition():
            if self.now >= start + limit:
                raise TimeoutError(f"not within {limit} s: {state()}")
            self.run_for(step)
        return self.now - start
