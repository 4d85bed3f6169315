"""Where others reach this host in a mesh: as it is declared, and as it is found out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from smegmesh.crdt.entry import Entry, Role
from smegmesh.daemon.discovery import Discovery, observed, outgoing
from smegmesh.daemon.host import Host
from smegmesh.daemon.journal import NodeLogger
from smegmesh.declaration import Declaration, HostPort
from smegmesh.gossip.engine import Engine
from smegmesh.gossip.observed import Address, outside_address
from smegmesh.gossip.view import Liveness
from smegmesh.identity.address import mesh_prefix
from smegmesh.transport.dialling import parse_address


class Endpoints:
    """Finds where this host is reached, if its declaration leaves that to the agent; `found` is called for what is new.

    `before` is the entry from before the agent was started anew, None for none: what it names holds until something
    else is found.
    """

    def __init__(
        self,
        host: Host,
        declaration: Declaration,
        engine: Engine,
        before: Entry | None,
        found: Callable[[], None],
        log: NodeLogger,
    ) -> None:
        self._own = host.keys.node_key
        self._engine = engine
        self._discovery: Discovery | None = None
        if declaration.role is Role.PEER and declaration.endpoint_discovery != "static":
            overlay = host.routes.overlay
            outwards = declaration.endpoint_discovery == "outgoing"
            find = outgoing(host, declaration, overlay) if outwards else observed(engine.observed, self._peers, overlay)
            self._discovery = Discovery(find, _addresses_in(before, declaration), found, log)

    @property
    def problem(self) -> str | None:
        """Why none is found."""
        return self._discovery.problem if self._discovery is not None else None

    def start(self) -> None:
        """Begin to look for them."""
        if self._discovery is not None:
            self._discovery.start()

    def look(self, *, unless_found: bool = False) -> None:
        """They may be others now."""
        if self._discovery is not None and not (unless_found and self._discovery.addresses):
            self._discovery.look()

    async def close(self) -> None:
        """Look no more."""
        if self._discovery is not None:
            await self._discovery.close()

    def best_first(self, declared: HostPort | None) -> Iterator[HostPort]:
        """Where others reach this peer: as declared, before what is found."""
        if declared is not None:
            yield declared
        for address in self._discovery.addresses if self._discovery is not None else ():
            yield HostPort(str(address), None)

    def _peers(self) -> int:
        """How many others could say where they see this host."""
        members = self._engine.view().members.values()
        others = (member for member in members if member.node_key != self._own)
        return sum(member.entry.role is Role.PEER and member.liveness is Liveness.ALIVE for member in others)


def _addresses_in(entry: Entry | None, declaration: Declaration) -> tuple[Address, ...]:
    """What an own entry of before names beside what is declared."""
    hosts = [parse_address(text)[0] for text in entry.links] if entry is not None else []
    declared = declaration.endpoint.host if declaration.endpoint is not None else None
    found = (outside_address(host, (mesh_prefix(declaration.mesh),)) for host in hosts if host != declared)
    return tuple(address for address in found if address is not None)
