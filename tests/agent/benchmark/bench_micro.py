"""Single calls, measured by pytest-benchmark: the figures of test_micro.py."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from section import Figure, Section

METHOD = """\
pytest-benchmark, `pytest tests/agent/benchmark`: wall time, median of its rounds. The plan of one change is one of 3000
members; that it costs the same with 300 is asserted there."""


def measure() -> Section:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "micro.json"
        tests = Path(__file__).with_name("test_micro.py")
        command = [sys.executable, "-m", "pytest", "-q", f"--benchmark-json={path}", str(tests)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        found = json.loads(path.read_text())["benchmarks"]
    figures = (Figure(_words(one["name"]), one["stats"]["median"]) for one in found)
    return Section("Single calls", METHOD, tuple(figures))


def _words(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")
