"""Exits that this node uses, watched through the tunnel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address

from smegmesh.daemon.host import Host
from smegmesh.daemon.journal import NodeLogger
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.probe import Prober
from smegmesh.declaration import Declaration
from smegmesh.gossip.view import View
from smegmesh.routing.probation import Probation

_PAUSE = 0.4  # seconds between pings: three misses are found out 1.8 to 2.2 s after a death
_WITNESSES = 3  # how many others are pinged while one does not answer
_LATELY = 1.2  # seconds; witnesses are pinged from the first miss on, and the third comes 0.8 s later


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


class MeshExits:
    """Watches the exits of a mesh that this host uses, while `stands` says that they could answer.

    `changed` is called when one is out of reach, or back. Without tunnels nobody is watched.
    """

    def __init__(
        self,
        host: Host,
        declaration: Declaration,
        view: Callable[[], View],
        stands: Callable[[], bool],
        changed: Callable[[], None],
        log: NodeLogger,
    ) -> None:
        self._host = host
        self._mesh_id = declaration.mesh
        self._view = view
        self._stands = stands
        self._changed = changed
        self._log = log
        self._used = UsedExits(declaration.interface, self._exit_changed, host.routes.heard, host.clock)

    @property
    def unreachable(self) -> frozenset[bytes]:
        """Exits that this node alone cannot reach."""
        return self._used.unreachable

    def follow(self) -> None:
        """Which are used may be others now."""
        if not self._host.tunnels or not self._stands():
            return
        members = self._view().members
        offered = self._host.routes.exits(self._mesh_id)
        used = self._host.routes.used(self._mesh_id) | (self.unreachable & offered)
        addresses = {key: members[key].address for key in (used | offered) & members.keys()}
        addresses.pop(self._host.keys.node_key, None)
        try:
            self._used.watch({key: addresses[key] for key in used & addresses.keys()}, addresses)
        except PlaneError as error:
            self._log.error("%s", error)

    def close(self) -> None:
        """Stop."""
        self._used.close()

    def _exit_changed(self, key: bytes, reached: bool) -> None:
        member = self._view().members.get(key)
        if member is not None:
            what = "answers again" if reached else "does not answer and is passed over"
            self._log.warning("exit %s %s", member.entry.name, what)
        self._changed()
        self.follow()  # one that is back need not be in use
