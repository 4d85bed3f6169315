"""The routing of one simulated host: what the daemon's routes and reach do, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from smegmesh.crdt.entry import BridgedRoute
from smegmesh.gossip.view import Liveness, View
from smegmesh.identity.address import node_address
from smegmesh.routing.choices import Joined
from smegmesh.routing.follow import Follower
from smegmesh.routing.host import Place, Routing
from smegmesh.simulation.clock import Clock
from smegmesh.simulation.mesh import Simulation, entry_of
from smegmesh.simulation.node import Node

# All as in the daemon.
_COALESCE = 0.1  # seconds in which what is announced anew is put together; what is withdrawn goes at once
_SETTLING = 5.0  # seconds after a start in which what was announced before it holds
_PATIENCE = 3.0  # seconds without any link after which a mesh is out of reach
_START = 8.0  # the same after a start


@dataclass(frozen=True, slots=True)
class Agent:
    """The part of an agent that runs in one mesh."""

    simulation: Simulation
    node: Node

    def view(self) -> View:
        """The picture of now."""
        assert self.node.engine is not None
        return self.node.engine.view()

    def is_linked(self) -> bool:
        """Whether it has a link."""
        return self.node.engine is not None and bool(self.node.engine.links())

    def announce(self, routes: tuple[BridgedRoute, ...]) -> None:
        """Tell its mesh what this node reaches through its others."""
        self.node.routes = routes
        self.simulation.call(self.node.name, "set_entry", entry_of(self.node))


class Router:
    """What an agent does about its routing, from its start to its death. `changed`: it may be another one."""

    def __init__(self, clock: Clock, agents: Mapping[str, Agent], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._agents = agents
        self._changed = changed
        self._follower = Follower(next(iter(agents.values())).node.key)
        self._announced = {mesh: agent.node.routes for mesh, agent in agents.items()}
        self._reach = {mesh: Reach(clock, partial(self.follow, mesh)) for mesh in agents}
        self._places = {
            (mesh, serves): _place(number, mesh, agent.node, serves)
            for number, (mesh, agent) in enumerate(agents.items(), 1)
            for serves in (False, True)
        }
        self._settled = clock.now + (_SETTLING if any(self._announced.values()) else 0.0)
        self._closed = False
        self._due = False
        self._announcing: float | None = None  # when

    @property
    def routing(self) -> Routing:
        """The routing now; computed when somebody asks for it."""
        return self._follower.routing

    def start(self) -> None:
        """Its agents run."""
        for mesh in self._agents:
            self.follow(mesh)

    def close(self) -> None:
        """They are dead: nothing is done any more."""
        self._closed = True

    def follow(self, mesh: str) -> None:
        """A mesh may be another one than it was."""
        if self._closed:
            return
        view = self._agents[mesh].view()
        if not self._follower.put(view, self._places[mesh, self._serves(mesh, view)]):
            return
        self._changed()
        if len(self._agents) > 1 and not self._due:
            self._due = True
            self._clock.at(self._clock.now, self._carry_out)

    def _serves(self, mesh: str, view: View) -> bool:
        """Whether what is sent here for another mesh gets on."""
        agent = self._agents[mesh]
        if not agent.node.bridge:
            return False
        own = view.members.get(view.node_key)
        others = any(key != view.node_key for key in view.members)
        connected = self._reach[mesh].connected(linked=agent.is_linked(), others=others)
        return connected and (own is None or own.liveness is not Liveness.DOWN)

    def _carry_out(self) -> None:
        self._due = False
        if self._closed:
            return
        news = self._news()
        if self._clock.now < self._settled:
            self._announce_at(self._settled)
        elif any(_ends(self._announced[mesh]) - _ends(routes) for mesh, routes in news.items()):
            self._announce()
        elif news:
            self._announce_at(self._clock.now + _COALESCE)

    def _news(self) -> dict[str, tuple[BridgedRoute, ...]]:
        """What is to be told otherwise than it was."""
        announced = self.routing.announced
        return {mesh: announced[mesh] for mesh, before in self._announced.items() if announced[mesh] != before}

    def _announce_at(self, time: float) -> None:
        """Unless that is to be at some time already."""
        if self._announcing is None:
            self._announcing = time
            self._clock.at(time, self._on_time, time)

    def _on_time(self, time: float) -> None:
        if self._announcing == time:
            self._announce()

    def _announce(self) -> None:
        self._announcing = None
        if not self._closed:
            for mesh, routes in self._news().items():
                self._announced[mesh] = routes
                self._agents[mesh].announce(routes)


class Reach:
    """Tells links that are being made anew from a mesh that is out of reach, as the daemon's does."""

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._linked = False
        self._until = clock.now + _START
        clock.at(self._until, changed)

    def connected(self, *, linked: bool, others: bool) -> bool:
        """Whether the mesh is in reach: there is a link, there was one just now, or there is nobody else."""
        if self._linked and not linked:
            self._until = self._clock.now + _PATIENCE
            self._clock.at(self._until, self._changed)
        self._linked = linked
        return linked or not others or self._clock.now < self._until


def _place(port: int, mesh: str, node: Node, serves: bool) -> Place:
    return Place(f"wg-{mesh}", port, node_address(mesh, node.key), Joined(bridge=serves))


def _ends(routes: Iterable[BridgedRoute]) -> set[tuple[str, str | None]]:
    """Where routes lead, whatever the way."""
    return {(route.path[-1] if route.prefix is None else "", route.prefix) for route in routes}
