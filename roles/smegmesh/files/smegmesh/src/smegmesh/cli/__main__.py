"""smegctl: asks the agent, and writes declarations for it.

Exit status: 0 done, 1 failed (of `doctor`: something is wrong), 2 bad input, 3
the agent is not running, 4 no permission, 130 interrupted. Rooms are imported
by the command that needs them, so that each starts fast.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence

from smegmesh.cli import parsing
from smegmesh.cli.command import Answer

OK, FAILED = 0, 1
_INTERRUPTED = 130


class _Unprintable(Exception):
    """Standard output takes no more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    if sys.stdout is None:
        print("smegctl: standard output: is closed: give it one, /dev/null if need be", file=sys.stderr)
        return FAILED
    code = OK
    try:
        for answer in _answers(words):
            _print(json.dumps(answer.data) if as_json else answer.text)
            code = answer.code
    except BrokenPipeError:  # a reader like `head` has seen enough
        _drop_output()
    except _Unprintable as error:
        _drop_output()
        print(f"smegctl: standard output: cannot be written: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        return _fail(error, as_json)
    return code


def _answers(words: Sequence[str]) -> Iterator[Answer]:
    try:
        command, options = parsing.parse(words)
    except parsing.Help as text:
        yield Answer({"help": str(text)}, str(text))
        return
    answer = command.run(options)
    if isinstance(answer, Answer):
        yield answer
    else:
        yield from answer


def _fail(error: Exception, as_json: bool) -> int:
    """Say what is wrong; the exit status. A fault of our own is raised again."""
    from smegmesh.cli.failing import explain

    failure = explain(error)
    if failure is None:
        raise error
    if not as_json:
        print(f"smegctl: {failure.line}", file=sys.stderr)
        return failure.code
    try:
        _print(json.dumps({"error": failure.parts}))
    except (BrokenPipeError, _Unprintable):
        _drop_output()
    return failure.code


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _Unprintable(error.strerror) from error


def _drop_output() -> None:
    """What is still to be written is not, at the end of the process either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
