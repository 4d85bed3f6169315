"""`smegctl preshared-keys`: from a request to what the host holds. No key is in an answer or an error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from smegmesh.cli.errors import BadInput
from smegmesh.control.client import Client
from smegmesh.control.errors import ControlError, NotRunning
from smegmesh.identity.address import check_mesh_id
from smegmesh.identity.grant import check_node_name
from smegmesh.identity.keys import decode_key
from smegmesh.store.pair_keys import Keys, load_pair_keys, renew_pair_keys, save_pair_keys

Wanted = Mapping[str, Mapping[str, bytes]]  # by mesh id and name of the other node


class Change(NamedTuple):
    """What becomes of the key with another node; `word` is new, replaced or removed."""

    mesh: str
    other: str
    word: str


def parse_request(text: str) -> Wanted:
    """All keys that the host is to hold, as {MESH: {OTHER: KEY}}. Raises BadInput."""
    fix = 'send {"MESH": {"OTHER-HOST": "KEY"}}, with keys as `wg genpsk` prints them'
    try:
        request = json.loads(text)
    except ValueError:
        raise BadInput("standard input", "is not JSON", fix) from None
    if not isinstance(request, dict) or not all(isinstance(pairs, dict) for pairs in request.values()):
        raise BadInput("standard input", "is not a mapping of meshes to keys", fix)
    return {mesh: _parse_mesh(mesh, pairs) for mesh, pairs in request.items()}


def _parse_mesh(mesh: str, pairs: Mapping[str, Any]) -> Mapping[str, bytes]:
    keys = {}
    for other, key in pairs.items():
        try:
            check_mesh_id(mesh)
            keys[check_node_name(other)] = decode_key(key)
        except ValueError as error:
            what, _colon, fix = str(error).partition(": ")
            raise BadInput(f"{mesh}.{other}", what, fix) from None
    return keys


def apply(wanted: Wanted, state: Path, client: Client, *, check: bool) -> tuple[list[Change], bool]:
    """Write them if anything differs, and tell a running agent; the changes, and whether one was told.

    Raises StoreError, OSError, and ControlError, after which all is as before. With `check` nothing is written.
    """
    before = load_pair_keys(state)
    changes, renewed = compare(before, wanted), renew_pair_keys(before, wanted)
    if not changes or check:
        return changes, False
    save_pair_keys(state, renewed)
    try:
        client.reload()
    except NotRunning:
        return changes, False
    except ControlError:
        save_pair_keys(state, before)
        raise
    return changes, True


def compare(before: Keys, wanted: Wanted) -> list[Change]:
    """What differs, sorted."""
    newest = {(mesh, other): keys[0] for mesh, pairs in before.items() for other, keys in pairs.items()}
    aim = {(mesh, other): key for mesh, pairs in wanted.items() for other, key in pairs.items()}
    changed = (pair for pair in sorted(newest.keys() | aim.keys()) if newest.get(pair) != aim.get(pair))
    return [Change(*pair, _word(newest.get(pair), aim.get(pair))) for pair in changed]


def _word(before: bytes | None, after: bytes | None) -> str:
    if after is None:
        return "removed"
    return "new" if before is None else "replaced"


def answer(changes: Sequence[Change], reloaded: bool) -> dict[str, Any]:
    """The JSON answer."""
    listed = [{"mesh": each.mesh, "host": each.other, "change": each.word} for each in changes]
    return {"changed": bool(changes), "changes": listed, "reloaded": reloaded}
