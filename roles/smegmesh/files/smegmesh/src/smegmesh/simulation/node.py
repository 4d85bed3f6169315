"""A simulated host with an agent: what its disk keeps, and the state of its process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from smegmesh.crdt.entry import BridgedRoute, Role
from smegmesh.gossip.codec import Slot
from smegmesh.gossip.durability import Writes
from smegmesh.gossip.engine import Alarm, Engine, Persist, Stored
from smegmesh.gossip.replica import by_slot
from smegmesh.gossip.settings import NOTHING_STORED
from smegmesh.gossip.sharing import Statement
from smegmesh.identity.grant import ANY_MESH
from smegmesh.simulation.credentials import Credentials, credentials
from smegmesh.simulation.sharing import Parcel

Call = tuple[Callable[..., None], tuple[Any, ...]]


#: So many statements more than twice the slots a disk keeps before it drops those that were replaced.
_SPARE = 64


class Disk:
    """What was made durable: a start from which the node came, and what it wrote since."""

    __slots__ = ("_certificates", "_distinct", "_start", "_written", "number")

    def __init__(self, start: Stored = NOTHING_STORED) -> None:
        self._start = start
        self._written: list[Statement] = []  # in order, of a slot the last counts: a fifth of a table's memory
        self._distinct = 0  # of the slots in it, when that was last looked at
        self._certificates: dict[bytes, bytes] = {}
        self.number = start.number

    def write(self, event: Persist) -> None:
        """Carry out a Persist."""
        assert isinstance(event.records, Writes)
        for statements in event.records.statements.values():
            self._written += statements.values()
        if len(self._written) > 2 * self._distinct + _SPARE:
            self._written = [statement for table in by_slot(self._written).values() for statement in table.values()]
            self._distinct = len(self._written)
        self._certificates.update(event.certificates)
        self.number = max(self.number, event.number)

    def last_said(self, slot: Slot) -> Statement | None:
        """What was last written of a slot, since the start."""
        return by_slot(self._written).get(slot.kind, {}).get(slot.key)

    def read(self) -> Stored:
        """What a start finds."""
        if not self._written and not self._certificates:
            return Stored(self._start.records, self._start.certificates, self.number)
        records: Mapping[bytes, bytes] = {**self._start.records, **Writes(by_slot(self._written))}
        return Stored(records, {**self._start.certificates, **self._certificates}, self.number)


@dataclass(slots=True, eq=False)
class End:
    """One side of a link. Times are virtual seconds."""

    host: Node
    number: int
    far: End = field(init=False)
    alive: bool = True  # the process still has it
    arrival: float = 0.0  # of the last message towards this side
    free: float = 0.0  # when the direction from this side is free
    held: deque[Parcel | None] = field(default_factory=deque)  # towards this side, cut off


@dataclass(slots=True, eq=False)
class Node:
    """A host and its agent. `identity`: whose credentials it uses; another node's for a clone.

    `bridge`: it may forward between this mesh and others; `routes` is what it tells that it reaches there.
    """

    name: str
    role: Role
    address: str
    identity: str
    bridge: bool = False
    routes: tuple[BridgedRoute, ...] = ()
    key: bytes = field(init=False)
    up: bool = False
    listening: bool = False
    ends: dict[int, End] = field(default_factory=dict)  # of links that its process holds
    orphans: list[End] = field(default_factory=list)  # of links that it lost without the other side being told
    disk: Disk = field(default_factory=Disk)
    engine: Engine | None = None
    process: int = 0  # counts the starts, so that calls for an earlier one are dropped
    frozen: bool = False  # the process stands still
    hung: bool = False  # it answers, but none of its timers goes off
    doom: int | None = None  # events that are carried out before the agent dies
    inbox: deque[Call] = field(default_factory=deque)  # inputs that wait for the process
    draining: bool = False
    busy: float = 0.0  # until when the process works on its last frame
    timer: float = float("inf")  # of the simulation's clock
    ahead: float = 0.0  # seconds by which its monotonic clock is before the simulation's
    probed: frozenset[bytes] = frozenset()
    probing: int = 0  # counts the sets of probes
    alarms: list[Alarm] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = self.credentials.certificate.grant.node_key

    @property
    def credentials(self) -> Credentials:
        """What it proves itself with."""
        return credentials(self.identity, bridges=(ANY_MESH,) if self.bridge else ())
