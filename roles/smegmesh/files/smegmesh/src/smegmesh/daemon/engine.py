"""The engine of a mesh: made with what was stored of it, and driven."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import SystemRandom

from smegmesh.daemon.credentials import Credentials
from smegmesh.daemon.effects import Effects
from smegmesh.daemon.host import Host
from smegmesh.daemon.journal import NodeLogger
from smegmesh.declaration import Declaration
from smegmesh.gossip.engine import Engine
from smegmesh.gossip.settings import Settings, Stored
from smegmesh.store import StoreError


def make_engine(host: Host, declaration: Declaration, credentials: Credentials, log: NodeLogger) -> Engine:
    """It knows what the store has. What of that is damaged, or of an authority that is not trusted any more, goes."""
    mesh_id = declaration.mesh
    bootstrap = tuple(entry.address for entry in declaration.bootstrap)
    state = host.store.load(mesh_id, host.keys.node_key)
    make = partial(
        Engine,
        Settings(mesh_id=mesh_id, bootstrap=bootstrap),
        host.keys.identity,
        credentials.certificate,
        credentials.authority,
        SystemRandom(),
        host.clock(),
    )
    try:
        engine = make(Stored(state.records, state.certificates, state.number))
    except ValueError as error:  # damaged: the others know it all
        log.warning("starting without what was stored: %s", error)
        host.store.forget(mesh_id)
        return make(Stored(number=state.number))
    left_out = engine.left_out
    if left_out.records or left_out.certificates:
        log.warning("dropped what was stored under an authority that is not trusted any more")
    try:
        host.store.drop(mesh_id, left_out.records, (*left_out.certificates, *left_out.replaced))
    except StoreError as error:  # it is dropped at the next start
        log.warning("%s", error)
    return engine


class EngineDriver:
    """Gives an engine its inputs and its timer, and has carried out what it asks for. `clock` is the event loop's.

    `on_informed` is called once, as soon as this node knows all that others know; `informed` says so from then on.
    """

    def __init__(
        self, engine: Engine, effects: Effects, on_informed: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self.informed = False
        self.stopped = False
        self._engine = engine
        self._effects = effects
        self._on_informed = on_informed
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    def input(self, method: Callable[..., None], *arguments: object) -> None:
        """Call a method of the engine with these and the time, unless it is stopped. Raises what that raises."""
        if self.stopped:
            return
        method(*arguments, self._clock())
        self.follow()

    def follow(self) -> None:
        """Have carried out what the engine asks for."""
        self._effects.add(self._engine.events())
        if not self.informed and self._engine.agrees:
            self.informed = True
            self._on_informed()
        if self._timer is not None:
            self._timer.cancel()
        wake = partial(self.input, self._engine.timer)
        self._timer = asyncio.get_running_loop().call_at(self._engine.next_timer(), wake)

    def stop(self) -> None:
        """No more inputs."""
        self.stopped = True
        if self._timer is not None:
            self._timer.cancel()
