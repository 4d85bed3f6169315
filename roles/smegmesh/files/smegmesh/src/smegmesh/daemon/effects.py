"""Carrying out what the engine asks for, in its order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from smegmesh.daemon.journal import NodeLogger
from smegmesh.gossip.events import Alarm, Close, Event, Persist, Probe, ViewChanged
from smegmesh.store import StoreDamaged, StoreError

STORE_RETRY = 5.0  # seconds between attempts at a commit that failed
MOST_HELD = 4096  # events; beyond it those that others make good again are dropped


class Effects:
    """Events are carried out at once; what follows a commit that failed waits until it can be made.

    `commit` raises StoreError; `carry_out` gets all events but Persist. `problem` says
    why events wait now, None if they do not. A damaged database is not mended by waiting:
    `give_up` is called with it.
    """

    def __init__(
        self,
        commit: Callable[[Persist], None],
        carry_out: Callable[[Event], None],
        give_up: Callable[[StoreDamaged], None],
        log: NodeLogger,
        retry: float = STORE_RETRY,
    ) -> None:
        self.problem: str | None = None
        self._commit = commit
        self._carry_out = carry_out
        self._give_up = give_up
        self._log = log
        self._retry = retry
        self._waiting: deque[Event] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, events: Iterable[Event]) -> None:
        """Carry these out after all earlier ones."""
        self._waiting.extend(events)
        if self._timer is None:
            self._advance()
        elif len(self._waiting) > MOST_HELD:
            self._waiting = deque(_condense(self._waiting))

    def close(self) -> None:
        """End; what still waits is given up."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()

    def _advance(self) -> None:
        self._timer = None
        while self._waiting:
            event = self._waiting[0]
            if isinstance(event, Persist) and not self._is_durable(event):
                self._timer = asyncio.get_running_loop().call_later(self._retry, self._advance)
                return
            self._waiting.popleft()
            if not isinstance(event, Persist):
                self._carry_out(event)

    def _is_durable(self, event: Persist) -> bool:
        try:
            self._commit(event)
        except StoreError as error:
            if self.problem is None:
                self._log.error("%s", error)
            self.problem = str(error)
            if isinstance(error, StoreDamaged):
                self._give_up(error)
            return False
        if self.problem is not None:
            self._log.info("the state can be written again")
        self.problem = None
        return True


def _condense(events: Iterable[Event]) -> Iterable[Event]:
    """What must survive a long wait: one commit of everything, what is to be closed, the last probes and view.

    Anti-entropy and redialling make good the frames and dials that are dropped.
    """
    records: dict[bytes, bytes] = {}
    certificates: dict[bytes, bytes] = {}
    number = 0
    last: dict[object, Event] = {}
    for event in events:
        if isinstance(event, Persist):
            records.update(event.records)
            certificates.update(event.certificates)
            number = max(number, event.number)
        elif isinstance(event, (Probe, ViewChanged)):
            last[type(event)] = event
        elif isinstance(event, (Close, Alarm)):
            last[event] = event
    return Persist(records, certificates, number), *last.values()
