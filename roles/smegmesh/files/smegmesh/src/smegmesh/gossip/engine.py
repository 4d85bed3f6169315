"""The engine of one mesh on one node, without sockets and clocks.

Bytes and `now` (monotonic seconds) go in; events and the next timer come out.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from smegmesh.crdt.entry import Entry
from smegmesh.gossip.events import Alarm, Close, Dial, Event, Persist, Probe, Send, ViewChanged
from smegmesh.gossip.settings import Settings, Stored
from smegmesh.gossip.view import View

if TYPE_CHECKING:
    from smegmesh.identity.certificate import Authority, NodeCertificate
    from smegmesh.identity.keys import IdentityKey

__all__ = [
    "Alarm",
    "Close",
    "Dial",
    "Engine",
    "Event",
    "Persist",
    "Probe",
    "Send",
    "Settings",
    "Stored",
    "ViewChanged",
]


class Engine:
    """One node's part in one mesh. No input raises on anything that came from a network."""

    def __init__(
        self,
        settings: Settings,
        identity: IdentityKey,
        certificate: NodeCertificate,
        authority: Authority,
        random: Random,
        now: float,
        stored: Stored = Stored(),
    ) -> None:
        self.counters: Counter[str] = Counter()

    def link_up(self, link: int, certificate: NodeCertificate, dialled: bool, now: float) -> None: ...

    def link_down(self, link: int, now: float) -> None: ...

    def receive(self, link: int, frame: bytes, now: float) -> None: ...

    def dial_failed(self, dial: int, now: float) -> None: ...

    def probe_result(self, node_key: bytes, answered: bool, now: float) -> None: ...

    def set_entry(self, entry: Entry, now: float) -> None: ...

    def set_certificate(self, certificate: NodeCertificate, now: float) -> None: ...

    def announce_restart(self, now: float) -> None: ...

    def leave(self, now: float) -> None: ...

    def revoke(self, data: bytes, now: float) -> None: ...

    def prune(self, node_key: bytes, now: float) -> None: ...

    def timer(self, now: float) -> None: ...

    def next_timer(self) -> float: ...

    def events(self) -> list[Event]: ...

    def view(self) -> View: ...

    def links(self) -> dict[int, bytes]: ...
