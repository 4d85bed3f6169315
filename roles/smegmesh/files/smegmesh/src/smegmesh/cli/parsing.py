"""From the words that were typed to a command and its options. Only the parser of that command is made."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from smegmesh import __version__
from smegmesh.cli import asking, changing, declaring, joining, keys, meshes, tools
from smegmesh.cli.command import Command
from smegmesh.cli.errors import BadInput
from smegmesh.cli.output import width

GROUPS: dict[str, tuple[Command, ...]] = {
    "Look": asking.COMMANDS,
    "Meshes of this host": meshes.COMMANDS,
    "Joining without Ansible": joining.COMMANDS,
    "What this host says of itself": changing.COMMANDS,
    "Keys and members": keys.COMMANDS,
    "Declarations": declaring.COMMANDS,
    "More": tools.COMMANDS,
}
PLACES = {
    "socket": ("/run/smegmesh/api.sock", "the agent's socket"),
    "state": ("/var/lib/smegmesh", "the agent's state directory"),
    "etc": ("/etc/smegmesh", "the agent's configuration directory"),
}


class Help(Exception):
    """A text that was asked for instead of a command."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(self.prog.removeprefix("smegctl "), message, f"see `{self.prog} --help`")


def _formatter(prog: str) -> argparse.HelpFormatter:
    """As argparse's own, which would load `shutil` for the width, with each option and not only for a help."""
    return argparse.HelpFormatter(prog, width=(width() or 80) - 2)


class _ShowHelp(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_more: Any) -> NoReturn:
        raise Help(parser.format_help().rstrip("\n"))


def commands() -> dict[str, Command]:
    """All of them, by what one types."""
    return {command.words: command for group in GROUPS.values() for command in group}


def parse(words: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """The command and its options. Raises BadInput, and Help where that is wanted."""
    command, rest = find(words)
    parser = make_parser(command)
    options, unknown = parser.parse_known_args(rest)
    if unknown:
        named = [flag for action in parser._actions for flag in action.option_strings]
        what = "option" if unknown[0].startswith("-") else "argument"
        name = unknown[0].partition("=")[0]
        raise BadInput(command.words, f"unknown {what} {name}", _meant(name, named, f"see `{parser.prog} --help`"))
    return command, options


def find(words: Sequence[str]) -> tuple[Command, Sequence[str]]:
    """The command that the first words are, and the other words. Raises as `parse`."""
    if words and words[0] in ("-h", "--help", "help"):
        raise Help(overview())
    if words and words[0] == "--version":
        raise Help(f"smegctl {__version__}")
    if not words or words[0].startswith("-"):
        raise BadInput("", "which command?", "name it first; see `smegctl --help`")
    known = commands()
    for count in (1, 2):
        command = known.get(" ".join(words[:count]))
        if command is not None:
            return command, words[count:]
    return _not_found(words, known)


def _not_found(words: Sequence[str], known: Iterable[str]) -> NoReturn:
    firsts, seconds = {each.split()[0] for each in known}, following(words[0], known)
    if not seconds:
        raise BadInput("", f"unknown command {words[0]}", _meant(words[0], sorted(firsts), "see `smegctl --help`"))
    if len(words) > 1 and words[1] in ("-h", "--help"):
        raise Help("\n".join(_lines(each for name, each in commands().items() if name.split()[0] == words[0])))
    listed = ", ".join(seconds)
    if len(words) == 1 or words[1].startswith("-"):
        raise BadInput(words[0], "what to do?", f"one of {listed}")
    raise BadInput(words[0], f"unknown command {words[1]}", _meant(words[1], seconds, f"one of {listed}"))


def following(first: str, known: Iterable[str]) -> list[str]:
    """The second words of commands of two."""
    return [each.split()[1] for each in known if each.startswith(f"{first} ")]


def _meant(name: str, known: Sequence[str], else_: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else else_


def make_parser(command: Command) -> argparse.ArgumentParser:
    """The parser of one command."""
    parser = _Parser(
        f"smegctl {command.words}",
        description=command.summary,
        formatter_class=_formatter,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("-h", "--help", action=_ShowHelp, nargs=0, help="show this")
    parser.add_argument("--json", action="store_true", help="print JSON, errors too")
    command.arguments(parser)
    for place in command.places:
        default, summary = PLACES[place]
        parser.add_argument(f"--{place}", type=Path, default=Path(default), help=f"{summary} ({default})")
    return parser


def overview() -> str:
    """All commands, in groups."""
    parts = ["usage: smegctl COMMAND …", "Ask smegd, and declare meshes for it. Each COMMAND has --help."]
    parts += ["\n".join([f"{title}:", *_lines(group)]) for title, group in GROUPS.items()]
    return "\n\n".join(parts)


def _lines(group: Iterable[Command]) -> list[str]:
    return [f"  {command.words:15} {command.summary}" for command in group if command.summary]
