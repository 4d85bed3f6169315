"""Exits: those that this node uses, watched through the tunnel; and whether it is fit to be one itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address

from smegmesh.dataplane.probe import Prober
from smegmesh.declaration import Health
from smegmesh.routing.probation import Probation
from smegmesh.routing.tables import MARK

_PAUSE = 0.5  # seconds between pings: three misses are found out within three seconds
_UPSTREAM = b""


class UsedExits:
    """Pings the exits that this node uses; `changed(key, reached)` is called when one is out of reach, or back."""

    def __init__(self, device: str, changed: Callable[[bytes, bool], None]) -> None:
        self._probation = Probation()
        self._changed = changed
        self._prober = Prober(device, self._probed)

    @property
    def unreachable(self) -> frozenset[bytes]:
        """Exits that this node alone cannot reach."""
        return self._probation.unreachable

    def watch(self, used: Mapping[bytes, IPv6Address], offered: frozenset[bytes]) -> None:
        """The exits in use with their overlay addresses; `offered` are all that could be. PlaneError if it may not."""
        self._probation.keep(offered | used.keys())
        self._prober.watch(used.items(), _PAUSE)

    def close(self) -> None:
        """Stop."""
        self._prober.close()

    def _probed(self, key: bytes, answered: bool) -> None:
        if self._probation.probed(key, answered):
            self._changed(key, answered)


class Upstream:
    """Pings what an exit must reach to be of use, past all tunnels; `changed` is called when `reached` is another."""

    def __init__(self, health: Health, changed: Callable[[], None]) -> None:
        self.reached = True
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

    def _probed(self, _key: bytes, answered: bool) -> None:
        self._missed = 0 if answered else self._missed + 1
        reached = answered or (self.reached and self._missed < self._health.misses)
        if reached != self.reached:
            self.reached = reached
            self._changed()
