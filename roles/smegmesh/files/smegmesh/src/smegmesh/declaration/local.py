"""What is changed on the host itself, as requests made from the files there are. Pure.

A mesh that is declared in local.d is changed there. To one that Ansible declares, a fragment in local.d adds.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

from smegmesh.declaration.change import Places, Request, Wanted, WantedFragment
from smegmesh.declaration.document import parse_document
from smegmesh.declaration.errors import DeclarationError, ManagedElsewhere, NotDeclared
from smegmesh.declaration.meshes import LOCAL_OWNER, Source, check_set
from smegmesh.declaration.values import Declaration, Prefix
from smegmesh.identity.address import check_mesh_id
from smegmesh.identity.errors import split_fix

_FRAGMENT = "node"
_UNCHANGED = Request(())


class LocalMesh:
    """What may be asked for of one mesh. Every method raises DeclarationError.

    ManagedElsewhere where another file says otherwise, NotDeclared where there is nothing to change.
    """

    def __init__(self, mesh: str, sources: Sequence[Source], places: Places) -> None:
        try:
            self._mesh = check_mesh_id(mesh)
        except ValueError as error:
            raise DeclarationError("", "mesh", *split_fix(error)) from None
        self._sources = sources
        self._places = places
        self._texts = {source.path: source.text for source in sources}
        self._managed, self._file = places.declarations(mesh)
        self._fragment_file = places.fragment(mesh, _FRAGMENT, LOCAL_OWNER)

    def declare(self, content: Mapping[str, Any]) -> Request:
        """Be in the mesh as `content` says: a declaration's keys but `owner` and `mesh`."""
        for key, value in (("owner", LOCAL_OWNER), ("mesh", self._mesh)):
            if content.get(key, value) != value:
                fix = f"take it out: it is {value} here"
                raise DeclarationError(str(self._file), key, f"{content[key]!r} cannot be chosen", fix)
        wanted = {**content, "owner": LOCAL_OWNER, "mesh": self._mesh}
        return Request((Wanted(LOCAL_OWNER, self._mesh, True, wanted),))

    def change(self, changes: Mapping[str, Any]) -> Request:
        """Change some keys of its declaration; a JSON merge patch (RFC 7396): None takes a key out."""
        return self.declare(_merged(self._own(), changes))

    def leave(self) -> Request:
        """Be in the mesh no more."""
        self._own()
        return Request((Wanted(LOCAL_OWNER, self._mesh, False, {}),))

    def describe(self, changes: Mapping[str, str | None]) -> Request:
        """Change alias and description; None takes one out."""
        if self._file in self._texts:
            return self.change(changes)
        declared, fragment = self._declared(), self._fragment()
        for key, value in changes.items():
            if value is None and key not in fragment and getattr(declared, key) is not None:
                file = next((each.file for each in declared.fragments if getattr(each, key)), declared.file)
                raise self._elsewhere(key, f"{key} is declared in {file}")
        return self._add(_merged(fragment, changes))

    def advertise(self, text: str) -> Request:
        """Advertise a prefix."""
        declared, prefix = self._declared(), _prefix(text)
        if prefix in declared.advertise:
            return _UNCHANGED
        if self._file in self._texts:
            return self.change({"advertise": [*self._own().get("advertise", []), text]})
        fragment = self._fragment()
        return self._add({**fragment, "advertise": [*fragment.get("advertise", []), text]})

    def withdraw(self, text: str) -> Request:
        """Advertise a prefix no more."""
        declared, prefix = self._declared(), _prefix(text)
        if prefix is None or prefix not in declared.advertise:
            raise NotDeclared(str(self._file), "", f"{text} is not advertised by this host", "see `smegctl route list`")
        files = self._advertisers(declared, prefix)
        others = files - {str(self._file), str(self._fragment_file)}
        if others:
            raise self._elsewhere("advertise", f"{text} is advertised by {min(others)}")
        if str(self._file) in files:
            return self.change({"advertise": _without(self._own()["advertise"], prefix) or None})
        fragment = self._fragment()
        return self._add({**fragment, "advertise": _without(fragment.get("advertise", []), prefix)})

    def offer(self, name: str, value: str) -> Request:
        """Offer a service."""
        declared, fragment = self._declared(), self._fragment()
        if any(service == (name, value) for service in declared.services):
            return _UNCHANGED
        return self._add({**fragment, "services": {**fragment.get("services", {}), name: value}})

    def withhold(self, name: str) -> Request:
        """Offer a service no more."""
        file = self._declared().file_of_service(name)
        if file is None:
            raise NotDeclared(str(self._file), "", f"this host offers no service {name}", "see `smegctl service list`")
        if file != str(self._fragment_file):
            raise self._elsewhere("services", f"service {name} is declared in {file}")
        fragment = self._fragment()
        return self._add({**fragment, "services": {**fragment["services"], name: None}})

    def _own(self) -> Mapping[str, Any]:
        """What the declaration in local.d says."""
        if self._managed in self._texts:
            raise self._elsewhere("mesh", f"mesh {self._mesh} is managed by Ansible in {self._managed}")
        if self._file not in self._texts:
            raise self._not_declared()
        return self._content(self._file)

    def _declared(self) -> Declaration:
        """The mesh as all files together say."""
        checked = check_set(self._sources)
        found = next((each for each in checked.declarations if each.mesh == self._mesh), None)
        if found is not None:
            return found
        for bad in checked.errors:
            if bad.mesh == self._mesh:
                raise bad.error
        raise self._not_declared()

    def _fragment(self) -> Mapping[str, Any]:
        content = self._content(self._fragment_file) if self._fragment_file in self._texts else {}
        return {key: value for key, value in content.items() if key != "owner"}

    def _add(self, content: Mapping[str, Any]) -> Request:
        """The fragment with this in it, and without what is empty."""
        services = {name: value for name, value in sorted(content.get("services", {}).items()) if value is not None}
        kept = {key: value for key, value in {**content, "services": services}.items() if value not in ({}, [])}
        return Request((), (WantedFragment(self._mesh, _FRAGMENT, bool(kept), kept, LOCAL_OWNER),))

    def _content(self, file: Path) -> Mapping[str, Any]:
        data = parse_document(str(file), self._texts[file]).data
        if not isinstance(data, dict):
            raise DeclarationError(str(file), "", "is no mapping of keys", "declare the mesh anew")
        return data

    def _advertisers(self, declared: Declaration, prefix: Prefix) -> set[str]:
        """The files that say a prefix: it is advertised as long as it is in one."""
        added = {each.file for each in declared.fragments if prefix in each.advertise}
        said = self._content(Path(declared.file)).get("advertise", [])
        return added | ({declared.file} if prefix in map(_prefix, said) else set())

    def _not_declared(self) -> NotDeclared:
        declared = [each.mesh for each in check_set(self._sources).declarations]
        near = difflib.get_close_matches(self._mesh, declared, 1)
        what = f"mesh {self._mesh} is not declared on this host"
        known = f"its meshes are: {', '.join(declared)}" if declared else "it has none: see `smegctl mesh create`"
        return NotDeclared(str(self._file), "", what, f"did you mean {near[0]}?" if near else known)

    def _elsewhere(self, key: str, what: str) -> ManagedElsewhere:
        return ManagedElsewhere(str(self._file), key, what, "change it there, or the inventory that it comes from")


def _prefix(text: str) -> Prefix | None:
    try:
        return IPv6Network(text)
    except ValueError:
        return None  # the check of the whole says what is wrong with it


def _without(prefixes: Sequence[str], prefix: Prefix) -> list[str]:
    return [text for text in prefixes if _prefix(text) != prefix]


def _merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            below = merged.get(key)
            merged[key] = _merged(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged
