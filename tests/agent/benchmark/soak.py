"""Run the whole table of simulated meshes, 3000 and 10 000 nodes, and write .build/soak/simulated.md.

    python tests/agent/benchmark/soak.py

What has run is kept, as long as the simulated code is the same: it goes on where it was ended.
With SOAK_SEEDS=N, so many random schedules of faults run first. Fails if 3000 nodes miss a bound.
"""

from __future__ import annotations

import os
import subprocess
import sys

from bench_simulated import section
from simulated import KEPT, LARGE, ROOT, SMALL


def main() -> int:
    seeds = os.environ.get("SOAK_SEEDS")
    if seeds:
        schedules = [sys.executable, "-m", "pytest", "tests/agent/simulation/test_schedules.py"]
        subprocess.run(schedules, check=True, cwd=ROOT, env=os.environ | {"SIM_SEEDS": seeds})
    sections = [section(nodes, whole=True) for nodes in (SMALL, LARGE)]
    text = "\n\n".join(part.text() for part in sections) + "\n"
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / "simulated.md").write_text(text)
    print(text)
    missed = [figure for part in sections for figure in part.figures if figure.missed]
    for figure in missed:
        print(f"missed: {figure.row()}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
