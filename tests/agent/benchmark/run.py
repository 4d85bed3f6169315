"""Measure, write docs/benchmarks.md, and fail if a bound is missed.

    python tests/agent/benchmark/run.py [BENCHMARK...]

A benchmark is a module with `measure() -> Section`; those of GUEST run in the guest
with a WireGuard in its kernel, those of HOST here. With names only those are measured,
and nothing is written.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from section import Section

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/benchmarks.md"
GUEST = ("bench_kernel",)
HOST = (
    "bench_plan",
    "bench_micro",
    "bench_dns",
    "bench_engine",
    "bench_simulated",
    "bench_processes",
    "bench_members",
    "bench_api",
    "bench_failover",
    "bench_site",
)
#: What makes less of a benchmark, to try it out.
LESS = ("SIMULATED_NODES", "SIMULATED_SEEDS")
INSIDE = "--inside"
IN_GUEST_SHARE = "/run/guest/section.json"

sys.path.insert(0, str(ROOT / "roles/smegmesh/files/smegmesh/src"))
sys.path.insert(0, str(ROOT / "tests/agent"))


def main(names: list[str]) -> int:
    chosen = names or [*GUEST, *HOST]
    sections = [measured_in_guest(name) if name in GUEST else measured(name) for name in chosen]
    text = page(sections)
    print(text)
    less = [name for name in LESS if name in os.environ]
    if less:
        print(f"{PAGE.name} is not written: {', '.join(less)} made it another benchmark", file=sys.stderr)
    elif not names:
        PAGE.write_text(text)
    missed = [figure for section in sections for figure in section.figures if figure.missed]
    for figure in missed:
        print(f"missed: {figure.row()}", file=sys.stderr)
    return 1 if missed else 0


def measured(name: str) -> Section:
    return importlib.import_module(name).measure()


def measured_in_guest(name: str) -> Section:
    guest = ROOT / "tests/agent/kernel/guest"
    with tempfile.TemporaryDirectory() as share:
        command = [sys.executable, str(Path(__file__).resolve()), INSIDE, name]
        subprocess.run([sys.executable, str(guest), "--share", share, *command], check=True)
        return Section.from_json(json.loads((Path(share) / Path(IN_GUEST_SHARE).name).read_text()))


def inside(name: str) -> int:
    Path(IN_GUEST_SHARE).write_text(json.dumps(asdict(measured(name))))
    return 0


def page(sections: list[Section]) -> str:
    head = f"""\
# Benchmarks

Written by `make bench`. It fails if a figure misses its bound. Measured
with Python {platform.python_version()} on {os.cpu_count()} processors ({processor()}).
"""
    return "\n\n".join([head.rstrip(), *(section.text() for section in sections)]) + "\n"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    sys.exit(inside(sys.argv[2]) if sys.argv[1:2] == [INSIDE] else main(sys.argv[1:]))
