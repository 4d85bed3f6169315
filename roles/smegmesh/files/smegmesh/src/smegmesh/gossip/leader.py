"""The leader: the lowest live node key among peers. It holds no authority.

It floods a refresh each heartbeat, by which everyone knows that it hears the mesh.
A leader unheard for three heartbeats is passed over for ten, and the next lowest
key is expected instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

_UNHEARD = 3
#: A new leader's first refresh waits for this part of a heartbeat: at a start everybody leads for a moment.
_SETTLING = 12


class Leadership:
    """Whom this node takes for the leader. Times are monotonic seconds."""

    def __init__(self, own: bytes, heartbeat: float, passed_over: int) -> None:
        self._own = own
        self._heartbeat = heartbeat
        self._passed_over = passed_over
        self._until: dict[bytes, float] = {}
        self._patience = 0.0
        self._refresh = 0.0  # when the next is due, if this node leads
        self.leader: bytes | None = None

    def heard(self, key: bytes, now: float) -> None:
        """A refresh of this node came in."""
        if key == self.leader:
            self._patience = now + _UNHEARD * self._heartbeat

    def doubt(self, now: float) -> None:
        """This node itself was late: the leader was not silent."""
        self._patience = max(self._patience, now + _UNHEARD * self._heartbeat)

    def elect(self, order: Iterable[bytes], lives: Callable[[bytes], bool], now: float) -> bytes | None:
        """Choose among the peers, given in ascending order of their keys."""
        if self.leader is not None and self.leader != self._own and now >= self._patience:
            self._until[self.leader] = now + self._passed_over * self._heartbeat
            self._patience = now + _UNHEARD * self._heartbeat  # it may be chosen all the same
        self._until = {key: until for key, until in self._until.items() if until > now}
        first: bytes | None = None
        chosen: bytes | None = None
        for key in order:
            if not lives(key):
                continue
            first = first or key
            if key not in self._until:
                chosen = key
                break
        chosen = chosen or first
        if chosen != self.leader:
            self.leader = chosen
            self._patience = now + _UNHEARD * self._heartbeat
            self._refresh = now + self._heartbeat / _SETTLING
        return chosen

    def refresh_due(self, now: float) -> bool:
        """Whether this node leads and is to flood its refresh now; says yes once a heartbeat."""
        if self.leader != self._own or now < self._refresh:
            return False
        self._refresh = now + self._heartbeat
        return True

    def next_timer(self) -> float:
        """When to elect or refresh again."""
        if self.leader is None:
            return float("inf")
        due = self._refresh if self.leader == self._own else self._patience
        return min([due, *self._until.values()])
