"""The active bridge dies without warning, and returns."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from itertools import permutations

import pytest

ENGINE = os.environ.get("SMEGMESH_LAB_ENGINE", "docker")
ENDS = {"a1": "left", "a2": "left", "b1": "right", "b2": "right"}


def engine(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ENGINE, *arguments], check=check, capture_output=True, text=True, timeout=60)


def mesh(host: str, name: str) -> dict:
    status = json.loads(engine("exec", f"molecule-{host}", "smegctl", "status", "--json").stdout)
    (found,) = (each for each in status["meshes"] if each["mesh"] == name)
    return found


def bridge(host: str = "a1", name: str = "left") -> str:
    (route,) = mesh(host, name)["routes"]
    return route["via"]


@pytest.fixture(scope="module")
def addresses() -> dict[str, str]:
    return {host: mesh(host, name)["address"] for host, name in ENDS.items()}


@pytest.fixture
def active():
    found = bridge()
    yield found
    engine("start", f"molecule-{found}")


def all_reach_all(addresses: dict[str, str]) -> bool:
    ping = ["ping", "-6", "-c", "1", "-W", "1"]
    return all(
        engine("exec", f"molecule-{one}", *ping, addresses[other], check=False).returncode == 0
        for one, other in permutations(ENDS, 2)
    )


def seconds_until(what: Callable[[], bool], within: float) -> float:
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < within, f"not within {within} s"
    return time.monotonic() - start


def test_the_other_bridge_takes_over_and_the_first_comes_back(active: str, addresses: dict[str, str]) -> None:
    assert all_reach_all(addresses)
    ping = ["ping", "-6", "-n", "-D", "-i", "0.1", "-W", "1", "-w", "15", addresses["b2"]]
    with subprocess.Popen([ENGINE, "exec", "molecule-a2", *ping], stdout=subprocess.PIPE, text=True) as running:
        time.sleep(1)
        engine("kill", f"molecule-{active}")
        output, _ = running.communicate(timeout=30)
    answered = [float(line.split("]")[0][1:]) for line in output.splitlines() if line.startswith("[")]
    gap = max(after - before for before, after in zip(answered, answered[1:], strict=False))
    print(f"{active} killed: no answer from client to client for {gap:.1f} s")
    assert gap <= 5
    assert bridge() != active
    assert all_reach_all(addresses)

    engine("start", f"molecule-{active}")
    back = seconds_until(lambda: bridge() == active and bridge("b2", "right") == active, within=30)
    print(f"{active} started: it is the active one again after {back:.1f} s")
    seconds_until(lambda: all_reach_all(addresses), within=10)
