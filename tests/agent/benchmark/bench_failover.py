"""Silent deaths of exits, with real packets: when new flows of their users are answered again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from section import Figure, Section

TEST = Path(__file__).parents[1] / "netns/test_exits.py::test_twenty_silent_deaths"
LIMIT = 3.0  # seconds, of 99 % of the flows
_STEP = 0.25  # seconds that a line of the plot stands for
_MARK = "█"
METHOD = """\
Three exits to one subnet, four receivers and a client, each an agent in a network namespace, tunnels by wireguard-go.
An exit's cable is pulled, twenty times, each exit in turn; meanwhile its users begin a new connection every few
hundredths of a second. The time is that from the cable until a connection that begins then is answered. Flows of those
who use other exits must lose nothing, or the benchmark fails. How often it took how long:

```
{plot}
```"""


def measure() -> Section:
    """Run the test, and read what it prints."""
    kills, summary = _run()
    seconds = sorted(float(value) for kill in kills for value in kill["seconds"].values())
    figures = (
        Figure(f"{len(kills)} kills, {len(seconds)} flows: median", summary["median"]),
        Figure("90th percentile", summary["p90"]),
        Figure("99th percentile", summary["p99"], bound=LIMIT),
        Figure("most", summary["most"]),
    )
    return Section("An exit that dies silently", METHOD.format(plot="\n".join(plot(seconds))), figures)


def _run() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TEST)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    lines = [json.loads(line.lstrip(".")) for line in done.stdout.splitlines() if line.lstrip(".").startswith("{")]
    if not lines or "median" not in lines[-1]:
        raise RuntimeError(f"{TEST.name} measured nothing:\n{done.stdout[-4000:]}")
    *kills, summary = lines
    return kills, summary


def plot(seconds: list[float]) -> list[str]:
    """A histogram as text: a line for each step from nothing to the longest."""
    steps = int(max(seconds) / _STEP) + 1
    counts = [sum(number * _STEP <= value < (number + 1) * _STEP for value in seconds) for number in range(steps)]
    return [
        f"{number * _STEP:4.2f} to {(number + 1) * _STEP:4.2f} s {_MARK * count} {count or ''}".rstrip()
        for number, count in enumerate(counts)
    ]
