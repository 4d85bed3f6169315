"""What writing declarations would change: a request and the files there are -> file changes. Pure.

Every file has one writer, its owner: `role` and `play` own files of meshes.d,
`local` those of local.d, and none may touch another's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smegmesh.declaration.document import parse_document
from smegmesh.declaration.errors import DeclarationError, split_fix
from smegmesh.declaration.meshes import (
    ANSIBLE_OWNERS,
    LOCAL_OWNER,
    MESHES_DIRECTORY,
    SUFFIX,
    Source,
    check_set,
    parse_source,
)
from smegmesh.declaration.schema import read_schema
from smegmesh.identity.address import check_mesh_id

INPUT = "standard input"  # where requests come from, for error messages
_OWNERS = (*ANSIBLE_OWNERS, LOCAL_OWNER)
_STATES = ("present", "absent")
_HEADERS = {
    LOCAL_OWNER: "# Written by smegctl.\n",
    "role": "# Managed by Ansible (role smegmesh): change the inventory, not this file.\n",
    "play": "# Managed by Ansible (module mesh): change the playbook, not this file.\n",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One mesh of a request; `content` is the declaration as given."""

    owner: str
    mesh: str
    present: bool
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What a writer wants; declarations of `purge_owner` that are not in it shall go."""

    wanted: tuple[Wanted, ...]
    purge_owner: str | None = None


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file's whole text before and after; None where there is no file."""

    path: Path
    before: str | None
    after: str | None

    @property
    def mesh(self) -> str:
        """The mesh the file is named for."""
        return self.path.name.removesuffix(SUFFIX)


@dataclass(frozen=True, slots=True)
class Places:
    """Where declarations lie: the configuration directory and local.d."""

    etc: Path
    local: Path

    def directory(self, owner: str) -> Path:
        """Where an owner's declarations lie."""
        return self.local if owner == LOCAL_OWNER else self.etc / MESHES_DIRECTORY


def read_request(data: object) -> Request:
    """Check a request's form; what declarations say is checked with the whole set."""
    if not isinstance(data, dict) or not isinstance(data.get("declarations"), list):
        raise _bad_request("", "has no list `declarations`", 'send {"declarations": [{"mesh": …}]}')
    for key in data:
        if key not in ("declarations", "purge_owner"):
            raise _bad_request(str(key), f"unknown key `{key}`", "the keys are declarations, purge_owner")
    purge_owner = data.get("purge_owner")
    if purge_owner is not None and purge_owner not in _OWNERS:
        raise _bad_request("purge_owner", f"{purge_owner!r} is no owner", f"use one of {', '.join(_OWNERS)}")
    wanted = tuple(_read_wanted(f"declarations[{index}]", item) for index, item in enumerate(data["declarations"]))
    seen: set[str] = set()
    for index, item in enumerate(wanted):
        if item.mesh in seen:
            raise _bad_request(f"declarations[{index}].mesh", f"mesh {item.mesh} is there twice", "keep one of them")
        seen.add(item.mesh)
    return Request(wanted, purge_owner)


def _read_wanted(where: str, item: object) -> Wanted:
    if not isinstance(item, dict):
        raise _bad_request(where, "is not a mapping", "give a declaration's keys and values")
    content = dict(item)
    state = content.pop("state", "present")
    if state not in _STATES:
        raise _bad_request(f"{where}.state", f"{state!r} is no state", "use present or absent")
    owner = content.get("owner")
    if owner not in _OWNERS:
        raise _bad_request(f"{where}.owner", f"{owner!r} is no owner", f"use one of {', '.join(_OWNERS)}")
    try:
        mesh = check_mesh_id(content.get("mesh"))  # type: ignore[arg-type]
    except ValueError as error:
        raise _bad_request(f"{where}.mesh", *split_fix(error)) from None
    return Wanted(owner, mesh, state == "present", content)


def _bad_request(where: str, what: str, fix: str) -> DeclarationError:
    return DeclarationError(INPUT, where, what, fix)


def plan_changes(request: Request, existing: Sequence[Source], places: Places) -> tuple[FileChange, ...]:
    """The files to change, sorted by path; DeclarationError unless the whole set would be good afterwards."""
    before = {source.path: source.text for source in existing}
    after = dict(before)
    if request.purge_owner is not None:
        _purge(after, request.purge_owner, places)
    for wanted in request.wanted:
        path = places.directory(wanted.owner) / f"{wanted.mesh}{SUFFIX}"
        _check_owner(wanted, path, before, places)
        if wanted.present:
            after[path] = render(wanted.content)
            _check_alone(path, after[path], wanted)
        else:
            after.pop(path, None)
    sources = [Source(path, text, path.parent == places.local) for path, text in after.items()]
    untouched = {source.mesh for source in sources if before.get(source.path) == source.text}
    checked = check_set(sources, untouched)
    if checked.errors:
        raise checked.errors[0].error
    return tuple(
        FileChange(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    )


def _purge(files: dict[Path, str], owner: str, places: Places) -> None:
    directory = places.directory(owner)
    for path in [path for path, text in files.items() if path.parent == directory and file_owner(text) == owner]:
        del files[path]


def _check_owner(wanted: Wanted, path: Path, files: Mapping[Path, str], places: Places) -> None:
    managed = places.directory(ANSIBLE_OWNERS[0]) / path.name
    if wanted.owner == LOCAL_OWNER and managed in files:
        what = f"mesh {wanted.mesh} is managed by Ansible in {managed}"
        raise DeclarationError(str(path), "mesh", what, "change the inventory instead")
    owner = file_owner(files[path]) if path in files else None
    if owner is not None and owner != wanted.owner:
        what = f"the file belongs to {owner}, and {wanted.owner} may not change it"
        raise DeclarationError(str(path), "owner", what, f"declare mesh {wanted.mesh} in one of the two only")


def _check_alone(path: Path, text: str, wanted: Wanted) -> None:
    """What was asked for is checked before files that were there: its faults are told first."""
    parse_source(Source(path, text, wanted.owner == LOCAL_OWNER))


def file_owner(text: str) -> str | None:
    """Whom a file belongs to; None for a file so broken that it does not say (anybody may mend it)."""
    try:
        data = parse_document("", text).data
    except DeclarationError:
        return None
    owner = data.get("owner") if isinstance(data, dict) else None
    return owner if owner in _OWNERS else None


def render(content: Mapping[str, Any]) -> str:
    """A declaration's file: keys in the schema's order, equal input giving equal bytes."""
    import yaml

    ordered = {key: content[key] for key in _in_order(content)}
    header = _HEADERS.get(str(content.get("owner")), "")
    body: str = yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10_000)
    return header + body


def _in_order(keys: Iterable[str]) -> list[str]:
    order = list(read_schema("declaration")["properties"])
    return sorted(keys, key=lambda key: (order.index(key) if key in order else len(order), key))
