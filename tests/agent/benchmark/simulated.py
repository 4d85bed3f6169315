"""Runs of `smegctl simulate`: what is asked of a mesh, and what each run took.

A run that has ended is kept in .build/soak, under a hash of the code that it ran, so that a
long series of them can be gone on with. Each is a process of its own: the same seed
gives the same figures, and none inherits another's memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "roles/smegmesh/files/smegmesh/src"
KEPT = ROOT / ".build/soak"
#: What a simulation is made of: another one of these is another simulation.
_PARTS = ("cli", "crdt", "gossip", "identity", "simulation")

SMALL, LARGE = 3000, 10_000
MINUTES = 240  # of wall time for a run; SIMULATED_MINUTES says otherwise

Outcome = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a run, and what it may be at most: with 3000 nodes, and with 10 000."""

    what: str
    read: Callable[[Outcome], float | None]
    bounds: tuple[float, float]
    unit: str = "s"

    def bound(self, nodes: int) -> float:
        """What it may be at most."""
        return self.bounds[nodes > SMALL]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario with its options, and what is measured in it.

    `cut` are the options, and `cut_bounds` the bounds, of one that takes more than two virtual
    minutes, where it is cut to two. It `settles` if all agree soon after it.
    """

    options: str
    measures: tuple[Measure, ...]
    seeds: int = 5
    large_options: str | None = None
    cut: str | None = None
    cut_bound: float | None = None
    settles: bool = True

    def arguments(self, nodes: int, *, whole: bool) -> list[str]:
        """For `smegctl simulate`."""
        options = self.options
        if not whole and self.cut is not None:
            options = self.cut
        elif nodes > SMALL and self.large_options is not None:
            options = self.large_options
        return ["--nodes", str(nodes), "--scenario", *options.split()]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what it printed, or why it printed nothing; its resident memory at most, in MiB.

    `late`: the minutes after which it was ended; 0 if it ended by itself.
    """

    outcome: Outcome = field(default_factory=dict)
    resident: float = 0.0
    failure: str = ""
    late: float = 0.0


def _known_to_all(what: str, small: float, large: float) -> Measure:
    return Measure(what, lambda outcome: outcome["all_s"], (small, large))


def _traffic(outcome: Outcome) -> float:
    return sum(outcome["tx_bytes_per_node_s"].values()) / 1000


SCENARIOS = (
    Scenario(
        "change",
        (
            Measure("a change known to 99 %", lambda outcome: outcome["p99_s"], (0.20, 0.22)),
            _known_to_all("a change known to all", 0.25, 0.28),
            Measure("copies of a change received per node", lambda outcome: outcome["copies_per_node"], (5.2, 5.2), ""),
        ),
    ),
    Scenario(
        "change --loss 0.3",
        (
            Measure("at 30 % loss: a change known to 99 %", lambda outcome: outcome["p99_s"], (0.35, 0.35)),
            _known_to_all("at 30 % loss: a change known to all", 0.8, 0.8),
        ),
    ),
    Scenario("crash", (_known_to_all("a killed process known to all as mute", 1.5, 1.5),)),
    Scenario("silent-crash", (_known_to_all("a silent host death known to all as down", 5, 6),)),
    Scenario(
        "silent-crash --share 0.5",
        (_known_to_all("half of all nodes die at once: all of them down for all survivors", 20, 30),),
    ),
    Scenario(
        "idle",
        (
            Measure("idle: traffic sent per node", _traffic, (4, 6), "kB/s"),
            Measure("idle: real time for 60 virtual seconds", lambda outcome: outcome["wall_s"], (90, 360)),
        ),
        seeds=1,
    ),
    Scenario(
        "idle --duration 600 --loss 0.1 --stalled 0.05",
        (
            Measure(
                "false downs in 10 minutes, at 10 % loss and with 5 % stalled",
                lambda outcome: outcome["false_downs"],
                (0, 0),
                "",
            ),
        ),
        seeds=1,
        cut="idle --duration 120 --loss 0.1 --stalled 0.05",
        settles=False,
    ),
    Scenario(
        "partition",
        (_known_to_all("half from half for 5 minutes (10 000 nodes: 1 minute): healed", 10, 15),),
        seeds=1,
        large_options="partition --duration 60",
        cut="partition --duration 120",
    ),
    Scenario("cold-start", (_known_to_all("cold start: all nodes at once, until every map is equal", 15, 30),)),
    Scenario(
        "hung-leader",
        (_known_to_all("a hung leader: the next known to all (3 heartbeats of 60 s, and 1 s)", 181, 181),),
        seeds=1,
        cut="hung-leader --heartbeat 30",
        cut_bound=91,
    ),
)
RESIDENT = (4 * 1024.0, 18 * 1024.0)  # MiB, of the whole simulation


def run(arguments: list[str]) -> Run:
    """Run it, or find what it gave before. What died, or has more time now than it had, is run again."""
    minutes = float(os.environ.get("SIMULATED_MINUTES", MINUTES))
    kept = KEPT / _name_of_source() / f"{'_'.join(arguments).replace('--', '')}.json"
    if kept.exists():
        before = Run(**json.loads(kept.read_text()))
        if not before.failure or before.late >= minutes:
            return before
    found = _run(arguments, minutes)
    if not found.failure or found.late:
        _keep(found, kept)
    return found


def _keep(found: Run, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(found)))
    partial.replace(kept)


def _run(arguments: list[str], minutes: float) -> Run:
    command = [sys.executable, "-m", "smegmesh.cli", "simulate", *arguments, "--json"]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        late = threading.Event()
        with _after(minutes * 60, lambda: (late.set(), os.kill(process.pid, signal.SIGKILL))):
            output = _output(process)
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    resident = usage.ru_maxrss / 1024
    if process.returncode == 0:
        return Run(json.loads(output), resident)
    if late.is_set():
        return Run(resident=resident, failure=f"not done after {minutes:g} min", late=minutes)
    return Run(resident=resident, failure=f"it ended with {process.returncode}")


@contextmanager
def _after(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    """Do something if what is in here takes so long; afterwards nothing is done any more."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _output(process: subprocess.Popen[str]) -> str:
    """All that a process prints; it ends with whoever waits for that."""
    assert process.stdout is not None
    try:
        return process.stdout.read()
    except BaseException:
        process.kill()
        raise


def _name_of_source() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in _sources():
        digest.update(f"{path.relative_to(SOURCE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    for part in _PARTS:
        yield from sorted((SOURCE / "smegmesh" / part).glob("*.py"))
