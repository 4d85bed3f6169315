"""A scenario's hosts as faults need them: through the engine, which is there when ssh is not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

ENGINE = os.environ.get("SMEGMESH_LAB_ENGINE", "docker")


def engine(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ENGINE, *arguments], check=check, capture_output=True, text=True, timeout=60)


def run(host: str, *command: str, check: bool = True) -> str:
    return engine("exec", f"molecule-{host}", *command, check=check).stdout


def kill(host: str) -> None:
    """No warning: the host is gone in the middle of whatever it did."""
    engine("kill", f"molecule-{host}")


def start(host: str) -> None:
    engine("start", f"molecule-{host}")


def mesh(host: str, name: str) -> dict:
    """A mesh in the status of a host's agent."""
    status = json.loads(run(host, "smegctl", "status", "--json"))
    (found,) = (each for each in status["meshes"] if each["mesh"] == name)
    return found


def via(host: str, name: str, prefix: str) -> str | None:
    """The member by which a host reaches a prefix, None if it does not."""
    found = [
        route for route in mesh(host, name)["routes"] if prefix in (route["prefix"], route["mesh"]) and route["used"]
    ]
    return found[0]["via"] if found else None


def pings(host: str, address: str) -> bool:
    ping = ["ping", "-6", "-n", "-c", "1", "-W", "1", address]
    return engine("exec", f"molecule-{host}", *ping, check=False).returncode == 0


def all_ping(pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether each of these hosts gets an answer from its address."""
    with ThreadPoolExecutor(8) as pool:
        return all(pool.map(lambda pair: pings(*pair), list(pairs)))


def seconds_until(what: Callable[[], bool], within: float) -> float:
    """How long it took; AssertionError where it takes longer than `within` seconds."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < within, f"not within {within} s"
    return time.monotonic() - began


class Pinging:
    """A ping in the background, twenty times a second."""

    def __init__(self, host: str, address: str, seconds: int) -> None:
        command = ["ping", "-6", "-n", "-D", "-i", "0.05", "-W", "1", "-w", str(seconds), address]
        self._host, self._pattern = host, f"^{' '.join(command)}$"
        self._process = subprocess.Popen(
            [ENGINE, "exec", f"molecule-{host}", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._first = self._line()

    def _line(self) -> float:
        """When the next answer came: it runs once there was one."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("["):
                return float(line.split("]")[0][1:])
        raise AssertionError("no answer at all")

    def gap(self) -> float:
        """Wait for its end; seconds of the longest time between two answers."""
        times = [self._first, *(float(line.split("]")[0][1:]) for line in self._answers())]
        return max((after - before for before, after in pairwise(times)), default=float("inf"))

    def lost(self) -> int:
        """End it now; how many went unanswered before the last that was answered."""
        run(self._host, "pkill", "-INT", "-f", self._pattern)
        numbers = [int(line.split("icmp_seq=")[1].split()[0]) for line in self._answers()]
        return numbers[-1] - numbers[0] + 1 - len(set(numbers))

    def _answers(self) -> list[str]:
        output, _errors = self._process.communicate(timeout=60)
        return [line for line in output.splitlines() if line.startswith("[")]


def play(playbook: str, *options: str, succeeds: bool = True, collections: str | None = None) -> str:
    """Run one of the collection's playbooks, perhaps of another installation, on the scenario's hosts; what it said."""
    command = [
        "ansible-playbook",
        "-i",
        os.environ["MOLECULE_INVENTORY_FILE"],
        f"smegmesh.wireguard.{playbook}",
        *options,
    ]
    environment = os.environ | ({"ANSIBLE_COLLECTIONS_PATH": collections} if collections else {})
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert (answer.returncode == 0) is succeeds, answer.stdout + answer.stderr
    return answer.stdout + answer.stderr


def changes(said: str) -> dict[str, int]:
    """By host, how many tasks of a run changed it; hosts of batches that were not begun are not in it."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +: ok=\d+ +changed=(\d+)", said, re.MULTILINE)}
