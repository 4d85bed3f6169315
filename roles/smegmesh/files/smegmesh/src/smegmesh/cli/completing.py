"""What could be typed next: commands, options, and names that the agent knows."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from smegmesh.cli import parsing
from smegmesh.cli.command import Command
from smegmesh.control.client import Client
from smegmesh.control.errors import ControlError

Found = list[tuple[str, str]]  # a word, and what it is
FILES = ":files"  # a shell completes names of files by itself
_PLAIN = re.compile(r"[\w.:/@+-]+", re.ASCII)  # what others are called goes into a line that a shell will run
_SECONDS = 0.5  # that the agent may take: somebody waits


class Names(Protocol):
    """Where names come from."""

    def find(self, what: str, mesh: str) -> Iterable[str]:
        """All of a kind: `mesh`, or `member`, `service`, `prefix` and `name` (of a static peer) in a mesh."""


class AgentNames:
    """Names that the agent on a socket knows; none where it does not answer."""

    def __init__(self, socket: Path) -> None:
        self._client = Client(socket, timeout=_SECONDS)

    def find(self, what: str, mesh: str) -> list[str]:
        """As `Names`."""
        try:
            return [name for name in map(str, self._ask(what, mesh)) if _PLAIN.fullmatch(name)]
        except (ControlError, KeyError, TypeError):
            return []

    def _ask(self, what: str, mesh: str) -> Iterator[str]:
        if what == "mesh":
            yield from (each["mesh"] for each in self._client.meshes())
        elif what == "member":
            yield from (each["name"] for each in self._client.members(mesh))
        elif what == "service":
            yield from (each["name"] for each in self._client.services(mesh) if each["own"])
        elif what == "prefix":
            yield from (each["prefix"] for each in self._client.routes(mesh)["advertised"])
        elif what == "name":
            yield from (each["name"] for each in self._client.static_peers(mesh))


def complete(words: Sequence[str], names: Names) -> Found:
    """What the last word could become, by the words before it."""
    *before, current = words or [""]
    command, rest = _command(before)
    found = _next_words(before) if command is None else _arguments(command, rest, current, names)
    return [(word, about) for word, about in found if word.startswith(current) or word == FILES]


def _command(before: Sequence[str]) -> tuple[Command | None, Sequence[str]]:
    known = parsing.commands()
    for count in (1, 2):
        command = known.get(" ".join(before[:count]))
        if command is not None and len(before) >= count:
            return command, before[count:]
    return None, ()


def _next_words(before: Sequence[str]) -> Found:
    shown = {words: command for words, command in parsing.commands().items() if command.summary}
    if before:
        return [(second, shown[f"{before[0]} {second}"].summary) for second in parsing.following(before[0], shown)]
    firsts: dict[str, str] = {}
    for words, command in shown.items():
        first, _blank, more = words.partition(" ")
        firsts.setdefault(first, "" if more else command.summary)
    return [*firsts.items(), ("--help", ""), ("--version", "")]


def _arguments(command: Command, rest: Sequence[str], current: str, names: Names) -> Found:
    actions = parsing.make_parser(command)._actions
    options = {flag: action for action in actions for flag in action.option_strings}
    positionals = [action for action in actions if not action.option_strings]
    given: list[str] = []
    waiting: argparse.Action | None = None
    for word in rest:
        if waiting is not None:
            waiting = None
        elif word.startswith("-"):
            waiting = options.get(word) if options.get(word) is not None and options[word].nargs != 0 else None
        else:
            given.append(word)
    if waiting is not None:
        return _values(waiting, "", names)
    if current.startswith("-"):
        return [(flag, action.help or "") for flag, action in options.items() if flag.startswith("--")]
    if len(given) >= len(positionals):
        return []
    dests = [action.dest for action in positionals]
    mesh = given[dests.index("mesh")] if "mesh" in dests[: len(given)] else ""
    return _values(positionals[len(given)], mesh, names)


def _values(action: argparse.Action, mesh: str, names: Names) -> Found:
    if action.choices is not None:
        return [(str(choice), "") for choice in action.choices]
    if action.type is Path:
        return [(FILES, "")]
    return [(name, "") for name in sorted(set(names.find(action.dest, mesh)))]
