"""Processes that a benchmark starts, and ends by themselves whatever happens."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_END = 10.0  # seconds


class Processes:
    """By name, each with a log in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a command. One of this name that was killed is forgotten."""
        if name in self._running:
            self._running.pop(name).wait(_END)
        with (self._directory / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def pid(self, name: str) -> int:
        """Of a running one; RuntimeError with its last words if it has ended."""
        process = self._running[name]
        if process.poll() is not None:
            log = (self._directory / f"{name}.log").read_text(errors="replace")
            raise RuntimeError(f"{name} has ended with {process.returncode}:\n{log[-2000:]}")
        return process.pid

    def pids(self) -> list[int]:
        """Of all."""
        return [self.pid(name) for name in self._running]

    def kill(self, name: str) -> None:
        """SIGKILL it."""
        self._running[name].kill()

    def close(self) -> None:
        """SIGKILL all that still run."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait(_END)
        self._running.clear()


def eventually(condition: Callable[[], object], within: float, what: str, pause: float = 0.2) -> float:
    """Wait until a condition holds; the seconds it took. TimeoutError after `within` seconds."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > within:
            raise TimeoutError(f"not within {within:g} s: {what}")
        time.sleep(pause)
    return time.monotonic() - start
