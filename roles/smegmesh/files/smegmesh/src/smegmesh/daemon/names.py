"""Names of members and services in DNS: who answers, where, and who is told. Loaded only where names are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from smegmesh.control.dns import DnsServer
from smegmesh.daemon.resolved import Resolved, Run
from smegmesh.declaration import DnsSettings
from smegmesh.gossip.view import View
from smegmesh.names.server import NameServer


class Names:
    """The names of all meshes of a host; `interfaces` are those that stand, by mesh id."""

    def __init__(self, settings: DnsSettings, interfaces: Callable[[], Mapping[str, str]], run: Run) -> None:
        self._interfaces = interfaces
        self._server = NameServer(settings.domain, time.time)
        self._port = DnsServer(settings.listen, self._server.answer)
        self._resolved = Resolved(settings.listen, self._domains, run) if settings.resolved else None

    def start(self) -> None:
        """Answer as soon as that can be."""
        self._port.start()
        if self._resolved is not None:
            self._resolved.start()

    async def stop(self) -> None:
        """Answer no more."""
        if self._resolved is not None:
            await self._resolved.close()
        await self._port.stop()

    @property
    def problems(self) -> list[str]:
        """What is wrong with them as a whole."""
        resolved = self._resolved.problem if self._resolved is not None else None
        return [problem for problem in (self._port.problem, resolved) if problem]

    def problems_of(self, mesh_id: str) -> list[str]:
        """What is wrong with the names of a mesh."""
        return self._server.problems(mesh_id)

    def follow(self, view: View) -> None:
        """Answer as a view says."""
        self._server.follow(view)

    def drop(self, mesh_id: str) -> None:
        """Answer for a mesh no longer."""
        self._server.drop(mesh_id)
        self.interfaces_changed()

    def interfaces_changed(self) -> None:
        """An interface of a mesh is new, or gone."""
        if self._resolved is not None:
            self._resolved.changed()

    def _domains(self) -> Mapping[str, Sequence[str]]:
        domains = {device: self._server.domains(mesh_id) for mesh_id, device in self._interfaces().items()}
        return {device: named for device, named in domains.items() if named}
