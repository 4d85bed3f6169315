"""What happens in a mesh, out of what its views say one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from smegmesh.control import types
from smegmesh.daemon.members import name_of
from smegmesh.gossip.view import View
from smegmesh.identity.keys import encode_key


class Watcher:
    """Tells `say` what is new in each view, beginning with what differs from `view`."""

    def __init__(self, view: View, say: Callable[[types.Event], None]) -> None:
        self._view = view
        self._say = say
        self.last: types.Event | None = None  # that was no alarm

    def follow(self, view: View) -> None:
        """Another view; costs what changed."""
        before, self._view = self._view, view
        events = list(_events(before, view))
        self.last = events[0] if events else self.last  # who left says more than who leads since
        for event in events:
            self._say(event)

    def alarm(self, text: str) -> None:
        """Something an operator must look at."""
        self._say(types.Event(kind="alarm", time=time.time(), mesh=self._view.mesh_id, text=text))


def _events(before: View, view: View) -> Iterator[types.Event]:
    now, mesh = time.time(), view.mesh_id
    for key in sorted(view.changed_since(before)):
        old, new = before.members.get(key), view.members.get(key)
        if new is not None and old is not None and old.liveness is new.liveness:
            continue
        yield types.Event(
            kind="left" if new is None else "appeared" if old is None else "liveness",
            time=now,
            mesh=mesh,
            member=name_of(view if new is not None else before, key),
            node_key=encode_key(key),
            liveness=new.liveness.value if new is not None else None,
        )
    if view.leader != before.leader:
        leader = encode_key(view.leader) if view.leader is not None else None
        yield types.Event(kind="leader", time=now, mesh=mesh, member=name_of(view, view.leader), node_key=leader)
