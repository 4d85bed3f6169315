"""`smegctl apply`: declarations on standard input -> files, all or none, and a running agent told.

Works with the agent stopped. If a running agent cannot bring up what changed,
the files are put back as they were and the agent goes on with those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smegmesh.control.client import Client
from smegmesh.control.errors import ControlError, NotRunning
from smegmesh.declaration.change import INPUT, FileChange, Places, Request, plan_changes, read_request
from smegmesh.declaration.errors import DeclarationError
from smegmesh.declaration.meshes import Source, read_sources
from smegmesh.declaration.write import FileTransaction, locked

if TYPE_CHECKING:
    from smegmesh.identity.grant import Grant


class NotTakenOver(Exception):
    """The agent could not act on the changes; the files are as they were."""


def parse_request(text: str) -> Request:
    """JSON from standard input; DeclarationError for anything malformed."""
    try:
        return read_request(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise DeclarationError(INPUT, "", f"is not JSON: {error}", "send the declarations as one JSON object") from None


def check(request: Request, places: Places) -> tuple[FileChange, ...]:
    """What `apply` would change, with all its errors; writes nothing."""
    return plan_changes(request, _read_sources(places), places, _read_grants(request, places.etc))


def apply(request: Request, places: Places, client: Client) -> tuple[tuple[FileChange, ...], bool]:
    """Carry a request out; the changes, and whether a running agent took them over.

    Raises DeclarationError for bad input, OSError where files cannot be written,
    NotTakenOver where the agent refused; in each case no file is changed.
    """
    if not check(request, places):
        return (), False
    with ExitStack() as stack:
        for directory in sorted({places.directory(owner) for owner in request.owners}):
            stack.enter_context(locked(directory))
        changes = check(request, places)
        if not changes:
            return changes, False
        transaction = stack.enter_context(FileTransaction(changes))
        transaction.apply()
        try:
            return changes, _reload(client, changes)
        except (ControlError, NotTakenOver) as error:
            transaction.roll_back()
            _reload_again(client)
            raise NotTakenOver(f"{error}; nothing was changed") from error


def answer(changes: Sequence[FileChange], reloaded: bool) -> dict[str, Any]:
    """The JSON answer."""
    listed = [
        {"path": str(change.path), "before": change.before or "", "after": change.after or ""} for change in changes
    ]
    return {"changed": bool(changes), "changes": listed, "reloaded": reloaded}


def _read_sources(places: Places) -> list[Source]:
    sources, faults = read_sources(places.etc, places.local)
    for fault in (*faults, *(source.fault for source in sources)):
        if fault is not None:
            raise fault
    return sources


def _read_grants(request: Request, etc: Path) -> dict[str, Grant]:
    """What the host's certificates allow, by authority, if the request asks for what they have to allow.

    A certificate that is not there yet, or is damaged, says nothing here: the agent says so when it starts.
    """
    if not request.advertises:
        return {}
    from smegmesh.identity.certificate import Authority, CertificateError, certificate_der

    grants = {}
    for directory in sorted((etc / "authorities").glob("*")):
        try:
            authority = Authority((directory / "authority.pem").read_bytes())
            node = authority.verify(certificate_der((directory / "node.pem").read_bytes()))
        except (CertificateError, FileNotFoundError, NotADirectoryError):
            continue
        grants[directory.name] = node.grant
    return grants


def _reload(client: Client, changes: Sequence[FileChange]) -> bool:
    try:
        reloaded: Mapping[str, Any] = client.reload()
    except NotRunning:
        return False
    problems: Mapping[str, str] = reloaded.get("problems") or {}
    refused = dict.fromkeys(
        f"mesh {change.mesh}: {problems[change.mesh]}"
        for change in changes
        if change.after is not None and change.mesh in problems
    )
    if refused:
        raise NotTakenOver("; ".join(refused))
    return True


def _reload_again(client: Client) -> None:
    try:
        client.reload()
    except ControlError:
        return  # the first error is the one to tell; the agent reads the old files at its next start
