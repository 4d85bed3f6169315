"""Random schedules of faults. A failure prints the command that replays its seed.

SIM_SECONDS bounds the wall clock (default 20); SIM_SEEDS runs exactly so many seeds, from SIM_SEED or 1;
SIM_SEED without it runs one seed alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import count
from unittest.mock import patch

import pytest
from schedule import Schedule
from schedule_faults import disturb

from smegmesh.crdt import digest

_SECONDS = float(os.environ.get("SIM_SECONDS", "20"))
_SEED = int(os.environ.get("SIM_SEED", "1"))
_SEEDS = int(os.environ["SIM_SEEDS"]) if "SIM_SEEDS" in os.environ else 1 if "SIM_SEED" in os.environ else None

#: Of every so many seeds one has trees of many levels, for which there are too few nodes else: with leaves of so many.
_EVERY, _LEAF_NODES = 4, 2
_ROUNDS = 3
_TROUBLE = 60.0  # virtual seconds


def run(seed: int) -> None:
    """One schedule: faults for a while, then peace in which all must be well; three times."""
    with patch.object(digest, "LEAF_NODES", digest.LEAF_NODES if seed % _EVERY else _LEAF_NODES):
        _run(Schedule(seed))


def _run(schedule: Schedule) -> None:
    schedule.simulation.start()
    clock = schedule.simulation.clock
    for _round in range(_ROUNDS):
        until = clock.now + _TROUBLE
        while clock.now < until:
            schedule.run_for(schedule.random.choice((0.01, 0.1, 1, 4, 10)))
            disturb(schedule)
        schedule.make_peace()


def _seeds() -> Iterator[int]:
    if _SEEDS is not None:
        yield from range(_SEED, _SEED + _SEEDS)
        return
    end = time.monotonic() + _SECONDS
    for seed in count(1):
        yield seed
        if time.monotonic() >= end:
            return


@pytest.mark.timeout(0 if _SEEDS is not None else _SECONDS + 120)
def test_random_schedules() -> None:
    done = 0
    for seed in _seeds():
        try:
            run(seed)
        except Exception as error:
            error.args = (
                f"{error}\nreplay: SIM_SEED={seed} python -m pytest {os.path.relpath(__file__)}",
                *error.args[1:],
            )
            raise
        done += 1
    print(f"{done} schedules held")
