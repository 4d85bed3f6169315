"""The routing of the host, kept as its meshes are: who is told when another way is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from ipaddress import IPv6Network
from typing import Protocol

from smegmesh.crdt.entry import BridgedRoute
from smegmesh.gossip.view import View
from smegmesh.identity.address import mesh_prefix
from smegmesh.routing.announcing import Announcer
from smegmesh.routing.follow import Follower
from smegmesh.routing.hearing import Hearing
from smegmesh.routing.host import Place, Routing
from smegmesh.routing.offers import Offers
from smegmesh.routing.plan import NOTHING_BEYOND, Allowed
from smegmesh.routing.tables import HostPlan


class RoutedMesh(Protocol):
    """What this needs of a mesh."""

    @property
    def informed(self) -> bool:
        """Whether this node knew at one time all that others know."""

    @property
    def pace(self) -> float:
        """How many times as rarely as usual this node asks others for a sign of life."""

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
        self._announcer = Announcer()
        self._hearing = Hearing(self._pace)
        self._held: asyncio.TimerHandle | None = None
        self._due: asyncio.Handle | None = None
        self._announcing: asyncio.TimerHandle | None = None

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

    def exits(self, mesh: str) -> frozenset[bytes]:
        """All exits of a mesh."""
        return self._follower.routing.exits.get(mesh, frozenset())

    def offers(self, mesh: str) -> Offers:
        """What the members of a mesh offer."""
        return self._follower.offers(mesh)

    def add(self, mesh_id: str, mesh: RoutedMesh, announced: tuple[BridgedRoute, ...] = ()) -> None:
        """Begin to follow a mesh; what it reaches is known when this returns.

        `announced` is what this node told in it before it was started anew.
        """
        self._meshes[mesh_id] = mesh
        self._announcer.begin(mesh_id, announced, self._loop.time())
        self.follow(mesh_id)
        self._carry_out()

    def pause(self, mesh_id: str) -> None:
        """A mesh is started anew: until then all stays as it is."""
        self._meshes.pop(mesh_id, None)

    def drop(self, mesh_id: str) -> None:
        """A mesh of this host ended, or could not be started again."""
        self._meshes.pop(mesh_id, None)
        self._announcer.end(mesh_id)
        self._follower.drop(mesh_id)
        self._later()

    def follow(self, mesh_id: str) -> None:
        """A mesh may be another one than it was; its members are taken as they were while this host hears nobody."""
        mesh = self._meshes.get(mesh_id)
        if mesh is None:
            return
        held = self._follower.view(mesh_id) if self._is_held() else None
        if self._follower.put(held or mesh.view(), mesh.place()):
            self._later()

    def heard(self) -> None:
        """Somebody sent or answered something, in whatever mesh."""
        if self._hearing.heard(self._loop.time()):
            self._is_held()

    def informed(self) -> None:
        """A mesh knows now what others know."""
        self._later()

    def close(self) -> None:
        """End; nobody is told anything any more."""
        self._meshes.clear()
        for handle in (self._due, self._announcing, self._held):
            if handle is not None:
                handle.cancel()

    def _is_held(self) -> bool:
        """Whether all stays as it is for now; then all meshes are followed again when that may be over."""
        due = self._hearing.due(self._loop.time())
        if self._held is not None and self._held.when() != due:
            self._held.cancel()
            self._held = None
        if due is not None and self._held is None:
            self._held = self._loop.call_at(due, self._release)
        return due is not None

    def _pace(self) -> float:
        return max((mesh.pace for mesh in self._meshes.values()), default=1.0)

    def _release(self) -> None:
        self._held = None
        for mesh_id in list(self._meshes):
            self.follow(mesh_id)

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
            pairs = ((before.allowed, after.allowed), (before.used, after.used), (before.exits, after.exits))
            if any(_differ(mesh_id, one, other) for one, other in pairs):
                mesh.rerouted()
        if before.plan != after.plan:
            self._changed()
        self._announce()

    def _announce(self) -> None:
        """Tell what is to be told now, and come back when more is due."""
        if self._announcing is not None:
            self._announcing.cancel()
            self._announcing = None
        now = self._loop.time()
        informed = all(mesh.informed for mesh in self._meshes.values())
        for mesh_id, routes in self._announcer.update(self._carried_out.announced, now, informed=informed).items():
            if mesh_id in self._meshes:
                self._meshes[mesh_id].announce(routes)
        if self._announcer.due is not None:
            self._announcing = self._loop.call_at(self._announcer.due, self._announce)


def _differ(mesh: str, before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    return before.get(mesh) != after.get(mesh)
