"""Several simulated meshes on one clock, and hosts that are in more than one: each routes as an agent does.

Gossip is real in every mesh. A host follows the views of its meshes, and tells in its entries what it reaches through
the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from random import Random

from smegmesh.crdt.entry import Role
from smegmesh.gossip.view import Liveness, View
from smegmesh.routing.choices import Choices
from smegmesh.routing.host import Routing
from smegmesh.simulation.clock import Clock
from smegmesh.simulation.mesh import Simulation
from smegmesh.simulation.network import Delay
from smegmesh.simulation.node import Node
from smegmesh.simulation.paper import Machine, Settled, settled
from smegmesh.simulation.router import Agent, Router
from smegmesh.simulation.settled import come_up, settling

_BOOTSTRAP = 3


class Bridged:
    """Meshes with hosts in them. Times are virtual seconds; everything follows from the seed.

    `on_routes` is called with the name of a host whose routing may be another one, `on_view` with a node (a host in
    one mesh) that may have another view.
    """

    def __init__(
        self,
        seed: int,
        machines: Iterable[Machine],
        *,
        latency: Delay = (0.001, 0.02),
        loss: float = 0.0,
        **settings: float,
    ) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.machines = {machine.name: machine for machine in machines}
        self.meshes: dict[str, Simulation] = {}
        self.dead: set[str] = set()
        self.on_view: Callable[[Node], None] | None = None
        self.on_routes: Callable[[str], None] | None = None
        self._routers: dict[str, Router] = {}
        for machine in self.machines.values():
            for mesh in machine.meshes:
                if mesh not in self.meshes:
                    self.meshes[mesh] = self._make(mesh, latency, loss, settings)
                self.meshes[mesh].add(machine.name, machine.role, bridge=machine.bridge)
        for simulation in self.meshes.values():
            peers = (node.address for node in simulation.nodes.values() if node.role is Role.PEER)
            simulation.bootstrap = tuple(islice(peers, _BOOTSTRAP))

    # Hosts

    def settle(self, *, routed: bool = True) -> None:
        """Bring all hosts up as if they had been running for long; not `routed`: but for what bridges tell."""
        told = settled(self.machines.values()).told if routed else {}
        for (name, mesh), routes in told.items():
            self.meshes[mesh].nodes[name].routes = routes
        for simulation in self.meshes.values():
            come_up(simulation)
        for name in self.machines:
            self._route(name)
        self.run_for(max(map(settling, self.meshes.values())))

    def kill_host(self, name: str) -> None:
        """A host dies without a word, in all its meshes."""
        self.dead.add(name)
        self._routers.pop(name).close()
        for mesh in self.machines[name].meshes:
            self.meshes[mesh].kill_host(name)

    def start(self, name: str) -> None:
        """Boot a host again, with what its disk keeps."""
        self.dead.discard(name)
        for mesh in self.machines[name].meshes:
            self.meshes[mesh].start(name)
        self._route(name)

    # Time

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_for(seconds)

    def run_until(self, condition: Callable[[], bool], limit: float, step: float = 0.05) -> float:
        """Let time pass until the condition holds; returns the seconds. Raises TimeoutError after `limit`."""
        return self.clock.wait(condition, limit, step, lambda: f"down are {sorted(self.dead)}")

    # What is seen

    def living(self) -> list[str]:
        """Hosts that are up."""
        return list(self._routers)

    def routing(self, name: str) -> Routing:
        """The routing of a host that is up."""
        return self._routers[name].routing

    def view(self, name: str, mesh: str) -> View:
        """A mesh as a host that is up sees it."""
        return self.meshes[mesh].view(name)

    def knows_down(self, dead: str) -> bool:
        """Whether everybody who is in a mesh with a host holds it for down."""
        key = self.machines[dead].key
        return all(
            node.engine is None or node.engine.failed().get(key) is Liveness.DOWN
            for mesh in self.machines[dead].meshes
            for node in self.meshes[mesh].nodes.values()
        )

    def settled(self, without: str | None = None) -> Settled:
        """What the hosts that live, all but one, should arrive at, computed from nothing."""
        return settled(machine for name, machine in self.machines.items() if name not in {*self.dead, without})

    def is_right(self, name: str, tables: Mapping[str, Choices]) -> bool:
        """Whether the ways that a host takes out of its meshes are these."""
        best = self.routing(name).best
        return all(best.get(mesh) == tables[mesh] for mesh in self.machines[name].meshes)

    # The shell of each host

    def _make(self, mesh: str, latency: Delay, loss: float, settings: Mapping[str, float]) -> Simulation:
        simulation = Simulation(
            self.random.getrandbits(32),
            0,
            latency=latency,
            loss=loss,
            mesh_id=mesh,
            clock=self.clock,
            **settings,  # type: ignore[arg-type]
        )
        simulation.on_view = simulation.on_links = partial(self._follow, mesh)
        return simulation

    def _follow(self, mesh: str, node: Node) -> None:
        router = self._routers.get(node.name)
        if router is not None:
            router.follow(mesh)
            if self.on_view is not None:
                self.on_view(node)

    def _route(self, name: str) -> None:
        agents = {mesh: Agent(self.meshes[mesh], self.meshes[mesh].nodes[name]) for mesh in self.machines[name].meshes}
        self._routers[name] = Router(self.clock, agents, partial(self._changed, name))
        self._routers[name].start()

    def _changed(self, name: str) -> None:
        if self.on_routes is not None:
            self.on_routes(name)
