"""All declarations of a host together: each by itself and with its fragments, then against each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smegmesh.declaration.document import parse_document, read_text
from smegmesh.declaration.errors import DeclarationError
from smegmesh.declaration.fragments import parse_fragment, unite
from smegmesh.declaration.parse import parse_declaration
from smegmesh.declaration.values import HOOKS, Declaration, Fragment

MESHES_DIRECTORY = "meshes.d"
SUFFIX = ".yml"
FRAGMENTS_SUFFIX = ".d"  # of the directory beside MESH.yml that holds the mesh's fragments
ANSIBLE_OWNERS = ("role", "play")
LOCAL_OWNER = "local"
FRAGMENT_OWNER = "play"  # of fragments beside what Ansible declares


@dataclass(frozen=True, slots=True)
class Source:
    """A file before it is parsed: a declaration, or a fragment of one.

    `local` says that it lies in local.d, `fault` why it could not be read.
    """

    path: Path
    text: str
    local: bool = False
    fragment: bool = False
    fault: DeclarationError | None = None

    @property
    def mesh(self) -> str:
        """The mesh the file, or the directory of fragments, is named for."""
        return mesh_of(self.path, fragment=self.fragment)


def mesh_of(path: Path, *, fragment: bool) -> str:
    """The mesh id that a declaration is named for, or the directory of a fragment."""
    return path.parent.name.removesuffix(FRAGMENTS_SUFFIX) if fragment else path.name.removesuffix(SUFFIX)


@dataclass(frozen=True, slots=True)
class MeshError:
    """A mesh that cannot run as declared: `mesh` is the id its file is named for."""

    mesh: str
    error: DeclarationError


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a running daemon takes: the good declarations by themselves, and what is wrong with the rest."""

    declarations: tuple[Declaration, ...]
    errors: tuple[MeshError, ...]


def load_meshes(etc: Path, local: Path) -> list[Declaration]:
    """All declarations, sorted by mesh id; DeclarationError if any is bad.

    `etc` is the agent's configuration directory (with meshes.d in it), `local`
    the directory local.d; either may be missing.
    """
    loaded = read_meshes(etc, local)
    if loaded.errors:
        raise loaded.errors[0].error
    return list(loaded.declarations)


def read_meshes(etc: Path, local: Path, running: Collection[str] = ()) -> Loaded:
    """The good declarations, and an error for each bad one. Raises nothing for what files hold.

    `running` names meshes that are up: of two in conflict they are in the right.
    """
    sources, faults = read_sources(etc, local)
    checked = check_set(sources, running)
    return Loaded(checked.declarations, (*(MeshError("", fault) for fault in faults), *checked.errors))


def read_sources(etc: Path, local: Path) -> tuple[list[Source], list[DeclarationError]]:
    """Every file there is, those that cannot be read with their fault; and what keeps a directory from being listed."""
    sources: list[Source] = []
    faults: list[DeclarationError] = []
    for directory, is_local in ((etc / MESHES_DIRECTORY, False), (local, True)):
        try:
            sources += [_read(path, is_local) for path in _list(directory, SUFFIX)]
            fragments = _list(directory, FRAGMENTS_SUFFIX)
        except DeclarationError as error:
            faults.append(error)
            continue
        for each in fragments:
            sources += _read_fragments(each, is_local)
    return sources, faults


def _read_fragments(directory: Path, local: bool) -> list[Source]:
    if not directory.is_dir():
        return []
    try:
        return [_read(path, local, fragment=True) for path in _list(directory, SUFFIX)]
    except DeclarationError as error:
        return [Source(directory / SUFFIX, "", local, fragment=True, fault=error)]


def _read(path: Path, local: bool, fragment: bool = False) -> Source:
    try:
        return Source(path, read_text(path), local, fragment)
    except DeclarationError as error:
        return Source(path, "", local, fragment, error)


def _list(directory: Path, suffix: str) -> list[Path]:
    """What is so named in a directory, sorted; none if it is missing. Hidden names are writers' temporary files."""
    try:
        return sorted(
            path for path in directory.iterdir() if path.name.endswith(suffix) and not path.name.startswith(".")
        )
    except FileNotFoundError:
        return []
    except OSError as error:
        fix = "let the agent's user read it"
        raise DeclarationError(str(directory), "", f"cannot be listed: {error.strerror}", fix) from None


def check_set(sources: Iterable[Source], first: Collection[str] = ()) -> Loaded:
    """Check each source, with its fragments, then the conflicts; of two in conflict the later is the bad one.

    The meshes `first` come before the others, what /etc declares before local.d,
    and else the order is by name.
    """
    good: list[Declaration] = []
    errors: list[MeshError] = []
    declared: list[Source] = []
    fragments: dict[tuple[str, bool], list[Source]] = {}  # by mesh and whether they are local
    for source in sources:
        (fragments.setdefault((source.mesh, source.local), []) if source.fragment else declared).append(source)
    for source in sorted(declared, key=lambda each: (each.mesh not in first, each.local, each.mesh)):
        # What is local adds to whatever declares the mesh; what Ansible adds, to what it declares.
        added = fragments.pop((source.mesh, True), [])
        if not source.local:
            added += fragments.pop((source.mesh, False), [])
        try:
            declaration = unite(
                parse_source(source),
                [parse_fragment_source(each) for each in sorted(added, key=lambda each: each.path)],
            )
            _check_conflicts(declaration, good)
        except DeclarationError as error:
            errors.append(MeshError(source.mesh, error))
        else:
            good.append(declaration)
    # What the host added to a mesh that is not there any more says nothing: `forget_fragments` takes it away.
    errors += [MeshError(mesh, _left_over(left[0])) for (mesh, local), left in sorted(fragments.items()) if not local]
    return Loaded(tuple(sorted(good, key=lambda declaration: declaration.mesh)), tuple(errors))


def parse_fragment_source(source: Source) -> Fragment:
    """One fragment by itself."""
    if source.fault is not None:
        raise source.fault
    fragment = parse_document(str(source.path), source.text)
    parsed = parse_fragment(fragment, source.mesh)
    allowed = LOCAL_OWNER if source.local else FRAGMENT_OWNER
    owner = fragment.data.get("owner") if isinstance(fragment.data, dict) else None
    if owner != allowed:
        what = f"owner {owner} has no fragments in {source.path.parent}"
        raise DeclarationError(str(source.path), "owner", what, f"there it is {allowed}")
    return parsed


def not_declared(fragment: Path, fix: str) -> DeclarationError:
    """What is wrong with a fragment of no mesh."""
    what = f"mesh {mesh_of(fragment, fragment=True)} is not declared in {fragment.parent.parent}"
    return DeclarationError(str(fragment), "", what, fix)


def _left_over(source: Source) -> DeclarationError:
    fix = f"declare it, with the role or module mesh, or remove {source.path.parent}"
    return source.fault or not_declared(source.path, fix)


def parse_source(source: Source) -> Declaration:
    """One declaration by itself: contents, its name, and an owner who may write there."""
    if source.fault is not None:
        raise source.fault
    declaration = parse_declaration(parse_document(str(source.path), source.text))
    if declaration.mesh != source.mesh:
        what = f"declares mesh {declaration.mesh}, but the file is named for {source.mesh}"
        fix = f"name the file {declaration.mesh}{SUFFIX}, or correct the mesh id"
        raise DeclarationError(str(source.path), "mesh", what, fix)
    allowed = (LOCAL_OWNER,) if source.local else ANSIBLE_OWNERS
    if declaration.owner not in allowed:
        what = f"owner {declaration.owner} has no files in {source.path.parent}"
        raise DeclarationError(str(source.path), "owner", what, f"there it is {' or '.join(allowed)}")
    if source.local:
        _check_no_hooks(source, declaration)
    return declaration


def _check_no_hooks(source: Source, declaration: Declaration) -> None:
    """What a hook may do is root's to say, and local.d is in a directory of the agent's user."""
    for hook in HOOKS:
        if getattr(declaration, hook):
            what = f"{hook} is a hook, and hooks are declared in files of root only"
            fix = f"take it out, or declare mesh {declaration.mesh} with Ansible"
            raise DeclarationError(str(source.path), hook, what, fix)


def _check_conflicts(declaration: Declaration, others: Sequence[Declaration]) -> None:
    for other in others:
        if other.mesh == declaration.mesh:
            what = f"mesh {other.mesh} is managed by Ansible in {other.file}"
            raise DeclarationError(declaration.file, "mesh", what, "change the inventory, or remove this file")
        if declaration.port is not None and other.port == declaration.port:
            what = f"port {declaration.port} is the port of mesh {other.mesh} already (in {other.file})"
            fix = "give each mesh its own port, or none and let the agent choose"
            raise DeclarationError(declaration.file, "port", what, fix)
        if other.interface == declaration.interface:
            what = f"interface {declaration.interface} is that of mesh {other.mesh} already (in {other.file})"
            fix = "give each mesh its own interface name, or none and let the agent choose"
            raise DeclarationError(declaration.file, "interface", what, fix)
