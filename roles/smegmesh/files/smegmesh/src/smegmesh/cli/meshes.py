"""Commands for the meshes of this host: those that it declares itself, and a look at any."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smegmesh.cli.changing import change
from smegmesh.cli.command import Answer, Command, add_mesh
from smegmesh.cli.errors import BadInput, Failed

if TYPE_CHECKING:
    from smegmesh.control.client import Client


def _add_create(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("new_mesh", metavar="mesh", help="mesh id, which the host's certificate must grant")
    add("--role", choices=("peer", "client"), help="client (default), or peer, as who has --endpoint is")
    add("--endpoint", metavar="HOST[:PORT]", help="where others reach this host")
    add("--bootstrap", action="append", metavar="NAME=HOST[:PORT]", help="a peer to ask first, by its node name")
    add("--port", type=int, help="WireGuard's UDP port")
    add("--authority", metavar="NAME", help="a directory under /etc/smegmesh/authorities")
    add("--bridge", action="store_true", default=None, help="forward between this mesh and others")
    add("--accept-route", action="append", metavar="PREFIX", help="an advertised prefix that this host uses")
    add("--alias", help="a second, short name")
    add("--description", metavar="TEXT", help="for people")


def _create(options: argparse.Namespace) -> Answer:
    mesh, role = options.new_mesh, options.role or ("peer" if options.endpoint else "client")
    content = {
        "role": role,
        "endpoint": options.endpoint,
        "bootstrap": _bootstrap(options.bootstrap or ()),
        "port": options.port,
        "authority": options.authority,
        "bridge": options.bridge,
        "accept_routes": options.accept_route,
        "alias": options.alias,
        "description": options.description,
    }
    given = {key: value for key, value in content.items() if value not in (None, [])}
    said = f"this host is in mesh {mesh}, as {role}"
    if not given.get("bootstrap"):
        said += "; it asks nobody, so it is alone until another host is told of it (--bootstrap NAME=HOST names a peer)"
    return change(options, lambda client: _declare(client, mesh, given), said)


def _declare(client: Client, mesh: str, content: dict[str, Any]) -> dict[str, Any]:
    """Declare a mesh that is not declared. Raises Failed where the host declares it already, ControlError."""
    from smegmesh.control.errors import Refused

    try:
        client.change(mesh, {})  # names the file if it is another's
    except Refused as error:
        if error.status == 404:
            return client.declare(mesh, content)
        raise
    fix = f"see `smegctl mesh show {mesh}`, or leave it first"
    raise Failed(f"this host declares mesh {mesh} already", fix)


def _bootstrap(texts: Sequence[str]) -> list[dict[str, str]]:
    peers = []
    for text in texts:
        name, found, address = text.partition("=")
        if not (name and found and address):
            raise BadInput("--bootstrap", f"{text!r} is not NAME=HOST[:PORT]", "write it like p1=198.18.0.11")
        peers.append({"name": name, "address": address})
    return peers


def _leave(options: argparse.Namespace) -> Answer:
    told = f"this host is in mesh {options.mesh} no more"
    return change(options, lambda client: client.leave(options.mesh), told)


def _list(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.output import table, use_colour
    from smegmesh.control.client import Client

    meshes = Client(options.socket).meshes()
    head = ("MESH", "STATE", "ROLE", "INTERFACE", "PLANE", "ADDRESS", "PORT")
    rows = [[mesh.get(name.lower()) for name in head] for mesh in meshes]
    return Answer(meshes, table(head, rows, use_colour()) if meshes else "in no mesh")


def _show(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.output import use_colour
    from smegmesh.cli.show import mesh_text
    from smegmesh.control.client import Client

    mesh: dict[str, Any] = Client(options.socket).mesh(options.mesh)
    return Answer(mesh, mesh_text(mesh, use_colour()))


_SOCKET = ("socket",)
COMMANDS = (
    Command("mesh list", "the meshes of this host", _list, places=_SOCKET),
    Command("mesh show", "all about one of them", _show, add_mesh, _SOCKET),
    Command("mesh create", "be in a mesh that Ansible does not declare on this host", _create, _add_create, _SOCKET),
    Command("mesh leave", "leave a mesh that was declared on this host", _leave, add_mesh, _SOCKET),
)
