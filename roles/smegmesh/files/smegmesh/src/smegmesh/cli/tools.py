"""Commands that need no agent."""

from __future__ import annotations

import argparse

from smegmesh import __version__
from smegmesh.cli import simulate_options
from smegmesh.cli.command import Answer, Command
from smegmesh.cli.errors import BadInput


def _simulate(options: argparse.Namespace) -> Answer:
    wrong = simulate_options.problem(options)
    if wrong is not None:
        raise BadInput(*wrong)
    from smegmesh.cli.simulate import simulate

    return Answer(*simulate(options))


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def _completion(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.completion_scripts import SCRIPTS

    script = SCRIPTS[options.shell].strip("\n")
    return Answer({"script": script}, script)


def _add_complete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", help="after --: what was typed behind smegctl, the last word unfinished")


def _complete(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.completing import AgentNames, complete

    found = complete(options.words, AgentNames(options.socket))
    return Answer(found, "\n".join(f"{word}\t{about}" if about else word for word, about in found))


def _version(_options: argparse.Namespace) -> Answer:
    return Answer({"version": __version__}, __version__)


COMMANDS = (
    Command("simulate", "what a mesh of some size would do", _simulate, simulate_options.add_arguments),
    Command("completion", "have a shell complete what one types", _completion, _add_completion),
    Command("complete", "", _complete, _add_complete, ("socket",)),
    Command("version", "the version of the agent's package", _version),
)
