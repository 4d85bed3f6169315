"""What is declared on the host through the API: files of local.d, and this agent that follows them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from smegmesh.control import types
from smegmesh.control.errors import Rejected
from smegmesh.daemon.threads import in_thread
from smegmesh.declaration.applying import Applied, read_all
from smegmesh.declaration.change import Places, Request
from smegmesh.declaration.errors import DeclarationError, ManagedElsewhere, NotDeclared
from smegmesh.declaration.local import LocalMesh
from smegmesh.declaration.meshes import Source

Ask = Callable[[LocalMesh], Request]


class Declaring:
    """Changes of local.d, one at a time. Each is in force when its method returns, or nothing was changed.

    Every method raises Rejected: 409 for what another file says, 404 for what is not there, 422 for what is wrong or
    could not be brought up, 500 for what cannot be written. What was wrong with the mesh before is no reason.
    """

    def __init__(
        self, places: Places, reload: Callable[[], Awaitable[types.Reloaded]], status: Callable[[], types.Status]
    ) -> None:
        self._places = places
        self._reload = reload
        self._status = status
        self._changing = asyncio.Lock()

    async def declare(self, mesh: str, content: Mapping[str, Any]) -> types.Changed:
        """Be in a mesh as a declaration says."""
        return await self._change(mesh, lambda local: local.declare(content))

    async def change(self, mesh: str, changes: Mapping[str, Any]) -> types.Changed:
        """Change keys of the declaration of a mesh (a JSON merge patch)."""
        return await self._change(mesh, lambda local: local.change(changes))

    async def leave(self, mesh: str) -> types.Changed:
        """Leave a mesh that was declared on the host."""
        return await self._change(mesh, LocalMesh.leave)

    async def describe(self, mesh: str, changes: Mapping[str, str | None]) -> types.Changed:
        """Change this node's alias and description in a mesh."""
        return await self._change(mesh, lambda local: local.describe(changes))

    async def advertise(self, mesh: str, prefix: str) -> types.Changed:
        """Advertise a prefix."""
        return await self._change(mesh, lambda local: local.advertise(prefix))

    async def withdraw(self, mesh: str, prefix: str) -> types.Changed:
        """Advertise a prefix no more."""
        return await self._change(mesh, lambda local: local.withdraw(prefix))

    async def offer(self, mesh: str, name: str, value: str) -> types.Changed:
        """Offer a service."""
        return await self._change(mesh, lambda local: local.offer(name, value))

    async def withhold(self, mesh: str, name: str) -> types.Changed:
        """Offer a service no more."""
        return await self._change(mesh, lambda local: local.withhold(name))

    async def _change(self, mesh: str, ask: Ask) -> types.Changed:
        async with self._changing:
            try:
                return await self._carry_out(mesh, ask)
            except ManagedElsewhere as error:
                raise Rejected(error.what, error.fix, 409) from error
            except NotDeclared as error:
                raise Rejected(error.what, error.fix, 404) from error
            except DeclarationError as error:
                raise Rejected(self._where(error), error.fix) from error

    async def _carry_out(self, mesh: str, ask: Ask) -> types.Changed:
        before = {each.mesh: each.problem or "" for each in self._status().meshes}
        with self._file_work():
            sources, request = await in_thread(self._read, mesh, ask)
        applied = Applied(request, self._places)
        try:
            with self._file_work():
                await in_thread(applied.__enter__)
            await self._have_followed(applied, sources, before)
        finally:
            await in_thread(applied.__exit__, None, None, None)
        files = [str(change.path) for change in applied.changes]
        return types.Changed(mesh=mesh, changed=bool(files), files=files)

    def _read(self, mesh: str, ask: Ask) -> tuple[Sequence[Source], Request]:
        sources = read_all(self._places)
        return sources, ask(LocalMesh(mesh, sources, self._places))

    @contextmanager
    def _file_work(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = f"{error.filename or self._places.local} cannot be written: {error.strerror}"
            raise Rejected(why, "mend that and ask again; nothing was changed", 500) from error

    async def _have_followed(self, applied: Applied, sources: Sequence[Source], before: Mapping[str, str]) -> None:
        """Have the agent follow the new files, or put the old ones back."""
        if not applied.changes:
            return
        read = {source.path: source.text for source in sources}
        if any(change.before != read.get(change.path) for change in applied.changes):
            await in_thread(applied.roll_back)
            raise Rejected("somebody else changed the declarations at the same time", "ask again", 409)
        try:
            refused = applied.refused(before, (await self._reload()).problems)
            if refused:
                raise Rejected(refused, "mend that and ask again; nothing was changed")
        except BaseException:
            await in_thread(applied.roll_back)
            await self._reload()
            raise

    def _where(self, error: DeclarationError) -> str:
        """What is wrong, and in which file unless it is that of the request itself."""
        own = error.file.startswith(str(self._places.local)) and error.file not in error.what
        return ": ".join(part for part in ((error.where, error.what) if own else (error.message,)) if part)
