"""smegctl: asks the agent, and writes declarations for it.

Exit status: 0 done, 1 failed (of `doctor`: something is wrong), 2 bad input, 3
the agent is not running, 4 no permission. Rooms are imported by the command that needs them, so that each
starts fast.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from smegmesh import __version__
from smegmesh.cli import join_options, simulate_options

OK, FAILED, BAD_INPUT, NOT_RUNNING, NOT_PERMITTED = range(5)
_MAX_INPUT = 16 * 1024 * 1024

Answer = tuple[Any, str]  # for --json, and for people


class _Failure(Exception):
    """An end with an exit status and one clear error."""

    def __init__(self, code: int, message: str, path: str = "", fix: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.parts = {"message": message, "path": path, "fix": fix}

    def __str__(self) -> str:
        return ": ".join(self.parts[key] for key in ("path", "message", "fix") if self.parts[key])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], Answer] = options.command
    try:
        data, text = _guard(command, options)
        print(json.dumps(data) if options.json else text, flush=True)
        status: Callable[[Any], int] = options.status
        return status(data)
    except _Failure as failure:
        if options.json:
            print(json.dumps({"error": failure.parts}), flush=True)
        else:
            print(f"smegctl: {failure}", file=sys.stderr)
        return failure.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # a reader like `head` has seen enough
        return OK
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="smegctl", description="Ask smegd, and declare meshes for it.")
    parser.set_defaults(status=lambda _data: OK)
    parser.add_argument("--version", action="version", version=f"smegctl {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON, errors too")
    socket = argparse.ArgumentParser(add_help=False)
    socket.add_argument("--socket", type=Path, default=Path("/run/smegmesh/api.sock"), help="the agent's socket")
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument("--state", type=Path, default=Path("/var/lib/smegmesh"), help="the agent's state directory")
    etc = argparse.ArgumentParser(add_help=False)
    etc.add_argument("--etc", type=Path, default=Path("/etc/smegmesh"), help="the agent's configuration directory")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("status", parents=[common, socket], help="the agent and its meshes")
    command.set_defaults(command=_status)
    command = commands.add_parser("members", parents=[common, socket], help="the members of a mesh, or of all")
    command.add_argument("mesh", nargs="?", help="mesh id")
    command.set_defaults(command=_members)
    command = commands.add_parser("query", parents=[common, socket], help="what a JMESPath expression finds in a mesh")
    command.add_argument("mesh", help="mesh id")
    command.add_argument("expression", help="over status, meshes and members, as members.MESH[?liveness=='down'].name")
    command.set_defaults(command=_query)
    command = commands.add_parser(
        "doctor",
        parents=[common, socket, state, etc],
        help="what is wrong with this host and its meshes, and how to mend it",
    )
    command.add_argument("--mesh", help="mesh id; all meshes if left out")
    command.set_defaults(command=_doctor, status=lambda data: OK if data["healthy"] else FAILED)
    command = commands.add_parser(
        "apply", parents=[common, socket, state, etc], help="write the declarations that come as JSON on standard input"
    )
    command.add_argument("--check", action="store_true", help="say what would change, change nothing")
    command.set_defaults(command=_apply)
    command = commands.add_parser(
        "request", parents=[common, state], help="a certificate request; makes the host's keys if it has none"
    )
    command.add_argument("--node-name", required=True, help="the name this host has in its meshes")
    command.set_defaults(command=_request)
    command = commands.add_parser(
        "import-key", parents=[common, state], help="make a WireGuard private key from standard input this host's"
    )
    command.add_argument("--check", action="store_true", help="say what would change, change nothing")
    command.add_argument("--replace", action="store_true", help="also where the host has another: a new node then")
    command.set_defaults(command=_import_key)
    command = commands.add_parser(
        "revoke", parents=[common, socket], help="take a node out for good: its revocation comes on standard input"
    )
    command.set_defaults(command=_revoke)
    command = commands.add_parser(
        "forget", parents=[common, socket], help="take out a member that is down and will not come back"
    )
    command.add_argument("mesh", help="mesh id")
    command.add_argument("member", help="its name, alias or node key")
    command.set_defaults(command=_forget)
    command = commands.add_parser("rotate", parents=[common, socket], help="replace this host's WireGuard key")
    command.add_argument("--force", action="store_true", help="even if members would not learn of it at once")
    command.set_defaults(command=_rotate)
    _add_joining(commands, common, socket, state)
    command = commands.add_parser(
        "static-peers", parents=[common, socket], help="the peers without an agent that this host carries"
    )
    command.add_argument("mesh", nargs="?", help="mesh id")
    command.set_defaults(command=_static_peers)
    command = commands.add_parser(
        "export-client", parents=[common, socket, state], help="the configuration of a static peer, for wg-quick"
    )
    command.add_argument("mesh", help="mesh id")
    command.add_argument("name", help="name of the static peer")
    command.add_argument("--routes", action="store_true", help="also send what this host uses beyond the mesh")
    command.add_argument("--preshared-key", action="store_true", help="with the preshared key, a secret; for root")
    command.add_argument("--output", type=Path, help="a new file for it, of mode 0600")
    command.set_defaults(command=_export_client)
    command = commands.add_parser(
        "preshared-keys",
        parents=[common, socket, state],
        help="take the preshared keys with other members that come as JSON on standard input",
    )
    command.add_argument("--check", action="store_true", help="say what would change, change nothing")
    command.set_defaults(command=_preshared_keys)
    command = commands.add_parser(
        "simulate", parents=[common], help="what a mesh of some size would do: its times and its traffic"
    )
    simulate_options.add_arguments(command)
    command.set_defaults(command=_simulate)
    command = commands.add_parser("version", parents=[common], help="the version of the agent's package")
    command.set_defaults(command=lambda _options: ({"version": __version__}, __version__))
    return parser


def _add_joining(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    socket: argparse.ArgumentParser,
    state: argparse.ArgumentParser,
) -> None:
    meshes = commands.add_parser("mesh", help="the meshes of this host").add_subparsers(required=True, metavar="WHAT")
    command = meshes.add_parser("join", parents=[common, socket, state], help="ask a peer to be let into a mesh")
    join_options.add_join(command)
    command.set_defaults(command=_join)
    command = commands.add_parser("joins", parents=[common, socket], help="the requests to join that wait at this peer")
    join_options.add_joins(command)
    command.set_defaults(command=_joins)
    command = commands.add_parser(
        "approve", parents=[common, socket], help="sign requests to join, where the authority's key is"
    )
    join_options.add_approve(command)
    command.set_defaults(command=_approve)
    command = commands.add_parser(
        "appoint", parents=[common], help="let a peer admit hosts by tokens: its request comes on standard input"
    )
    join_options.add_appoint(command)
    command.set_defaults(command=_appoint)
    command = commands.add_parser("token", parents=[common, socket], help="a one-time token for a host that will join")
    join_options.add_token(command)
    command.set_defaults(command=_token)


def _guard(command: Callable[[argparse.Namespace], Answer], options: argparse.Namespace) -> Answer:
    from smegmesh.cli.errors import BadInput, Failed
    from smegmesh.control.errors import ControlError, NotPermitted, NotRunning

    try:
        return command(options)
    except BadInput as error:
        raise _Failure(BAD_INPUT, str(error), error.path, error.fix) from error
    except Failed as error:
        raise _Failure(FAILED, str(error), "", error.fix) from error
    except NotRunning as error:
        raise _Failure(NOT_RUNNING, str(error)) from error
    except NotPermitted as error:
        raise _Failure(NOT_PERMITTED, str(error)) from error
    except ControlError as error:
        raise _Failure(FAILED, str(error)) from error
    except PermissionError as error:
        where = str(error.filename or "")
        raise _Failure(NOT_PERMITTED, "no permission", where, "run it as root (sudo smegctl …)") from error


def _status(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.output import use_colour
    from smegmesh.cli.show import collect, status_text
    from smegmesh.cli.static_peers import static_peers_text
    from smegmesh.control.client import Client

    client = Client(options.socket)
    status = client.status()
    text = status_text(status, use_colour())
    if not options.json:
        static = collect(client, None, client.static_peers)
        text += f"\n\n{static_peers_text(static, use_colour())}" if any(static.values()) else ""
    return status, text


def _members(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.output import use_colour
    from smegmesh.cli.show import collect, members_text
    from smegmesh.control.client import Client

    client = Client(options.socket)
    members = collect(client, options.mesh, client.members)
    return members, members_text(members, use_colour())


def _static_peers(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.output import use_colour
    from smegmesh.cli.show import collect
    from smegmesh.cli.static_peers import static_peers_text
    from smegmesh.control.client import Client

    client = Client(options.socket)
    peers = collect(client, options.mesh, client.static_peers)
    return peers, static_peers_text(peers, use_colour())


def _export_client(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.static_peers import NoExport, export, write_secret
    from smegmesh.control.client import Client
    from smegmesh.store.errors import StoreError

    if options.preshared_key and options.output is None and os.geteuid() != 0:
        raise _Failure(NOT_PERMITTED, "only root sees a preshared key", "", "use sudo")
    secret, routes = options.preshared_key, options.routes
    try:
        text = export(
            Client(options.socket), options.state, options.mesh, options.name, preshared_key=secret, routes=routes
        )
    except NoExport as error:
        raise _Failure(FAILED, str(error), "", error.fix) from error
    except StoreError as error:
        raise _Failure(FAILED, str(error)) from error
    if options.output is None:
        return {"config": text}, text
    try:
        write_secret(options.output, text)
    except PermissionError:
        raise
    except OSError as error:
        fix = "name a new file in a directory that is there"
        raise _Failure(FAILED, f"cannot be written: {error.strerror}", str(options.output), fix) from error
    return {"file": str(options.output)}, f"written: {options.output}"


def _preshared_keys(options: argparse.Namespace) -> Answer:
    from smegmesh.cli import preshared_keys
    from smegmesh.control.client import Client
    from smegmesh.store.errors import StoreError

    try:
        wanted = preshared_keys.parse_request(_read_input())
    except preshared_keys.BadRequest as error:
        raise _Failure(BAD_INPUT, str(error), error.path, error.fix) from error
    try:
        changes, reloaded = preshared_keys.apply(wanted, options.state, Client(options.socket), check=options.check)
    except StoreError as error:
        raise _Failure(FAILED, str(error)) from error
    except PermissionError:
        raise
    except OSError as error:
        fix = "certify the host first, and check its disk; no key was changed"
        raise _Failure(FAILED, f"cannot be written: {error.strerror}", str(error.filename or ""), fix) from error
    lines = [f"mesh {each.mesh}, with {each.other}: {each.word}" for each in changes] or ["nothing to change"]
    return preshared_keys.answer(changes, reloaded), "\n".join(lines)


def _query(options: argparse.Namespace) -> Answer:
    from smegmesh.control import query
    from smegmesh.control.client import Client
    from smegmesh.control.errors import Refused

    fix = "see https://jmespath.org"
    try:
        query.check(options.expression)
        found = Client(options.socket).query(options.mesh, options.expression)
    except query.BadExpression as error:
        if error.position is not None and not options.json:
            fix += f"\n{query.caret(options.expression, error.position)}"
        raise _Failure(BAD_INPUT, f"expression {error}", fix=fix) from error
    except Refused as error:
        raise _Failure(BAD_INPUT if error.status == 400 else FAILED, str(error)) from error
    return {"result": found}, json.dumps(found, indent=2)


def _doctor(options: argparse.Namespace) -> Answer:
    from smegmesh.cli import doctor
    from smegmesh.cli.output import use_colour
    from smegmesh.control.client import Client

    client = Client(options.socket, timeout=doctor.AGENT_SECONDS)
    facts = doctor.gather(client, doctor.Places(options.etc, options.state), options.mesh)
    data = doctor.answer(facts)
    return data, doctor.text(data, use_colour())


def _apply(options: argparse.Namespace) -> Answer:
    from smegmesh.cli import apply
    from smegmesh.control.client import Client
    from smegmesh.declaration.applying import check
    from smegmesh.declaration.change import Places
    from smegmesh.declaration.errors import DeclarationError

    places = Places(options.etc, options.state / "local.d")
    try:
        request = apply.parse_request(_read_input())
        if options.check:
            changes, reloaded = check(request, places), False
        else:
            changes, reloaded = apply.apply(request, places, Client(options.socket))
    except DeclarationError as error:
        path = ": ".join(part for part in (error.file, error.where) if part)
        raise _Failure(BAD_INPUT, error.what, path, error.fix) from error
    except apply.NotTakenOver as error:
        raise _Failure(FAILED, str(error)) from error
    except PermissionError:
        raise
    except OSError as error:
        fix = "mend that and apply again; no declaration was changed"
        raise _Failure(FAILED, f"cannot be written: {error.strerror}", str(error.filename or ""), fix) from error
    word = "would change" if options.check else "changed"
    lines = [f"{word}: {change.path}" for change in changes] or ["nothing to change"]
    return apply.answer(changes, reloaded), "\n".join(lines)


def _revoke(options: argparse.Namespace) -> Answer:
    from smegmesh.control.client import Client
    from smegmesh.identity.revocation import mesh_named

    revocation = _read_input()
    try:
        mesh = mesh_named(revocation.encode())
    except ValueError as error:
        fix = "give it the file that the authority made"
        raise _Failure(BAD_INPUT, "holds no revocation", "standard input", fix) from error
    return _removed(Client(options.socket).revoke(mesh, revocation), "revoked")


def _forget(options: argparse.Namespace) -> Answer:
    from smegmesh.control.client import Client

    return _removed(Client(options.socket).forget(options.mesh, options.member), "forgotten")


def _rotate(options: argparse.Namespace) -> Answer:
    from smegmesh.control.client import Client

    answer = Client(options.socket).rotate(force=options.force)
    return answer, f"the tunnel key is {answer['tunnel_key']} now; the node key and addresses are as before"


def _removed(answer: dict[str, Any], word: str) -> Answer:
    before = "" if answer["changed"] else " already"
    return answer, f"{answer['node_key']} is {word}{before} in mesh {answer['mesh']}"


def _join(options: argparse.Namespace) -> Answer:
    from smegmesh.cli import apply
    from smegmesh.cli.join_commands import run_join
    from smegmesh.declaration.errors import DeclarationError
    from smegmesh.store.errors import StoreError

    try:
        return run_join(options, _read_input)
    except DeclarationError as error:
        path = ": ".join(part for part in (error.file, error.where) if part)
        raise _Failure(BAD_INPUT, error.what, path, error.fix) from error
    except (apply.NotTakenOver, StoreError) as error:
        raise _Failure(FAILED, str(error)) from error
    except PermissionError:
        raise
    except OSError as error:
        fix = "mend that and run it again; nothing was changed"
        raise _Failure(FAILED, f"cannot be written: {error.strerror}", str(error.filename or ""), fix) from error


def _joins(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.join_commands import run_joins

    return run_joins(options, _read_input)


def _approve(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.approve_commands import run_approve

    try:
        return run_approve(options)
    except PermissionError:
        raise
    except OSError as error:
        fix = "name a file in a directory that is there"
        raise _Failure(FAILED, f"cannot be written: {error.strerror}", str(error.filename or ""), fix) from error


def _appoint(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.approve_commands import run_appoint

    return run_appoint(options, _read_input)


def _token(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.join_commands import run_token

    return run_token(options)


def _simulate(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.simulate import simulate
    from smegmesh.cli.simulate_options import problem

    wrong = problem(options)
    if wrong is not None:
        option, what, fix = wrong
        raise _Failure(BAD_INPUT, what, option, fix)
    return simulate(options)


def _read_input() -> str:
    content = sys.stdin.buffer.read(_MAX_INPUT + 1)
    if len(content) > _MAX_INPUT:
        raise _Failure(BAD_INPUT, f"is larger than {_MAX_INPUT >> 20} MiB", "standard input", "send less at once")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _Failure(BAD_INPUT, "is not UTF-8", "standard input", "send text in UTF-8") from error


def _request(options: argparse.Namespace) -> Answer:
    from smegmesh.declaration.errors import split_fix
    from smegmesh.identity.certificate import make_request
    from smegmesh.identity.grant import check_node_name
    from smegmesh.identity.keys import encode_key
    from smegmesh.store.errors import StoreError
    from smegmesh.store.keys import ensure_keys

    try:
        name = check_node_name(options.node_name)
    except ValueError as error:
        what, fix = split_fix(error)
        raise _Failure(BAD_INPUT, what, "--node-name", fix) from error
    try:
        keys, made = ensure_keys(options.state)
    except StoreError as error:
        raise _Failure(FAILED, str(error)) from error
    request = make_request(keys.identity, name, keys.node_key).decode()
    return {"changed": made, "request": request, "node_key": encode_key(keys.node_key)}, request.rstrip("\n")


def _import_key(options: argparse.Namespace) -> Answer:
    from smegmesh.identity.keys import KEY_LENGTH, decode_key, encode_key, public_key
    from smegmesh.store.errors import StoreError
    from smegmesh.store.keys import held_node_key, put_first_tunnel_key

    try:
        private = decode_key(_read_input().strip())
    except ValueError as error:
        raise _Failure(BAD_INPUT, str(error), "standard input", "give it what `wg genkey` made") from None
    if private == bytes(KEY_LENGTH):
        raise _Failure(BAD_INPUT, "a key of zeros alone is none", "standard input", "give it what `wg genkey` made")
    node_key = encode_key(public_key(private))
    try:
        held = held_node_key(options.state)
        before = encode_key(held) if held is not None else ""
        changed = before != node_key
        if changed and before and not options.replace:
            fix = "give --replace, with the agent stopped and its interfaces gone, if it is to be a new node"
            what = f"has another key already, {before}, which certificate and address depend on"
            raise _Failure(FAILED, what, str(options.state), fix)
        if changed and not options.check:
            put_first_tunnel_key(options.state, private)
    except StoreError as error:
        raise _Failure(FAILED, str(error)) from error
    return {"changed": changed, "node_key": node_key, "before": before}, node_key


if __name__ == "__main__":
    sys.exit(main())
