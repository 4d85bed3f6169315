"""Exits: those that this node uses, watched through the tunnel; and whether it is fit to be one itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address

from smegmesh.dataplane.probe import Prober
from smegmesh.declaration import Health
from smegmesh.routing.probation import Probation
from smegmesh.routing.tables import MARK

_PAUSE = 0.4  # seconds between pings: three misses are found out 1.8 to 2.2 s after a death
_WITNESSES = 3  # how many others are pinged while one does not answer
_LATELY = 1.2  # seconds; witnesses are pinged from the first miss on, and the third comes 0.8 s later
_UPSTREAM = b""


class UsedExits:
    """Pings the exits that this node uses; `changed(key, reached)` is called when one is out of reach, or back,
    `heard` at each answer.

    When one misses a ping, some others are pinged too: only if any of those answers it is the exit that is out of
    reach, and not this node. `clock` is monotonic seconds.
    """

    def __init__(
        self,
        device: str,
        changed: Callable[[bytes, bool], None],
        heard: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._probation = Probation()
        self._heard = heard
        self._changed = changed
        self._clock = clock
        self._used: dict[bytes, IPv6Address] = {}
        self._witnesses: dict[bytes, IPv6Address] = {}
        self._answered: dict[bytes, float] = {}  # when each answered last
        self._prober = Prober(device, self._probed)

    @property
    def unreachable(self) -> frozenset[bytes]:
        """Exits that this node alone cannot reach."""
        return self._probation.unreachable

    def watch(self, used: Mapping[bytes, IPv6Address], offered: Mapping[bytes, IPv6Address]) -> None:
        """The exits in use, and all others that could be, with their overlay addresses. PlaneError if it may not."""
        self._probation.keep(offered.keys() | used.keys())
        self._used = dict(used)
        self._witnesses = {key: offered[key] for key in sorted(offered.keys() - used.keys())[:_WITNESSES]}
        self._answered = {key: when for key, when in self._answered.items() if key in offered or key in used}
        self._ping()

    def close(self) -> None:
        """Stop."""
        self._prober.close()

    def _ping(self) -> None:
        also = self._witnesses if self._probation.doubts(self._used) else {}
        self._prober.watch({**self._used, **also}.items(), _PAUSE)

    def _probed(self, key: bytes, answered: bool, _sent: float) -> None:
        now = self._clock()
        if answered:
            self._answered[key] = now
            self._heard()
        if key not in self._used:
            return
        heard = any(now - when < _LATELY for other, when in self._answered.items() if other != key)
        doubted = self._probation.doubts(self._used)
        changed = self._probation.probed(key, answered, heard)
        if self._probation.doubts(self._used) != doubted:
            self._ping()
        if changed:
            self._changed(key, answered)


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
