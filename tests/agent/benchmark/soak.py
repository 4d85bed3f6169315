"""Run the whole table of simulated meshes, 3000 and 10 000 nodes, and write .build/soak/simulated.md.

    python tests/agent/benchmark/soak.py

What has run is kept, as long as the simulated code is the same: it goes on where it was ended.
With SOAK_SEEDS=N, so many random schedules of faults run first. Fails if one of them does, or if 3000
nodes miss a bound; the rest is measured all the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from bench_simulated import section
from simulated import KEPT, LARGE, ROOT, SMALL


def main() -> int:
    held = schedules()
    sections = [section(nodes, whole=True) for nodes in (SMALL, LARGE)]
    text = "\n\n".join(part.text() for part in sections) + "\n"
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / "simulated.md").write_text(text)
    print(text)
    missed = [figure for part in sections for figure in part.figures if figure.missed]
    for figure in missed:
        print(f"missed: {figure.row()}", file=sys.stderr)
    if not held:
        print("missed: a schedule of faults failed, see above", file=sys.stderr)
    return 0 if held and not missed else 1


def schedules() -> bool:
    """Whether SOAK_SEEDS random schedules of faults hold, if they are asked for."""
    seeds = os.environ.get("SOAK_SEEDS")
    if not seeds:
        return True
    command = [sys.executable, "-m", "pytest", "tests/agent/simulation/test_schedules.py"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"SIM_SEEDS": seeds}).returncode == 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    sys.exit(main())
