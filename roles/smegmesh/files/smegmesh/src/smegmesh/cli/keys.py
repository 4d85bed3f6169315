"""Commands for the keys of this host, and for taking members out."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from smegmesh.cli.command import Answer, Command, add_mesh, read_input
from smegmesh.cli.errors import BadInput, Failed, NoPermission, writing


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="say what would change, change nothing")


def _add_request(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node-name", required=True, help="the name this host has in its meshes")


def _request(options: argparse.Namespace) -> Answer:
    from smegmesh.identity.certificate import make_request
    from smegmesh.identity.errors import split_fix
    from smegmesh.identity.grant import check_node_name
    from smegmesh.identity.keys import encode_key
    from smegmesh.store.keys import ensure_keys

    try:
        name = check_node_name(options.node_name)
    except ValueError as error:
        raise BadInput("--node-name", *split_fix(error)) from error
    keys, made = ensure_keys(options.state)
    request = make_request(keys.identity, name, keys.node_key).decode()
    data = {"changed": made, "request": request, "node_key": encode_key(keys.node_key)}
    return Answer(data, request.rstrip("\n"))


def _add_import(parser: argparse.ArgumentParser) -> None:
    _add_check(parser)
    parser.add_argument("--replace", action="store_true", help="also where the host has another: a new node then")


def _import_key(options: argparse.Namespace) -> Answer:
    from smegmesh.identity.keys import encode_key, public_key
    from smegmesh.store.keys import held_node_key, put_first_tunnel_key

    private = _read_private_key()
    node_key = encode_key(public_key(private))
    held = held_node_key(options.state)
    before = encode_key(held) if held is not None else ""
    changed = before != node_key
    if changed and before and not options.replace:
        fix = "give --replace, with the agent stopped and its interfaces gone, if it is to be a new node"
        what = f"has another key already, {before}, which certificate and address depend on"
        raise Failed(what, fix, str(options.state))
    if changed and not options.check:
        put_first_tunnel_key(options.state, private)
    return Answer({"changed": changed, "node_key": node_key, "before": before}, node_key)


def _read_private_key() -> bytes:
    from smegmesh.identity.keys import KEY_LENGTH, decode_key

    path, fix = "standard input", "give it what `wg genkey` made"
    try:
        private = decode_key(read_input().strip())
    except ValueError as error:
        raise BadInput(path, str(error), fix) from None
    if private == bytes(KEY_LENGTH):
        raise BadInput(path, "a key of zeros alone is none", fix)
    return private


def _add_rotate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="even if members would not learn of it at once")
    parser.add_argument("--check", action="store_true", help="say whether that would be refused, change nothing")


def _rotate(options: argparse.Namespace) -> Answer:
    from smegmesh.control.client import Client

    answer = Client(options.socket).rotate(force=options.force, check=options.check)
    if options.check:
        return Answer(answer, f"the tunnel key {answer['tunnel_key']} would be replaced")
    told = f"the tunnel key is {answer['tunnel_key']} now; the node key and addresses are as before"
    return Answer(answer, told)


def _preshared_keys(options: argparse.Namespace) -> Answer:
    from smegmesh.cli import preshared_keys
    from smegmesh.control.client import Client

    wanted = preshared_keys.parse_request(read_input())
    with writing("certify the host first, and check its disk; no key was changed"):
        changes, reloaded = preshared_keys.apply(wanted, options.state, Client(options.socket), check=options.check)
    lines = [f"mesh {each.mesh}, with {each.other}: {each.word}" for each in changes] or ["nothing to change"]
    return Answer(preshared_keys.answer(changes, reloaded), "\n".join(lines))


def _add_export(parser: argparse.ArgumentParser) -> None:
    add_mesh(parser)
    parser.add_argument("name", help="name of the static peer")
    parser.add_argument("--routes", action="store_true", help="also send what this host uses beyond the mesh")
    parser.add_argument("--preshared-key", action="store_true", help="with the preshared key, a secret; for root")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a new file for it, of mode 0600")


def _export_client(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.static_peers import export, write_secret
    from smegmesh.control.client import Client

    if options.preshared_key and options.output is None and os.geteuid() != 0:
        raise NoPermission("only root sees a preshared key", "use sudo")
    secret, routes = options.preshared_key, options.routes
    client = Client(options.socket)
    text = export(client, options.state, options.mesh, options.name, preshared_key=secret, routes=routes)
    if options.output is None:
        return Answer({"config": text}, text)
    with writing("name a new file in a directory that is there"):
        write_secret(options.output, text)
    return Answer({"file": str(options.output)}, f"written: {options.output}")


def _revoke(options: argparse.Namespace) -> Answer:
    from smegmesh.control.client import Client
    from smegmesh.identity.revocation import mesh_named

    revocation = read_input()
    try:
        mesh = mesh_named(revocation.encode())
    except ValueError as error:
        fix = "give it the file that the authority made"
        raise BadInput("standard input", "holds no revocation", fix) from error
    return _removed(Client(options.socket).revoke(mesh, revocation), "revoked")


def _add_forget(parser: argparse.ArgumentParser) -> None:
    add_mesh(parser)
    parser.add_argument("member", help="its name, alias or node key")


def _forget(options: argparse.Namespace) -> Answer:
    from smegmesh.control.client import Client

    return _removed(Client(options.socket).forget(options.mesh, options.member), "forgotten")


def _removed(answer: dict[str, Any], word: str) -> Answer:
    before = "" if answer["changed"] else " already"
    return Answer(answer, f"{answer['node_key']} is {word}{before} in mesh {answer['mesh']}")


_SOCKET, _STATE = ("socket",), ("state",)
_BOTH = (*_SOCKET, *_STATE)
COMMANDS = (
    Command("request", "a certificate request; makes keys if the host has none", _request, _add_request, _STATE),
    Command(
        "import-key", "make a WireGuard private key from standard input this host's", _import_key, _add_import, _STATE
    ),
    Command("rotate", "replace this host's WireGuard key", _rotate, _add_rotate, _SOCKET),
    Command(
        "preshared-keys", "take all preshared keys from JSON on standard input", _preshared_keys, _add_check, _BOTH
    ),
    Command("export-client", "the configuration of a static peer, for wg-quick", _export_client, _add_export, _BOTH),
    Command("revoke", "take a node out for good: its revocation comes on standard input", _revoke, places=_SOCKET),
    Command("forget", "take out a member that is down and will not come back", _forget, _add_forget, _SOCKET),
)
