"""What a benchmark hands in, and how it reads on paper."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isinf
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    `unit` is `s`, empty for a ratio, or any other word that stands behind the number.
    `bound` is the most and `at_least` the least that it may be, in the same unit; they are
    reported only, and hold nothing up, if it is no `gate`. Infinite: it never came to that.
    """

    what: str
    value: float
    unit: str = "s"
    bound: float | None = None
    at_least: float | None = None
    gate: bool = True

    @property
    def missed(self) -> bool:
        over = self.bound is not None and self.value > self.bound
        return self.gate and (over or (self.at_least is not None and self.value < self.at_least))

    def row(self) -> str:
        bounds = []
        if self.bound is not None:
            bounds.append(f"at most {self._text(self.bound)}")
        if self.at_least is not None:
            bounds.append(f"at least {self._text(self.at_least)}")
        return f"| {self.what} | {self._text(self.value)} | {', '.join(bounds)} |"

    @property
    def _takes_long(self) -> bool:
        return any(value is not None and 10 <= value < inf for value in (self.value, self.bound, self.at_least))

    def _text(self, value: float) -> str:
        if isinf(value):
            return "never"
        if self.unit != "s" or self._takes_long:
            return f"{value:.2f} {self.unit}".rstrip()
        milliseconds = value * 1000
        if milliseconds < 0.1:
            return f"{milliseconds * 1000:.0f} µs"
        digits = 0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2
        return f"{milliseconds:.{digits}f} ms"


@dataclass(frozen=True, slots=True)
class Section:
    """The figures of one benchmark, and how they came about."""

    title: str
    method: str
    figures: tuple[Figure, ...]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Section:
        return cls(data["title"], data["method"], tuple(Figure(**figure) for figure in data["figures"]))

    def text(self) -> str:
        table = ["| | measured | bound |", "| --- | ---: | ---: |", *(figure.row() for figure in self.figures)]
        return "\n".join([f"## {self.title}", "", self.method, "", *table])


def seconds(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long one call takes."""
    before = clock()
    action()
    return clock() - before


def processor_seconds(action: Callable[[], object], rounds: int = 7) -> float:
    """Processor time that a pure function takes: median of some calls, after one that does not count."""
    action()
    return statistics.median(seconds(action, time.process_time) for _ in range(rounds))
