"""JMESPath over what an agent knows, and the program that searches: `python -m smegmesh.control.query`.

A line of JMESPath can ask for more than any host has (`[@, @] | [@, @] | …`), and once begun it cannot be called off.
So the agent has it searched by a process of its own (`searching.py`), whose limits end it for certain.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import resource
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import jmespath
import msgspec
from jmespath.exceptions import IncompleteExpressionError, JMESPathError, LexerError

FOUND, BAD, TOO_MUCH = 0, 2, 3  # of an answer
SECONDS = 5  # of computing, for each question
MEMORY = 512 << 20  # bytes of address space
ANSWER = 16 << 20  # bytes
_SAID = 200  # characters of what is wrong
_EXPRESSION = 2048  # bytes: quoted, it must fit into the first line of a request


class BadExpression(ValueError):
    """One line on what is wrong with an expression; `position` is where, in characters from 0, if it is in its text.

    The line is bounded: what the library says may hold whatever was searched.
    """

    def __init__(self, why: str, position: int | None = None) -> None:
        said = textwrap.shorten(why, _SAID, placeholder=" …")
        super().__init__(said if position is None else f"{said}, at column {position + 1}")
        self.position = position


def check(expression: str) -> Any:
    """The compiled expression; BadExpression if it is none."""
    try:
        if len(expression.encode()) > _EXPRESSION:
            raise BadExpression(f"is longer than {_EXPRESSION} bytes")
        return jmespath.compile(expression)
    except UnicodeEncodeError:
        raise BadExpression("is not UTF-8") from None
    except JMESPathError as error:
        raise _bad(error) from None
    except RecursionError:
        raise BadExpression("is nested too deeply") from None


def search(expression: str, picture: Any) -> Any:
    """What the expression finds in plain data, None for nothing; BadExpression if it does not hold there."""
    compiled = check(expression)
    try:
        return compiled.search(picture)
    except JMESPathError as error:
        raise _bad(error) from None
    except RecursionError:
        raise BadExpression("is nested too deeply") from None
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:  # what it does not check, as a step of 0
        raise BadExpression(f"does not fit what is searched ({error})") from None


def caret(expression: str, position: int) -> str:
    """The expression, and below it a caret at the position, for a terminal."""
    shown = "".join(character if character.isprintable() else "?" for character in expression)
    return f"  {shown}\n  {' ' * position}^"


def _bad(error: JMESPathError) -> BadExpression:
    if isinstance(error, IncompleteExpressionError):
        said = "is not complete"
    elif isinstance(error, LexerError):
        said = error.message
    else:
        said = getattr(error, "msg", None) or str(error)
    return BadExpression(said.rstrip("."), getattr(error, "lex_position", None))


def encode(found: Any) -> str:
    """`{"result": …}` in JSON; BadExpression for a number that JSON has not."""
    try:
        return json.dumps({"result": found}, allow_nan=False)
    except ValueError:
        raise BadExpression("finds a number that JSON has not") from None


def main() -> None:
    """Lines of `[expression, picture]` in JSON on standard input; to each a line on standard output.

    That is FOUND and `{"result": …}`, BAD and why, or TOO_MUCH. Where it is too much it ends, as it does, by a signal,
    where it computes for too long.
    """
    with contextlib.suppress(OSError):  # the agent goes first, and where memory runs out stays
        os.nice(10)
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    gc.disable()  # what is read and found has no cycles
    code = FOUND
    while code != TOO_MUCH and (question := sys.stdin.buffer.readline()):
        _allow(math.ceil(time.process_time()) + SECONDS)
        code, said = _answer(question)
        del question
        sys.stdout.write(f"{code} {said}\n")
        sys.stdout.flush()
        del said


def _allow(seconds: int) -> None:
    """End this process when it has computed for so long, unless it is allowed even less."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = seconds if hard == resource.RLIM_INFINITY else min(seconds, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _answer(question: bytes) -> tuple[int, str]:
    try:
        expression, picture = msgspec.json.decode(question)
        answer = encode(search(expression, picture))
    except BadExpression as error:
        return BAD, str(error)
    except MemoryError:
        return TOO_MUCH, ""
    return (FOUND, answer) if len(answer) <= ANSWER else (TOO_MUCH, "")


if __name__ == "__main__":
    main()
