"""What processes take: resident memory and processor time, as the kernel accounts for them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `resident` is all that is mapped in, `share` counts a page that n processes map as 1/n."""

    resident: int
    share: int


def memory(pid: int) -> Memory:
    """Of one process, now."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, kilobytes = line.split()[:2]
        fields[name] = int(kilobytes) * 1024
    return Memory(fields["Rss:"], fields["Pss:"])


def processor_time(pid: int) -> float:
    """Seconds on a processor since a process started, in user and kernel mode, in steps of a clock tick."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat.rpartition(")")[2].split()  # the name before may hold spaces
    return (int(fields[11]) + int(fields[12])) * _TICK


@dataclass(frozen=True, slots=True)
class Idle:
    """Medians over processes that were left alone for a while, and their mean share of one processor."""

    resident: float
    share: float
    processor: float


def idle(pids: Collection[int], seconds: float) -> Idle:
    """Leave them alone for so long."""
    before = [processor_time(pid) for pid in pids]
    start = time.monotonic()
    time.sleep(seconds)
    taken = time.monotonic() - start
    after = [processor_time(pid) for pid in pids]
    used = [memory(pid) for pid in pids]
    return Idle(
        statistics.median(each.resident for each in used),
        statistics.median(each.share for each in used),
        (sum(after) - sum(before)) / taken / len(pids),
    )
