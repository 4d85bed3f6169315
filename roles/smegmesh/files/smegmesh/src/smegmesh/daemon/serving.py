"""A mesh among the others of this host: what goes out of it, by whom, and whether this node serves for that itself."""

from __future__ import annotations

from collections.abc import Callable

from smegmesh.daemon.exits import MeshExits
from smegmesh.daemon.health import HealthWatch
from smegmesh.daemon.host import Host
from smegmesh.daemon.interface import Interface
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.own_entry import accepted
from smegmesh.daemon.reaching import Reaching
from smegmesh.declaration import Declaration, Prefix
from smegmesh.gossip.engine import Engine
from smegmesh.identity.address import node_address
from smegmesh.identity.grant import Grant
from smegmesh.routing.choices import Joined
from smegmesh.routing.host import Place


class Serving:
    """Watches exits in use, the health target of this one, and whether the mesh is heard at all.

    `advertised` says whether this node advertised something before the agent was started anew, which holds until it is
    known better. `on_health` is called when `advertised()` may be another, `on_replaced` when `place` may be.
    """

    def __init__(
        self,
        host: Host,
        declaration: Declaration,
        engine: Engine,
        interface: Interface,
        on_health: Callable[[], None],
        on_replaced: Callable[[], None],
        log: NodeLogger,
        *,
        advertised: bool,
    ) -> None:
        self._host = host
        self._engine = engine
        self._interface = interface
        self._exits = MeshExits(host, declaration, engine.view, lambda: interface.stands, on_replaced, log)
        self._health = HealthWatch(declaration.health, on_health, log, tunnels=host.tunnels, reached=advertised)
        self._reaching = Reaching(on_replaced, host.clock)

    def start(self) -> None:
        """Begin with the health target; exits are watched from the first `follow_exits` on."""
        self._health.start()

    def follow(self, declaration: Declaration) -> bool:
        """Go by another declaration; whether what is advertised may be something else by that health target."""
        return self._health.follow(declaration.health)

    def follow_exits(self) -> None:
        """Which exits are used, or could answer, may be others now."""
        self._exits.follow()

    def close(self) -> None:
        """Watch nothing more."""
        self._reaching.close()
        self._exits.close()
        self._health.close()

    def advertised(self, declaration: Declaration) -> tuple[Prefix, ...]:
        """The prefixes that this node says now it forwards to."""
        return declaration.advertise if self._health.reached and self._host.forwards() else ()

    def place(self, declaration: Declaration, grant: Grant) -> Place:
        """Where the mesh is on this host, and how it routes, but for the offers of its members."""
        return Place(
            device=self._interface.device,
            port=self._interface.port,
            address=node_address(declaration.mesh, self._host.keys.node_key),
            joined=Joined(
                bridge=declaration.bridge and self._serves(),
                granted=frozenset(grant.bridges),
                accepted=accepted(declaration),
                advertised=frozenset(self.advertised(declaration)),
                unreachable=self._exits.unreachable,
                behind=frozenset(prefix for peer in declaration.static_peers for prefix in peer.allowed_ips),
            ),
            masquerade=declaration.masquerade,
        )

    def _serves(self) -> bool:
        """Whether what is sent here for another mesh gets on: the interface stands, and the mesh is heard."""
        heard = self._reaching.heard(self._engine.view(), linked=bool(self._engine.links()))
        return heard and self._interface.serves and self._host.forwards()
