"""A request carried out on files, until whoever asked for it is content: smegctl's and the API's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from smegmesh.declaration.change import FileChange, Places, Request, plan_changes
from smegmesh.declaration.meshes import Source, read_sources
from smegmesh.declaration.write import FileTransaction, locked

if TYPE_CHECKING:
    from smegmesh.identity.grant import Grant


class Applied:
    """Files as a request wants them; `roll_back` puts them back as they were, until it is left.

    Other writers are kept out meanwhile. Entering raises DeclarationError for a bad request and OSError where files
    cannot be written or read, and then no file is changed.
    """

    def __init__(self, request: Request, places: Places) -> None:
        self.changes: tuple[FileChange, ...] = ()
        self._request = request
        self._places = places
        self._stack = ExitStack()
        self._transaction: FileTransaction | None = None

    def __enter__(self) -> Applied:
        if not check(self._request, self._places):
            return self
        with ExitStack() as stack:
            for directory in sorted({self._places.directory(owner) for owner in self._request.owners}):
                stack.enter_context(locked(directory))
            self.changes = check(self._request, self._places)
            if self.changes:
                self._transaction = stack.enter_context(FileTransaction(self.changes))
                self._transaction.apply()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def roll_back(self) -> None:
        """Put the files back."""
        if self._transaction is not None:
            self._transaction.roll_back()

    def refused(self, before: Mapping[str, str], problems: Mapping[str, str]) -> str:
        """What an agent that has read them could not bring up, in one line; "" if nothing, or nothing new.

        Both are by mesh id: `problems` as the reload has them, `before` as the status told all of them without the
        change.
        """
        written = dict.fromkeys(change.mesh for change in self._written())
        told = {mesh: problems[mesh] for mesh in written if mesh in problems}
        told = {mesh: problem for mesh, problem in told.items() if problem not in before.get(mesh, "")}
        return "; ".join(f"mesh {mesh}: {problem}" for mesh, problem in told.items())

    def _written(self) -> list[FileChange]:
        return [change for change in self.changes if change.after is not None]


def check(request: Request, places: Places) -> tuple[FileChange, ...]:
    """What carrying a request out would change, with all its errors; writes nothing."""
    return plan_changes(request, read_all(places), places, _read_grants(request, places.etc))


def read_all(places: Places) -> list[Source]:
    """All files there are; DeclarationError for one that cannot be read."""
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
    from smegmesh.identity.certificate import Authority, CertificateError, leaf_der

    grants = {}
    for directory in sorted((etc / "authorities").glob("*")):
        try:
            authority = Authority((directory / "authority.pem").read_bytes())
            node = authority.verify(leaf_der((directory / "node.pem").read_bytes()))
        except (CertificateError, FileNotFoundError, NotADirectoryError):
            continue
        grants[directory.name] = node.grant
    return grants
