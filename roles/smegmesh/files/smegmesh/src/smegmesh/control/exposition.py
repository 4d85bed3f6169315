"""The text format of Prometheus (exposition format 0.0.4): families of samples, and their text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Literal, NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
_NONE: Labels = {}
_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_VALUE = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Sample(NamedTuple):
    """A value; `suffix` goes to the name of its family, as histograms need it."""

    value: float
    labels: Labels = _NONE
    suffix: str = ""


class Family(NamedTuple):
    """All samples of a name; those of a counter end in `_total`. Without samples it is left out."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: list[Sample]


class Histogram:
    """How many of the observed values were no larger than each of some bounds, which ascend."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Note a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self, labels: Labels) -> Iterator[Sample]:
        """Its buckets, sum and count, for a family of kind histogram."""
        bounds = (*map(_number, self._bounds), "+Inf")
        counts = list(accumulate(self._counts))
        for bound, count in zip(bounds, counts, strict=True):
            yield Sample(count, {**labels, "le": bound}, "_bucket")
        yield Sample(self._sum, labels, "_sum")
        yield Sample(counts[-1], labels, "_count")


def expose(families: Iterable[Family]) -> str:
    """Their text. Names are taken as they are, label values may hold anything."""
    return "".join(f"{line}\n" for family in families if family.samples for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help.translate(_HELP)}"
    yield f"# TYPE {family.name} {family.kind}"
    for value, labels, suffix in family.samples:
        yield f"{family.name}{suffix}{_labels(labels)} {_number(value)}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_VALUE)}"' for name, value in labels.items()) + "}"


def _number(value: float) -> str:
    text = repr(float(value)) if not isinstance(value, int) else str(int(value))
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(text, text)
