"""`smegctl approve` and `appoint`: from the options to what is printed.

They run where the authority's key is, which may be no host of a mesh: of the agent they need the identity room alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from smegmesh.cli import approve
from smegmesh.cli.comparing import read_mesh, read_option, says_yes
from smegmesh.cli.errors import BadInput, Failed
from smegmesh.control.client import Client
from smegmesh.identity.certificate import CertificateError, read_request
from smegmesh.identity.joining import Join, write_fingerprint

Answer = tuple[Any, str]  # for --json, and for people


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
    if options.requests is None:
        joins = approve.read_joins(client.joins(), str(options.socket))
    else:
        joins = approve.read_file(options.requests)
    approved = [each for each in joins if chosen is None or (each.mesh, each.fingerprint) == chosen]
    if chosen is not None and not approved:
        raise Failed("no request of this mesh and fingerprint waits", "see `smegctl joins` at the peer")
    if chosen is None:
        approved = _choose(joins, signer, grants)
    certificates = [signer.sign(each, grants, time.time()) for each in approved]
    pem = b"".join(certificates).decode("ascii")
    if options.output is not None:
        options.output.write_text(pem, "ascii")
    elif approved:
        client.approve(pem)
    data = [
        {"mesh": each.mesh, "name": each.request.node_name, "fingerprint": write_fingerprint(each.fingerprint)}
        for each in approved
    ]
    lines = [f"approved: {each['name']} in mesh {each['mesh']}" for each in data] or ["nothing approved"]
    return data, "\n".join(lines)


def run_appoint(options: argparse.Namespace, read_input: Callable[[], str]) -> Answer:
    """The certificate of an enroller, for the request on standard input. Raises BadInput."""
    signer = approve.Signer(options.authority, options.key)
    try:
        request = read_request(read_input().encode())
    except CertificateError as error:
        fix = "give what `smegctl request` printed at the peer"
        raise BadInput("standard input", str(error), fix) from error
    pem = signer.appoint(request, options.mesh, options.days, time.time()).decode("ascii")
    return {"name": request.node_name, "meshes": options.mesh, "certificate": pem}, pem.rstrip("\n")


def _read_chosen(options: argparse.Namespace) -> tuple[str, bytes] | None:
    if not options.chosen:
        return None
    if len(options.chosen) != 2:
        raise BadInput("MESH FINGERPRINT", "belong together", "give both, or neither to be asked")
    mesh, fingerprint = options.chosen
    return read_mesh("MESH", mesh), read_option("FINGERPRINT", fingerprint)


def _choose(joins: Sequence[Join], signer: approve.Signer, grants: approve.Grants) -> list[Join]:
    """Those that somebody says yes to."""
    if not joins:
        return []
    print(f"authority  {signer.fingerprint}", file=sys.stderr)
    fix = "give MESH and FINGERPRINT, as the host shows it that asks"
    return [
        each
        for each in joins
        if says_yes(f"{approve.describe(each, grants)}\ndoes {each.request.node_name} show the same? [yes/no] ", fix)
    ]
