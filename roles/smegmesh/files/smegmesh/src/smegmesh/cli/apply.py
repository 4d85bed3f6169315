"""`smegctl apply`: declarations on standard input -> files, all or none, and a running agent told.

Works with the agent stopped. If a running agent cannot bring up what changed,
the files are put back as they were and the agent goes on with those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from smegmesh.control.client import Client
from smegmesh.control.errors import ControlError, NotRunning
from smegmesh.declaration.change import INPUT, FileChange, Places, Request, plan_changes, read_request
from smegmesh.declaration.document import read_text
from smegmesh.declaration.errors import DeclarationError
from smegmesh.declaration.meshes import MESHES_DIRECTORY, Source, list_files
from smegmesh.declaration.write import FileTransaction, locked


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
    return plan_changes(request, _read_sources(places), places)


def apply(request: Request, places: Places, client: Client) -> tuple[tuple[FileChange, ...], bool]:
    """Carry a request out; the changes, and whether a running agent took them over.

    Raises DeclarationError for bad input, OSError where files cannot be written,
    NotTakenOver where the agent refused; in each case no file is changed.
    """
    if not check(request, places):
        return (), False
    with ExitStack() as stack:
        for directory in sorted({places.directory(owner) for owner in _owners(request)}):
            stack.enter_context(locked(directory))
        changes = plan_changes(request, _read_sources(places), places)
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


def _owners(request: Request) -> set[str]:
    owners = {wanted.owner for wanted in request.wanted}
    return owners | {request.purge_owner} if request.purge_owner is not None else owners


def _read_sources(places: Places) -> list[Source]:
    return [
        Source(path, read_text(path), local)
        for directory, local in ((places.etc / MESHES_DIRECTORY, False), (places.local, True))
        for path in list_files(directory)
    ]


def _reload(client: Client, changes: Sequence[FileChange]) -> bool:
    try:
        reloaded: Mapping[str, Any] = client.reload()
    except NotRunning:
        return False
    problems: Mapping[str, str] = reloaded.get("problems") or {}
    refused = [
        f"mesh {change.mesh}: {problems[change.mesh]}"
        for change in changes
        if change.after is not None and change.mesh in problems
    ]
    if refused:
        raise NotTakenOver("; ".join(refused))
    return True


def _reload_again(client: Client) -> None:
    try:
        client.reload()
    except ControlError:
        return  # the first error is the one to tell; the agent reads the old files at its next start
