"""Whether this node is fit to be an exit: whether what it must reach for that answers."""

from __future__ import annotations

from collections.abc import Callable

from smegmesh.daemon.journal import NodeLogger
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.probe import Prober
from smegmesh.declaration import Health
from smegmesh.routing.tables import MARK

_UPSTREAM = b""


class Upstream:
    """Pings what an exit must reach to be of use, past all tunnels; `changed` is called when `reached` is another."""

    def __init__(self, health: Health, changed: Callable[[], None], *, reached: bool) -> None:
        self.reached = reached
        self._health = health
        self._missed = 0
        self._changed = changed
        self._prober = Prober(None, self._probed, timeout=min(health.interval, 1.0), mark=MARK)

    def start(self) -> None:
        """Begin. PlaneError if this process may not ping."""
        self._prober.watch([(_UPSTREAM, self._health.target)], self._health.interval)

    def close(self) -> None:
        """Stop."""
        self._prober.close()

    def _probed(self, _key: bytes, answered: bool, _sent: float) -> None:
        self._missed = 0 if answered else self._missed + 1
        reached = answered or (self.reached and self._missed < self._health.misses)
        if reached != self.reached:
            self.reached = reached
            self._changed()


class HealthWatch:
    """Follows what a declaration says that this exit must reach, which may be nothing: that is always `reached`.

    Without `tunnels` nothing is pinged. `reached` is what holds until it is known better, `changed` is called when it
    is another.
    """

    def __init__(
        self, health: Health | None, changed: Callable[[], None], log: NodeLogger, *, tunnels: bool, reached: bool
    ) -> None:
        self._health = health
        self._changed = changed
        self._log = log
        self._tunnels = tunnels
        self._upstream = self._make(reached=reached)

    @property
    def reached(self) -> bool:
        """Whether this node may say that it forwards."""
        return self._upstream is None or self._upstream.reached

    def start(self) -> None:
        """Begin, if it may; else it is logged why not."""
        if self._upstream is not None:
            try:
                self._upstream.start()
            except PlaneError as error:
                self._log.error("%s", error)

    def follow(self, health: Health | None) -> bool:
        """Watch what the declaration says now; whether that is something else than before."""
        if health == self._health:
            return False
        reached = self.reached
        self.close()
        self._health = health
        self._upstream = self._make(reached=reached)
        self.start()
        return True

    def close(self) -> None:
        """Stop."""
        if self._upstream is not None:
            self._upstream.close()

    def _make(self, *, reached: bool) -> Upstream | None:
        if self._health is None or not self._tunnels:
            return None
        return Upstream(self._health, self._upstream_changed, reached=reached)

    def _upstream_changed(self) -> None:
        assert self._health is not None
        self._log.warning("health target %s %s", self._health.target, "answers" if self.reached else "does not answer")
        self._changed()
