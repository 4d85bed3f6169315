"""Pings through the tunnels of a mesh: members whom its engine doubts, a new interface greets, or nobody heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from smegmesh.daemon.host import Host
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.sessions import SilentSessions
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.probe import Prober
from smegmesh.gossip.view import View

_GREETING = 3.0  # seconds for which everybody is pinged once the interface is new
_PAUSE = 1.0  # seconds between pings until the engine asks for others


class Probing:
    """Pings members through an interface, unless the host has no tunnels.

    `heard_on_link(key)` says when a member was heard last on a link, None for never. `on_result(key, answered)` is
    called for those that are watched, `on_silent(key)` when the session with a member should be begun anew.
    `problem` says why nobody can be pinged.
    """

    def __init__(
        self,
        host: Host,
        device: str,
        view: Callable[[], View],
        heard_on_link: Callable[[bytes], float | None],
        on_result: Callable[[bytes, bool], None],
        on_silent: Callable[[bytes], None],
        log: NodeLogger,
    ) -> None:
        self.problem: str | None = None
        self._host = host
        self._view = view
        self._heard_on_link = heard_on_link
        self._on_result = on_result
        self._on_silent = on_silent
        self._log = log
        self._pause = _PAUSE
        self._watched: frozenset[bytes] = frozenset()
        self._greeted: frozenset[bytes] = frozenset()
        self._greeting: asyncio.TimerHandle | None = None
        self._sessions = SilentSessions()
        self._prober = Prober(device, self._probed)

    def watch(self, keys: frozenset[bytes], pause: float) -> None:
        """Ping these from now on, each `pause` seconds, instead of those before."""
        self._watched, self._pause = keys, pause
        self._sessions.watch(keys, self._host.clock())
        self._ping()

    def greet(self, keys: Collection[bytes]) -> None:
        """Ping these for a moment: a new interface has no sessions, and WireGuard peers that still
        hold ours from before send into the void for 15 s unless we begin a new one."""
        if self._greeting is not None:
            self._greeting.cancel()
        known = frozenset(keys) & self._wanted()
        self._greeted = (self._greeted | frozenset(keys)) - {self._host.keys.node_key}
        self._sessions.begun(self._greeted, self._host.clock())
        self._greeting = asyncio.get_running_loop().call_later(_GREETING, self._end_greeting)
        self._ping(known)

    def close(self) -> None:
        """Stop."""
        if self._greeting is not None:
            self._greeting.cancel()
        self._prober.close()

    def _end_greeting(self) -> None:
        self._greeted = frozenset()
        self._ping()

    def _wanted(self) -> frozenset[bytes]:
        return self._watched | self._greeted | self._sessions.pending(self._host.clock())

    def _ping(self, at_once: frozenset[bytes] = frozenset()) -> None:
        """All that are wanted: who is new among them now, and `at_once`; the others in their turn."""
        if not self._host.tunnels:
            return
        members = self._view().members
        try:
            targets = ((key, members[key].address) for key in self._wanted() & members.keys())
            self._prober.watch(targets, self._pause)
            self._prober.ping(at_once)
        except PlaneError as error:
            if self.problem is None:
                self._log.error("%s", error)
            self.problem = str(error)

    def _probed(self, key: bytes, answered: bool, sent: float) -> None:
        now = self._host.clock()
        pending = self._sessions.pending(now)
        if answered:
            self._host.routes.heard()
            self._sessions.answered(key)
        elif self._sessions.missed(key, sent, self._heard_on_link(key), now):
            self._on_silent(key)
        if key in self._watched:
            self._on_result(key, answered)
        elif self._sessions.pending(now) != pending or key not in pending:
            self._ping()
