"""Calls functions of the agent inside a host: a process there that is told over a pipe which, with what."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parents[3] / "roles/smegmesh/files/smegmesh/src"))

from namespaces import Host

_Result = TypeVar("_Result")


class Inside:
    """A process in a host; ends with the block."""

    def __init__(self, host: Host) -> None:
        command = host.command([sys.executable, str(Path(__file__))])
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Have it call an importable function, or a method of a value; its error is raised here."""
        calls, answers = self._process.stdin, self._process.stdout
        assert calls is not None and answers is not None
        pickle.dump((function, arguments), calls)
        calls.flush()
        answer: Any
        fine, answer = pickle.load(answers)
        if not fine:
            raise answer
        return answer

    def __enter__(self) -> Inside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=10)


def serve(run: Callable[[Any, Sequence[object]], object]) -> None:
    """Answer calls from standard input until it ends: `run` gets what is called, and the arguments."""
    calls, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            called, arguments = pickle.load(calls)
        except EOFError:
            return
        try:
            answer = (True, run(called, arguments))
        except Exception as error:  # the test judges it
            answer = (False, error)
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    serve(lambda function, arguments: function(*arguments))
