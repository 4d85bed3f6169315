"""The routing of one simulated host: what the daemon's routes and reach do, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from smegmesh.crdt.entry import BridgedRoute
from smegmesh.gossip.view import Liveness, View
from smegmesh.identity.address import node_address
from smegmesh.routing.announcing import Announcer
from smegmesh.routing.choices import Joined
from smegmesh.routing.follow import Follower
from smegmesh.routing.host import Place, Routing
from smegmesh.routing.reach import Reach
from smegmesh.simulation.clock import Clock
from smegmesh.simulation.mesh import Simulation, entry_of
from smegmesh.simulation.node import Node


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

    def is_informed(self) -> bool:
        """Whether it knew at one time all that others know."""
        return self.node.engine is not None and self.node.engine.agrees

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
        self._announcer = Announcer()
        for mesh, agent in agents.items():
            self._announcer.begin(mesh, agent.node.routes, clock.now)
        self._reach = {mesh: Reach(clock.now) for mesh in agents}
        self._looking: dict[str, float] = {}  # when a mesh may be out of reach
        self._places = {
            (mesh, serves): _place(number, mesh, agent.node, serves)
            for number, (mesh, agent) in enumerate(agents.items(), 1)
            for serves in (False, True)
        }
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
        reach = self._reach[mesh]
        connected = reach.connected(self._clock.now, linked=agent.is_linked(), others=others)
        if self._looking.get(mesh) != reach.until:
            self._looking[mesh] = reach.until
            self._clock.at(reach.until, self.follow, mesh)
        return connected and (own is None or own.liveness is not Liveness.DOWN)

    def _carry_out(self) -> None:
        self._due = False
        if self._closed:
            return
        informed = all(agent.is_informed() for agent in self._agents.values())
        for mesh, routes in self._announcer.update(self.routing.announced, self._clock.now, informed=informed).items():
            self._agents[mesh].announce(routes)
        if self._announcer.due is not None and self._announcer.due != self._announcing:
            self._announcing = self._announcer.due
            self._clock.at(self._announcing, self._carry_out)


def _place(port: int, mesh: str, node: Node, serves: bool) -> Place:
    return Place(f"wg-{mesh}", port, node_address(mesh, node.key), Joined(bridge=serves))
