"""`smegctl apply`: declarations on standard input -> files, all or none, and a running agent told.

Works with the agent stopped. If a running agent cannot bring up what changed,
the files are put back as they were and the agent goes on with those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from smegmesh.cli.errors import Failed
from smegmesh.control.client import Client
from smegmesh.control.errors import ControlError, NotRunning
from smegmesh.declaration.applying import Applied
from smegmesh.declaration.change import INPUT, FileChange, Places, Request, read_request
from smegmesh.declaration.errors import DeclarationError


class NotTakenOver(Failed):
    """The agent could not act on the changes; the files are as they were."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}; nothing was changed", fix)


def parse_request(text: str) -> Request:
    """JSON from standard input; DeclarationError for anything malformed."""
    try:
        return read_request(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise DeclarationError(INPUT, "", f"is not JSON: {error}", "send the declarations as one JSON object") from None


def apply(request: Request, places: Places, client: Client) -> tuple[tuple[FileChange, ...], bool]:
    """Carry a request out; the changes, and whether a running agent took them over.

    Raises DeclarationError for bad input, OSError where files cannot be written,
    NotTakenOver where the agent refused; in each case no file is changed.
    """
    with Applied(request, places) as applied:
        if not applied.changes:
            return (), False
        try:
            return applied.changes, _reload(client, applied)
        except (ControlError, NotTakenOver) as error:
            applied.roll_back()
            reload_again(client)
            if isinstance(error, ControlError):
                raise NotTakenOver(error.what, error.fix) from error
            raise


def answer(changes: Sequence[FileChange], reloaded: bool) -> dict[str, Any]:
    """The JSON answer."""
    listed = [
        {"path": str(change.path), "before": change.before or "", "after": change.after or ""} for change in changes
    ]
    return {"changed": bool(changes), "changes": listed, "reloaded": reloaded}


def _reload(client: Client, applied: Applied) -> bool:
    before = _problems(client)
    try:
        reloaded: Mapping[str, Any] = client.reload()
    except NotRunning:
        return False
    refused = applied.refused(before, reloaded.get("problems") or {})
    if refused:
        raise NotTakenOver(refused, "mend that, and ask again")
    return True


def _problems(client: Client) -> dict[str, str]:
    """What is wrong with each mesh."""
    try:
        return {mesh["mesh"]: mesh.get("problem") or "" for mesh in client.meshes()}
    except ControlError:
        return {}  # the reload will say so


def reload_again(client: Client) -> None:
    """Have a running agent, if there is one, go on with files that were put back."""
    try:
        client.reload()
    except ControlError:
        return  # the first error is the one to tell; the agent reads the old files at its next start
