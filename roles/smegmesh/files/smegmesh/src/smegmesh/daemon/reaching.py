"""Whether a mesh is in reach, looked at again when that may end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from smegmesh.gossip.view import Liveness, View
from smegmesh.routing.reach import Reach

_RESOLUTION = 0.01  # seconds by which a timer may come early


class Reaching:
    """Calls `again` when the mesh may be out of reach by then. `clock` is the event loop's."""

    def __init__(self, again: Callable[[], None], clock: Callable[[], float]) -> None:
        self._again = again
        self._clock = clock
        self._reach = Reach(clock())
        self._timer: asyncio.TimerHandle | None = None

    def heard(self, view: View, *, linked: bool) -> bool:
        """Whether the mesh is in reach, and does not find this node down; `linked`: whether there is any link."""
        others = any(key != view.node_key for key in view.members)
        connected = self._reach.connected(self._clock(), linked=linked, others=others)
        when = self._reach.until + _RESOLUTION
        if self._timer is None or self._timer.when() != when:
            self.close()
            self._timer = asyncio.get_running_loop().call_at(when, self._again)
        own = view.members.get(view.node_key)
        return connected and (own is None or own.liveness is not Liveness.DOWN)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
