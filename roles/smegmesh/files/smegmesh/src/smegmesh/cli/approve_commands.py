"""`smegctl approve` and `appoint`: from the options to what is printed.

They run where the authority's key is, which may be no host of a mesh: of the agent they need the identity room alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from smegmesh.cli import approve
from smegmesh.cli.command import Answer
from smegmesh.cli.comparing import read_mesh, read_option, says_yes
from smegmesh.cli.errors import BadInput, Failed
from smegmesh.control.client import Client
from smegmesh.identity.certificate import CertificateError, read_request
from smegmesh.identity.joining import Join, write_fingerprint


def run_approve(options: argparse.Namespace) -> Answer:
    """Sign what was chosen. Raises BadInput, Failed and ControlError."""
    chosen = _read_chosen(options)
    if (options.requests is None) != (options.output is None):
        raise BadInput("--requests, --output", "belong together", "give both, or none to ask this host's agent")
    if options.days < 1:
        raise BadInput("--days", f"{options.days} is no time", "give one or more")
    signer = approve.Signer(options.authority, options.key)
    grants = approve.Grants(tuple(options.mesh), tuple(options.bridge), tuple(options.prefix), options.days)
    client = Client(options.socket)
    asked = _read_asked(options, client)
    joins = _choose(asked, signer, grants) if chosen is None else _find(asked, chosen)
    certificates = [signer.sign(join, grants, time.time()) for join in joins]
    if certificates:
        _hand_over(b"".join(certificates).decode("ascii"), options, client)
    data = [
        {"mesh": join.mesh, "name": join.request.node_name, "fingerprint": write_fingerprint(join.fingerprint)}
        for join in joins
    ]
    lines = [f"approved: {each['name']} in mesh {each['mesh']}" for each in data] or ["nothing approved"]
    return Answer(data, "\n".join(lines))


def run_appoint(options: argparse.Namespace, read_input: Callable[[], str]) -> Answer:
    """The certificate of an enroller, for the request on standard input. Raises BadInput."""
    signer = approve.Signer(options.authority, options.key)
    try:
        request = read_request(read_input().encode())
    except CertificateError as error:
        fix = "give what `smegctl request` printed at the peer"
        raise BadInput("standard input", str(error), fix) from error
    pem = signer.appoint(request, options.mesh, options.days, time.time()).decode("ascii")
    return Answer({"name": request.node_name, "meshes": options.mesh, "certificate": pem}, pem.rstrip("\n"))


def _read_chosen(options: argparse.Namespace) -> tuple[str, bytes] | None:
    if not options.chosen:
        return None
    if len(options.chosen) != 2:
        raise BadInput("MESH FINGERPRINT", "belong together", "give both, or neither to be asked")
    mesh, fingerprint = options.chosen
    return read_mesh("MESH", mesh), read_option("FINGERPRINT", fingerprint)


def _read_asked(options: argparse.Namespace, client: Client) -> list[approve.Asked]:
    if options.requests is None:
        return approve.read_joins(client.joins(), str(options.socket))
    return approve.read_file(options.requests)


def _hand_over(certificates: str, options: argparse.Namespace, client: Client) -> None:
    """To the file, or to the agent that keeps them for the hosts."""
    if options.output is not None:
        options.output.write_text(certificates, "ascii")
    else:
        client.approve(certificates)


def _find(asked: Sequence[approve.Asked], chosen: tuple[str, bytes]) -> list[Join]:
    found = [each.join for each in asked if (each.join.mesh, each.join.fingerprint) == chosen]
    if not found:
        raise Failed("no request of this mesh and fingerprint waits", "see `smegctl joins` at the peer")
    return found


def _choose(asked: Sequence[approve.Asked], signer: approve.Signer, grants: approve.Grants) -> list[Join]:
    """Those that somebody says yes to."""
    if not asked:
        return []
    print(f"authority  {signer.fingerprint}", file=sys.stderr)
    fix = "give MESH and FINGERPRINT, as the host shows it that asks"
    return [
        each.join
        for each in asked
        if says_yes(
            f"{approve.describe(each, grants)}\ndoes {each.join.request.node_name} show the same? [yes/no] ", fix
        )
    ]
