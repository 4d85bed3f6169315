"""The scenario's hosts as faults need them: through the engine, which is there when ssh is not."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import permutations
from pathlib import Path

ENGINE = os.environ.get("SMEGMESH_LAB_ENGINE", "docker")
INVENTORY = os.environ["MOLECULE_INVENTORY_FILE"]
SIXTH = Path(__file__).with_name("sixth.yml")
MESH = "trial"


def engine(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ENGINE, *arguments], check=check, capture_output=True, text=True, timeout=60)


class Host:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def run(self, *command: str) -> str:
        return engine("exec", f"molecule-{self.name}", *command).stdout

    def kill(self) -> None:
        """No warning: the host is gone in the middle of whatever it did."""
        engine("kill", f"molecule-{self.name}")

    def start(self) -> None:
        engine("start", f"molecule-{self.name}")

    def members(self) -> dict[str, dict[str, object]]:
        return {member["name"]: member for member in json.loads(self.run("smegctl", "members", MESH, "--json"))[MESH]}

    @cached_property
    def address(self) -> str:
        """On the overlay; it follows from the host's key, so it stays."""
        (mesh,) = json.loads(self.run("smegctl", "status", "--json"))["meshes"]
        return mesh["address"]

    def agent_process(self) -> str:
        return self.run("systemctl", "show", "--property", "MainPID", "--value", "smegd").strip()

    def reaches(self, other: Host) -> bool:
        ping = ["ping", "-6", "-c", "1", "-W", "1", other.address]
        return engine("exec", f"molecule-{self.name}", *ping, check=False).returncode == 0

    def lost_pings(self, other: Host, seconds: int) -> int:
        """Ten pings a second for some seconds; how many went unanswered."""
        ping = ["ping", "-6", "-n", "-q", "-i", "0.1", "-W", "1", "-c", str(seconds * 10), other.address]
        answer = engine("exec", f"molecule-{self.name}", *ping, check=False)
        sent, received = (
            int(part.split()[0]) for part in answer.stdout.split("\n\n--- ")[1].split("\n")[1].split(",")[:2]
        )
        return sent - received


def unreachable(hosts: Iterable[Host]) -> list[tuple[Host, Host]]:
    pairs = list(permutations(hosts, 2))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda pair: pair[0].reaches(pair[1]), pairs))
    return [pair for pair, answered in zip(pairs, answers, strict=True) if not answered]


def seconds_until(what: Callable[[], bool], within: float) -> float:
    """How long it took; AssertionError where it takes longer than `within` seconds."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < within, f"not within {within} s"
    return time.monotonic() - start


def play(playbook: str, *options: str, succeeds: bool = True) -> str:
    """Run one of the collection's playbooks on the inventory with the sixth host in it; what it printed."""
    command = ["ansible-playbook", "-i", INVENTORY, "-i", str(SIXTH), f"smegmesh.wireguard.{playbook}", *options]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (answer.returncode == 0) is succeeds, answer.stdout + answer.stderr
    return answer.stdout
