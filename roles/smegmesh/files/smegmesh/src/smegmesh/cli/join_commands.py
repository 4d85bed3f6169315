"""`smegctl mesh join`, `joins` and `token`: from the options to what is printed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smegmesh.cli import join
from smegmesh.cli.command import Answer
from smegmesh.cli.comparing import read_mesh, read_option, says_yes
from smegmesh.cli.errors import BadInput
from smegmesh.cli.output import duration, plain, table
from smegmesh.control.client import Client
from smegmesh.declaration.parse import parse_host_port
from smegmesh.identity.errors import split_fix
from smegmesh.identity.joining import read_fingerprint, write_fingerprint
from smegmesh.identity.keys import IdentityKey, encode_key
from smegmesh.identity.token import Token

_HEAD = ("MESH", "NAME", "FROM", "SINCE", "STATE", "NOTE")


def run_join(options: argparse.Namespace, read_input: Callable[[], str]) -> Answer:
    """Ask to join, or go on. Raises BadInput, Failed, and what `join.Joiner` does."""
    wanted = _read_wanted(options, read_input)
    joiner = join.Joiner(options.etc, options.state, Client(options.socket), wanted, _confirm)
    step = join.ask_until(joiner, time.monotonic() + options.wait, time.monotonic, time.sleep)
    fingerprint = write_fingerprint(step.join.fingerprint)
    data = {
        "state": step.state,
        "mesh": step.join.mesh,
        "name": step.join.request.node_name,
        "fingerprint": fingerprint,
        "authority": step.authority,
        "running": step.running,
    }
    if step.state == "pending":
        lines = [
            f"{data['name']} waits to be let into mesh {data['mesh']}",
            f"  fingerprint  {fingerprint}",
            f"  authority    {step.authority}",
            "compare both with `smegctl joins` at the peer; when it is approved, run this command again",
        ]
    else:
        lines = [f"{data['name']} has joined mesh {data['mesh']}"]
        lines += [] if step.running else ["start the agent: systemctl enable --now smegd"]
    return Answer(data, "\n".join(lines))


def run_joins(options: argparse.Namespace, read_input: Callable[[], str]) -> Answer:
    """What waits at this peer; or take certificates, or reject. Raises BadInput and ControlError."""
    client = Client(options.socket)
    if options.take:
        taken = client.approve(read_input())
        return Answer(taken, "\n".join(f"{each['name']} can join mesh {each['mesh']} now" for each in taken))
    if options.reject is not None:
        dropped = client.reject(write_fingerprint(read_option("--reject", options.reject)))
        return Answer(dropped, f"the request of {dropped['name']} for mesh {dropped['mesh']} is dropped")
    listed = client.joins()
    return Answer(listed, _joins_text(listed))


def run_token(options: argparse.Namespace) -> Answer:
    """A one-time token, which this program makes and the agent never has. Raises BadInput and ControlError."""
    key = IdentityKey.generate()
    mesh = read_mesh("MESH", options.mesh)
    invited = Client(options.socket).invite(mesh, encode_key(key.public), options.seconds)
    token = Token(key, read_fingerprint(invited["authority"])).write()
    return Answer({"mesh": mesh, "seconds": options.seconds, "token": token}, token.rstrip("\n"))


def _read_token(file: str | None, read_input: Callable[[], str]) -> Token | None:
    if file is None:
        return None
    try:
        return Token.read(read_input() if file == "-" else Path(file).read_text("ascii", "replace"))
    except PermissionError:
        raise
    except OSError as error:
        raise BadInput(file, f"cannot be read: {error.strerror}", "give the right path") from None
    except ValueError as error:
        raise BadInput(file, *split_fix(error)) from None


def _read_wanted(options: argparse.Namespace, read_input: Callable[[], str]) -> join.Wanted:
    peer = parse_host_port(options.address)
    if peer is None:
        raise BadInput("ADDRESS", f"{options.address} is not host or host:port", "write it like 198.18.0.11")
    token = _read_token(options.token, read_input)
    expected = token.authority if token is not None else None
    if options.authority_fingerprint is not None:
        expected = read_option("--authority-fingerprint", options.authority_fingerprint)
    content = {"role": "client"} if options.endpoint is None else {"role": "peer", "endpoint": options.endpoint}
    return join.Wanted(
        peer=peer,
        mesh=read_mesh("MESH", options.mesh),
        authority=options.authority,
        content=content,
        expected=expected,
        token=token,
        renew=options.renew,
    )


def _confirm(authority: str) -> bool:
    question = f"authority  {authority}\ndoes `smegctl joins` at the peer, or who has its key, show the same? [yes/no] "
    return says_yes(question, "give --authority-fingerprint, from the peer or from who has its key")


def _joins_text(listed: Sequence[Mapping[str, Any]]) -> str:
    """A table, and below it what is to be compared."""
    if not listed:
        return "no request waits"
    rows = [
        tuple(each.get(key) for key in ("mesh", "name", "source"))
        + (duration(each.get("age")), each.get("state"), each.get("note"))
        for each in listed
    ]
    parts = [table(_HEAD, rows, colour=False)]
    for each in listed:
        parts.append(
            f"{plain(each.get('name'))} in mesh {plain(each.get('mesh'))}\n"
            f"  fingerprint  {plain(each.get('fingerprint'))}\n"
            f"  authority    {plain(each.get('authority'))}"
        )
    return "\n\n".join(parts)
