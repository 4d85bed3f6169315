"""What writing declarations would change: a request and the files there are -> file changes. Pure.

Every file has one writer, its owner: `role` and `play` own files of meshes.d,
`local` those of local.d, and none may touch another's. Fragments are `play`'s, or
`local` ones in local.d, which may add to what another declares. A mesh that is left
takes its fragments along, whoever leaves it: those of local.d when the agent notices.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smegmesh.declaration.document import parse_document
from smegmesh.declaration.errors import DeclarationError, ManagedElsewhere
from smegmesh.declaration.meshes import (
    ANSIBLE_OWNERS,
    FRAGMENT_OWNER,
    FRAGMENTS_SUFFIX,
    LOCAL_OWNER,
    MESHES_DIRECTORY,
    SUFFIX,
    Source,
    check_set,
    mesh_of,
    not_declared,
    parse_fragment_source,
    parse_source,
)
from smegmesh.declaration.schema import read_schema
from smegmesh.declaration.values import Declaration
from smegmesh.identity.address import check_mesh_id
from smegmesh.identity.errors import split_fix

if TYPE_CHECKING:
    from smegmesh.identity.grant import Grant

INPUT = "standard input"  # where requests come from, for error messages
_OWNERS = (*ANSIBLE_OWNERS, LOCAL_OWNER)
_STATES = ("present", "absent")
_FRAGMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_FRAGMENT_KEYS = ("mesh", "name", "state", "advertise", "services")
_HEADERS = {
    LOCAL_OWNER: "# Written by smegctl or the API.\n",
    "role": "# Managed by Ansible (role smegmesh): change the inventory, not this file.\n",
    "play": "# Managed by Ansible (module mesh): change the playbook, not this file.\n",
}
_FRAGMENT_HEADERS = {
    LOCAL_OWNER: _HEADERS[LOCAL_OWNER],
    FRAGMENT_OWNER: "# Managed by Ansible (module mesh_service or mesh_route): change the playbook, not this file.\n",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One mesh of a request; `content` is the declaration as given."""

    owner: str
    mesh: str
    present: bool
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WantedFragment:
    """One fragment of a request; `content` is what it adds, as given."""

    mesh: str
    name: str
    present: bool
    content: Mapping[str, Any]
    owner: str = FRAGMENT_OWNER


@dataclass(frozen=True, slots=True)
class Request:
    """What a writer wants; declarations of `purge_owner` that are not in it shall go."""

    wanted: tuple[Wanted, ...]
    fragments: tuple[WantedFragment, ...] = ()
    purge_owner: str | None = None

    @property
    def owners(self) -> frozenset[str]:
        """Whose files it may change."""
        owners = {wanted.owner for wanted in self.wanted} | {fragment.owner for fragment in self.fragments}
        return frozenset(owners | ({self.purge_owner} if self.purge_owner is not None else set()))

    @property
    def advertises(self) -> bool:
        """Whether fragments of it advertise prefixes, which a certificate has to allow."""
        return any(fragment.present and fragment.content.get("advertise") for fragment in self.fragments)


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file's whole text before and after; None where there is no file."""

    path: Path
    before: str | None
    after: str | None
    fragment: bool = False

    @property
    def mesh(self) -> str:
        """The mesh that is declared with it."""
        return mesh_of(self.path, fragment=self.fragment)


@dataclass(frozen=True, slots=True)
class Places:
    """Where declarations lie: the configuration directory and local.d."""

    etc: Path
    local: Path

    def directory(self, owner: str) -> Path:
        """Where an owner's declarations lie."""
        return self.local if owner == LOCAL_OWNER else self.etc / MESHES_DIRECTORY

    def declarations(self, mesh: str) -> tuple[Path, Path]:
        """Where a mesh may be declared: with Ansible, and on the host."""
        return self.etc / MESHES_DIRECTORY / f"{mesh}{SUFFIX}", self.local / f"{mesh}{SUFFIX}"

    def fragment(self, mesh: str, name: str, owner: str = FRAGMENT_OWNER) -> Path:
        """The file of a fragment."""
        return self.directory(owner) / f"{mesh}{FRAGMENTS_SUFFIX}" / f"{name}{SUFFIX}"

    def is_fragment(self, path: Path) -> bool:
        """Whether a file is a fragment's."""
        return path.parent.parent in (self.directory(FRAGMENT_OWNER), self.local)

    def is_local(self, path: Path) -> bool:
        """Whether a file is in local.d."""
        return self.local in (path.parent, path.parent.parent)

    def declared(self, fragment: Path, files: Container[Path]) -> bool:
        """Whether these files declare the mesh that a fragment adds to. What is local adds to whatever declares it."""
        managed, local = self.declarations(mesh_of(fragment, fragment=True))
        return managed in files or (self.is_local(fragment) and local in files)


def read_request(data: object) -> Request:
    """Check a request's form; what declarations say is checked with the whole set."""
    if not isinstance(data, dict) or not {"declarations", "fragments"} & data.keys():
        raise _bad_request("", "has no list `declarations` or `fragments`", 'send {"declarations": [{"mesh": …}]}')
    for key in data:
        if key not in ("declarations", "fragments", "purge_owner"):
            raise _bad_request(str(key), f"unknown key `{key}`", "the keys are declarations, fragments, purge_owner")
    purge_owner = data.get("purge_owner")
    if purge_owner is not None and purge_owner not in _OWNERS:
        raise _bad_request("purge_owner", f"{purge_owner!r} is no owner", f"use one of {', '.join(_OWNERS)}")
    wanted = tuple(_read_wanted(f"declarations[{index}]", item) for index, item in _items(data, "declarations"))
    fragments = tuple(_read_fragment(f"fragments[{index}]", item) for index, item in _items(data, "fragments"))
    seen: set[str] = set()
    for index, item in enumerate(wanted):
        if item.mesh in seen:
            raise _bad_request(f"declarations[{index}].mesh", f"mesh {item.mesh} is there twice", "keep one of them")
        seen.add(item.mesh)
    files: set[tuple[str, str]] = set()
    for index, fragment in enumerate(fragments):
        if (fragment.mesh, fragment.name) in files:
            what = f"fragment {fragment.name} of mesh {fragment.mesh} is there twice"
            raise _bad_request(f"fragments[{index}].name", what, "keep one of them")
        files.add((fragment.mesh, fragment.name))
    return Request(wanted, fragments, purge_owner)


def _items(data: Mapping[str, object], key: str) -> Iterable[tuple[int, object]]:
    items = data.get(key, [])
    if not isinstance(items, list):
        raise _bad_request(key, "is not a list", f'send {{"{key}": [{{"mesh": …}}]}}')
    return enumerate(items)


def _read_wanted(where: str, item: object) -> Wanted:
    if not isinstance(item, dict):
        raise _bad_request(where, "is not a mapping", "give a declaration's keys and values")
    content = dict(item)
    present = _read_state(where, content)
    owner = content.get("owner")
    if owner not in _OWNERS:
        raise _bad_request(f"{where}.owner", f"{owner!r} is no owner", f"use one of {', '.join(_OWNERS)}")
    return Wanted(owner, _read_mesh(where, content), present, content)


def _read_fragment(where: str, item: object) -> WantedFragment:
    if not isinstance(item, dict):
        raise _bad_request(where, "is not a mapping", "give a fragment's keys and values")
    for key in item:
        if key not in _FRAGMENT_KEYS:
            raise _bad_request(f"{where}.{key}", f"unknown key `{key}`", f"the keys are {', '.join(_FRAGMENT_KEYS)}")
    content = dict(item)
    present = _read_state(where, content)
    mesh, name = _read_mesh(where, content), content.pop("name", None)
    del content["mesh"]
    if not isinstance(name, str) or not _FRAGMENT_NAME.fullmatch(name):
        fix = "use 1 to 128 letters, digits, '.', '_' and '-', beginning with a letter or digit"
        raise _bad_request(f"{where}.name", f"{name!r} is no name of a file", fix)
    return WantedFragment(mesh, name, present, content)


def _read_state(where: str, content: dict[str, Any]) -> bool:
    """Take the state out; whether it is present."""
    state = content.pop("state", "present")
    if state not in _STATES:
        raise _bad_request(f"{where}.state", f"{state!r} is no state", "use present or absent")
    return bool(state == "present")


def _read_mesh(where: str, content: Mapping[str, Any]) -> str:
    try:
        return check_mesh_id(content.get("mesh"))  # type: ignore[arg-type]
    except ValueError as error:
        raise _bad_request(f"{where}.mesh", *split_fix(error)) from None


def _bad_request(where: str, what: str, fix: str) -> DeclarationError:
    return DeclarationError(INPUT, where, what, fix)


def plan_changes(
    request: Request, existing: Sequence[Source], places: Places, grants: Mapping[str, Grant]
) -> tuple[FileChange, ...]:
    """The files to change, sorted by path; DeclarationError unless the whole set would be good afterwards.

    `grants` says what the certificates of the host allow, by the authority's name. Fragments are held against them,
    declarations are not: the certificate for these is issued after they were checked.
    """
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
    _drop_fragments(after, before, request, places)
    for fragment in request.fragments:
        path = places.fragment(fragment.mesh, fragment.name, fragment.owner)
        if fragment.present:
            after[path] = render_fragment(fragment.content, fragment.owner)
            if not places.declared(path, after):
                raise not_declared(path, "declare it first, with the role or module mesh")
            parse_fragment_source(Source(path, after[path], fragment.owner == LOCAL_OWNER, fragment=True))
        else:
            after.pop(path, None)
    sources = [Source(path, text, places.is_local(path), places.is_fragment(path)) for path, text in after.items()]
    touched = {source.mesh for source in sources if before.get(source.path) != source.text}
    checked = check_set(sources, {source.mesh for source in sources} - touched)
    if checked.errors:
        raise checked.errors[0].error
    _check_grants(request, checked.declarations, places, grants)
    return tuple(
        FileChange(path, before.get(path), after.get(path), places.is_fragment(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    )


def _purge(files: dict[Path, str], owner: str, places: Places) -> None:
    directory = places.directory(owner)
    for path in [path for path, text in files.items() if path.parent == directory and file_owner(text) == owner]:
        del files[path]


def _drop_fragments(after: dict[Path, str], before: Mapping[Path, str], request: Request, places: Places) -> None:
    """Take the fragments of the meshes that are left out of `after`.

    Not those of local.d: the agent does that itself. Root is to delete nothing in a directory of the agent's user.
    """
    absent = {wanted.mesh for wanted in request.wanted if not wanted.present and wanted.owner != LOCAL_OWNER}
    for path in [path for path in after if places.is_fragment(path) and not places.is_local(path)]:
        left = places.declared(path, before) or mesh_of(path, fragment=True) in absent
        if left and not places.declared(path, after):
            del after[path]


def _check_grants(
    request: Request, declarations: Iterable[Declaration], places: Places, grants: Mapping[str, Grant]
) -> None:
    """Refuse what the agent would refuse, and say who can allow it."""
    asked = {str(places.fragment(each.mesh, each.name, each.owner)) for each in request.fragments if each.present}
    for declaration in declarations:
        grant = grants.get(declaration.authority)
        if grant is None:
            continue
        for fragment in declaration.fragments:
            for index, prefix in enumerate(fragment.advertise if fragment.file in asked else ()):
                if not grant.allows_prefix(str(prefix)):
                    what = f"the certificate does not let {grant.node_name} advertise {prefix}"
                    fix = "declare it and run site: a host may advertise what the inventory says, and parts of that"
                    raise DeclarationError(fragment.file, f"advertise[{index}]", what, fix)


def _check_owner(wanted: Wanted, path: Path, files: Mapping[Path, str], places: Places) -> None:
    managed = places.directory(ANSIBLE_OWNERS[0]) / path.name
    if wanted.owner == LOCAL_OWNER and managed in files:
        what = f"mesh {wanted.mesh} is managed by Ansible in {managed}"
        raise ManagedElsewhere(str(path), "mesh", what, "change the inventory instead")
    owner = file_owner(files[path]) if path in files else None
    if owner is not None and owner != wanted.owner:
        what = f"the file belongs to {owner}, and {wanted.owner} may not change it"
        raise ManagedElsewhere(str(path), "owner", what, f"declare mesh {wanted.mesh} in one of the two only")


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
    return _HEADERS.get(str(content.get("owner")), "") + _dump(content, "declaration")


def render_fragment(content: Mapping[str, Any], owner: str = FRAGMENT_OWNER) -> str:
    """The same of a fragment; `content` is what it adds."""
    return _FRAGMENT_HEADERS[owner] + _dump({"owner": owner, **content}, "fragment")


def _dump(content: Mapping[str, Any], schema: str) -> str:
    import yaml

    ordered = {key: content[key] for key in _in_order(content, schema)}
    text: str = yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10_000)
    return text


def _in_order(keys: Iterable[str], schema: str) -> list[str]:
    order = list(read_schema(schema)["properties"])
    return sorted(keys, key=lambda key: (order.index(key) if key in order else len(order), key))
