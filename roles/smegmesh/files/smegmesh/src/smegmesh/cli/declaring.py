"""The commands that take declarations and fragments from elsewhere, and have the agent read what is there."""

from __future__ import annotations

import argparse

from smegmesh.cli.command import Answer, Command, read_input
from smegmesh.cli.errors import writing


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="say what would change, change nothing")


def _apply(options: argparse.Namespace) -> Answer:
    from smegmesh.cli import apply
    from smegmesh.control.client import Client
    from smegmesh.declaration.applying import check
    from smegmesh.declaration.change import Places

    places = Places(options.etc, options.state / "local.d")
    request = apply.parse_request(read_input())
    with writing("mend that and apply again; no declaration was changed"):
        if options.check:
            changes, reloaded = check(request, places), False
        else:
            changes, reloaded = apply.apply(request, places, Client(options.socket))
    word = "would change" if options.check else "changed"
    lines = [f"{word}: {change.path}" for change in changes] or ["nothing to change"]
    return Answer(apply.answer(changes, reloaded), "\n".join(lines))


def _reload(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.failing import FAILED
    from smegmesh.cli.output import plain
    from smegmesh.control.client import Client

    answer = Client(options.socket).reload()
    lines = [f"changed: {plain(mesh)}" for mesh in answer["changed"]]
    lines += [f"{plain(mesh)}: {plain(problem)}" for mesh, problem in sorted(answer["problems"].items())]
    return Answer(answer, "\n".join(lines) or "nothing to change", FAILED if answer["problems"] else 0)


COMMANDS = (
    Command(
        "apply",
        "write the declarations that come as JSON on standard input",
        _apply,
        _add_apply,
        ("socket", "state", "etc"),
    ),
    Command("reload", "have the agent read its declarations and certificates again", _reload, places=("socket",)),
)
