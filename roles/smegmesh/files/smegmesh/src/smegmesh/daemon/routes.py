"""The routing of the host, kept as its meshes are: who is told when another way is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv6Network
from typing import Protocol

from smegmesh.crdt.entry import BridgedRoute
from smegmesh.gossip.view import View
from smegmesh.identity.address import mesh_prefix
from smegmesh.routing.follow import Follower
from smegmesh.routing.host import Place, Routing
from smegmesh.routing.offers import Offers
from smegmesh.routing.plan import NOTHING_BEYOND, Allowed
from smegmesh.routing.tables import HostPlan

SETTLING = 5.0  # seconds after a start in which what was announced before it holds
COALESCE = 0.1  # seconds in which what is announced anew is put together; what is withdrawn goes at once


class RoutedMesh(Protocol):
    """What this needs of a mesh."""

    def view(self) -> View:
        """The picture of now."""

    def place(self) -> Place:
        """Where it is on this host, and how it routes, but for the offers of its members."""

    def rerouted(self) -> None:
        """What its members carry beyond the mesh is something else now."""

    def announce(self, routes: tuple[BridgedRoute, ...]) -> None:
        """Tell its members what this node reaches through its other meshes."""


class Routes:
    """Follows the meshes that were added. `changed` is called when the kernel's tables are to be others."""

    def __init__(self, own: bytes, changed: Callable[[], None]) -> None:
        self._follower = Follower(own)
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._meshes: dict[str, RoutedMesh] = {}
        self._carried_out = Routing()
        self._announced: dict[str, tuple[BridgedRoute, ...]] = {}
        self._due: asyncio.Handle | None = None
        self._announcing: asyncio.TimerHandle | None = None
        self._settled = 0.0

    @property
    def plan(self) -> HostPlan:
        """What the kernel should hold."""
        return self._follower.routing.plan

    @property
    def routing(self) -> Routing:
        """All that follows for this host."""
        return self._follower.routing

    def overlay(self) -> frozenset[IPv6Network]:
        """The prefixes of all meshes that are known here: those of this host, and those that it could reach."""
        best = self._follower.routing.best.values()
        reached = {destination for ways in best for destination in ways if isinstance(destination, str)}
        return frozenset(map(mesh_prefix, reached.union(self._meshes)))

    def allowed(self, mesh: str) -> Allowed:
        """What the members of a mesh carry beyond it."""
        return self._follower.routing.allowed.get(mesh, NOTHING_BEYOND)

    def used(self, mesh: str) -> frozenset[bytes]:
        """The exits of a mesh that this node sends to."""
        return self._follower.routing.used.get(mesh, frozenset())

    def offers(self, mesh: str) -> Offers:
        """What the members of a mesh offer."""
        return self._follower.offers(mesh)

    def add(self, mesh_id: str, mesh: RoutedMesh, announced: tuple[BridgedRoute, ...] = ()) -> None:
        """Begin to follow a mesh; what it reaches is known when this returns.

        `announced` is what this node told in it before it was started anew. Until all meshes are heard again it holds,
        or each start of an agent would have others take another bridge, and come back.
        """
        self._meshes[mesh_id] = mesh
        self._announced[mesh_id] = announced
        if announced:
            self._settled = max(self._settled, self._loop.time() + SETTLING)
        self.follow(mesh_id)
        self._carry_out()

    def drop(self, mesh_id: str) -> None:
        """A mesh of this host ended."""
        if self._meshes.pop(mesh_id, None) is not None:
            self._follower.drop(mesh_id)
            self._announced.pop(mesh_id, None)
            self._later()

    def follow(self, mesh_id: str) -> None:
        """A mesh may be another one than it was."""
        mesh = self._meshes.get(mesh_id)
        if mesh is not None and self._follower.put(mesh.view(), mesh.place()):
            self._later()

    def close(self) -> None:
        """End; nobody is told anything any more."""
        self._meshes.clear()
        for handle in (self._due, self._announcing):
            if handle is not None:
                handle.cancel()

    def _later(self) -> None:
        """Once for all that changes in this turn of the loop."""
        if self._due is None:
            self._due = self._loop.call_soon(self._carry_out)

    def _carry_out(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        before, self._carried_out = self._carried_out, self._follower.routing
        after = self._carried_out
        for mesh_id, mesh in list(self._meshes.items()):
            if _differ(mesh_id, before.allowed, after.allowed) or _differ(mesh_id, before.used, after.used):
                mesh.rerouted()
        if before.plan != after.plan:
            self._changed()
        self._announce_later()

    def _announce_later(self) -> None:
        settling = self._settled - self._loop.time()
        if settling > 0:
            self._announcing = self._announcing or self._loop.call_later(settling, self._announce)
            return
        announced = self._carried_out.announced
        news = {mesh for mesh in self._meshes if announced.get(mesh, ()) != self._announced.get(mesh, ())}
        if any(_ends(self._announced.get(mesh, ())) - _ends(announced.get(mesh, ())) for mesh in news):
            self._announce()
        elif news and self._announcing is None:
            self._announcing = self._loop.call_later(COALESCE, self._announce)

    def _announce(self) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
            self._announcing = None
        for mesh_id, mesh in list(self._meshes.items()):
            routes = self._carried_out.announced.get(mesh_id, ())
            if routes != self._announced.get(mesh_id, ()):
                self._announced[mesh_id] = routes
                mesh.announce(routes)


def _ends(routes: Iterable[BridgedRoute]) -> set[tuple[str, str | None]]:
    """Where routes lead, whatever the way."""
    return {(route.path[-1] if route.prefix is None else "", route.prefix) for route in routes}


def _differ(mesh: str, before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    return before.get(mesh) != after.get(mesh)
