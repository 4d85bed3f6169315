"""Commands that ask the agent and change nothing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from smegmesh.cli.command import Answer, Command, add_mesh
from smegmesh.cli.errors import BadInput


def _status(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.output import use_colour, width
    from smegmesh.cli.status import missing, status_text
    from smegmesh.control.client import Client

    client = Client(options.socket)
    status = client.status()
    if options.json:
        return Answer(status, "")
    meshes = [str(mesh["mesh"]) for mesh in status["meshes"] if mesh["state"] != "failed"]
    static = {mesh: client.static_peers(mesh) for mesh in meshes}
    return Answer(status, status_text(status, use_colour(), width(), missing(client, status), static))


def _members(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.output import use_colour
    from smegmesh.cli.show import collect, members_text
    from smegmesh.control.client import Client

    client = Client(options.socket)
    members = collect(client, options.mesh, client.members)
    return Answer(members, members_text(members, use_colour()))


def _static_peers(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.output import use_colour
    from smegmesh.cli.show import collect
    from smegmesh.cli.static_peers import static_peers_text
    from smegmesh.control.client import Client

    client = Client(options.socket)
    peers = collect(client, options.mesh, client.static_peers)
    return Answer(peers, static_peers_text(peers, use_colour()))


def _add_query(parser: argparse.ArgumentParser) -> None:
    add_mesh(parser)
    parser.add_argument("expression", help="over status, meshes and members, as members.MESH[?liveness=='down'].name")


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
        raise BadInput("", f"expression {error}", fix) from error
    except Refused as error:
        if error.status == 400:
            raise BadInput("", error.what, error.fix) from error
        raise
    return Answer({"result": found}, json.dumps(found, indent=2))


def _add_graph(parser: argparse.ArgumentParser) -> None:
    add_mesh(parser)
    parser.add_argument("--format", choices=("dot", "svg"), help="text for Graphviz (default), or a picture made by it")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the file to write it to")


def _graph(options: argparse.Namespace) -> Answer:
    from smegmesh.cli import graph
    from smegmesh.control.client import Client

    client, kind = Client(options.socket), options.format or "dot"
    if options.json and options.format is None and options.output is None:
        return Answer(client.graph(options.mesh), "")
    text = client.dot(options.mesh)
    text = graph.draw(text) if kind == "svg" else text
    if options.output is None:
        return Answer({"format": kind, "text": text}, text.rstrip("\n"))
    graph.write(options.output, text)
    return Answer({"format": kind, "file": str(options.output)}, f"written: {options.output}")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mesh", help="mesh id; all meshes if left out")


def _doctor(options: argparse.Namespace) -> Answer:
    from smegmesh.cli import doctor
    from smegmesh.cli.output import use_colour
    from smegmesh.control.client import Client

    client = Client(options.socket, timeout=doctor.AGENT_SECONDS)
    facts = doctor.gather(client, doctor.Places(options.etc, options.state), options.mesh)
    data = doctor.answer(facts)
    return Answer(data, doctor.text(data, use_colour()), 0 if data["healthy"] else 1)


def _watch(options: argparse.Namespace) -> Iterator[Answer]:
    from smegmesh.cli.watch import event_line, follow
    from smegmesh.control.client import Client

    for event in follow(Client(options.socket), options.mesh):
        yield Answer(event, event_line(event))


def _add_any_mesh(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", nargs="?", help="mesh id; all meshes if left out")


_SOCKET = ("socket",)
_HOST = (*_SOCKET, "state", "etc")
COMMANDS = (
    Command("status", "whether all is well: who is missing, what changed last, what is wrong", _status, places=_SOCKET),
    Command("doctor", "what is wrong with this host and its meshes, and how to mend it", _doctor, _add_doctor, _HOST),
    Command("members", "the members of a mesh, or of all", _members, _add_any_mesh, _SOCKET),
    Command("static-peers", "the peers without an agent that this host carries", _static_peers, _add_any_mesh, _SOCKET),
    Command("query", "what a JMESPath expression finds in a mesh", _query, _add_query, _SOCKET),
    Command("graph", "who is with whom in a mesh, as text for Graphviz or a picture", _graph, _add_graph, _SOCKET),
    Command("watch", "what happens, as it happens; ends with Ctrl-C", _watch, _add_any_mesh, _SOCKET),
)
