"""Commands for joining a mesh without Ansible: of the host that asks, the peer that is asked, and who signs."""

from __future__ import annotations

import argparse

from smegmesh.cli import join_options
from smegmesh.cli.command import Answer, Command, read_input
from smegmesh.cli.errors import writing


def _join(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.join_commands import run_join

    with writing("mend that and run it again; nothing was changed"):
        return run_join(options, read_input)


def _joins(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.join_commands import run_joins

    return run_joins(options, read_input)


def _approve(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.approve_commands import run_approve

    with writing("name a file in a directory that is there"):
        return run_approve(options)


def _appoint(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.approve_commands import run_appoint

    return run_appoint(options, read_input)


def _token(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.join_commands import run_token

    return run_token(options)


_SOCKET = ("socket",)
_HOST = (*_SOCKET, "state", "etc")
COMMANDS = (
    Command("mesh join", "ask a peer to be let into a mesh", _join, join_options.add_join, _HOST),
    Command("joins", "the requests to join that wait at this peer", _joins, join_options.add_joins, _SOCKET),
    Command(
        "approve", "sign requests to join, where the authority's key is", _approve, join_options.add_approve, _SOCKET
    ),
    Command(
        "appoint",
        "let a peer admit hosts by tokens: its request comes on standard input",
        _appoint,
        join_options.add_appoint,
    ),
    Command("token", "a one-time token for a host that will join", _token, join_options.add_token, _SOCKET),
)
