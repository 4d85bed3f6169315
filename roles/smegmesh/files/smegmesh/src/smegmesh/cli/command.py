"""What a command of smegctl is. The groups of commands are tables of these."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from smegmesh.cli.errors import BadInput

_MAX_INPUT = 16 * 1024 * 1024


class Answer(NamedTuple):
    """What a command says: data for --json, a text for people; `code` is the exit status."""

    data: Any
    text: str
    code: int = 0


def no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Of a command that takes none."""


def add_mesh(parser: argparse.ArgumentParser) -> None:
    """Of a command that is about one mesh."""
    parser.add_argument("mesh", help="mesh id")


class Command(NamedTuple):
    """`words` are what one types, `places` which places of the host can be named otherwise (`parsing.PLACES`).

    `run` raises what `failing.explain` knows. What goes on is an iterator of answers, printed as they come. A command
    without a summary is for programs.
    """

    words: str
    summary: str
    run: Callable[[argparse.Namespace], Answer | Iterator[Answer]]
    arguments: Callable[[argparse.ArgumentParser], object] = no_arguments
    places: tuple[str, ...] = ()


def read_input() -> str:
    """All of standard input; BadInput if it is too much, or no text."""
    content = sys.stdin.buffer.read(_MAX_INPUT + 1)
    if len(content) > _MAX_INPUT:
        raise BadInput("standard input", f"is larger than {_MAX_INPUT >> 20} MiB", "send less at once")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadInput("standard input", "is not UTF-8", "send text in UTF-8") from error
