"""Engines that talk to each other directly: every frame arrives at once, time passes when a test says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from random import Random

from smegmesh.crdt.entry import Entry, Role
from smegmesh.gossip.codec import Message, decode
from smegmesh.gossip.engine import Close, Engine, Event, Persist, Send, Settings, Stored
from smegmesh.simulation.credentials import authority, credentials, node_key

MESH = "simulated"


@dataclass
class Party:
    """An engine, what it asked for, what it sent and what it was sent."""

    name: str
    engine: Engine
    events: list[Event] = field(default_factory=list)
    sent: list[tuple[int, Message]] = field(default_factory=list)  # by link
    received: list[Message] = field(default_factory=list)
    peers: dict[int, tuple[Party, int]] = field(default_factory=dict)

    @property
    def key(self) -> bytes:
        return node_key(self.name)

    def found(self, kind: type) -> list[Event]:
        """The events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def stored(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """What it made durable so far: records and certificates."""
        records: dict[bytes, bytes] = {}
        certificates: dict[bytes, bytes] = {}
        for event in self.events:
            if isinstance(event, Persist):
                records |= event.records
                certificates |= event.certificates
        return records, certificates


class Table:
    """Parties around one table, and the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.parties: dict[str, Party] = {}
        self._numbers = count(1)

    def party(
        self,
        name: str,
        role: Role = Role.PEER,
        *,
        stored: Stored | None = None,
        edition: int = 0,
        silent: bool = False,
        **settings: object,
    ) -> Party:
        """An engine; with its entry unless `silent`."""
        own = credentials(name, edition=edition) if edition else credentials(name)  # the one that its links show
        engine = Engine(
            Settings(MESH, **settings),  # type: ignore[arg-type]
            own.identity,
            own.certificate,
            authority(),
            Random(name),
            self.now,
            stored or Stored(),
        )
        party = self.parties[name] = Party(name, engine)
        if not silent:
            engine.set_entry(self.entry(name, role), self.now)
        self.pump()
        return party

    def entry(self, name: str, role: Role = Role.PEER, **fields: object) -> Entry:
        """What a party says of itself."""
        if role is Role.PEER:
            fields = {"endpoints": (f"{name}.example:51820",), "links": (f"{name}.example:4000",), **fields}
        return Entry(name=name, role=role, tunnel_key=node_key(name), **fields)  # type: ignore[arg-type]

    def link(self, one: Party, other: Party, *, pump: bool = True) -> tuple[int, int]:
        """A link that `one` dialled; returns its numbers on both sides."""
        near, far = next(self._numbers), next(self._numbers)
        one.peers[near] = other, far
        other.peers[far] = one, near
        one.engine.link_up(near, credentials(other.name).certificate, True, self.now)
        other.engine.link_up(far, credentials(one.name).certificate, False, self.now)
        if pump:
            self.pump()
            self.wait(0.02)
        return near, far

    def pump(self) -> None:
        """Carry frames until nobody has anything to say."""
        busy = True
        while busy:
            busy = False
            for party in list(self.parties.values()):
                for event in party.engine.events():
                    busy = True
                    self._carry_out(party, event)

    def wait(self, seconds: float, *, without: frozenset[str] = frozenset()) -> None:
        """Let time pass for all parties but some."""
        end = self.now + seconds
        while True:
            engines = [party.engine for party in self.parties.values() if party.name not in without]
            due = min((engine.next_timer() for engine in engines), default=end)
            if due > end:
                break
            self.now = max(self.now, due)
            for engine in engines:
                if engine.next_timer() <= self.now:
                    engine.timer(self.now)
            self.pump()
        self.now = end

    def _carry_out(self, party: Party, event: Event) -> None:
        if isinstance(event, Send):
            party.sent.append((event.link, decode(event.frame)))
            if event.link in party.peers:
                other, number = party.peers[event.link]
                other.received.append(decode(event.frame))
                other.engine.receive(number, event.frame, self.now)
            return
        party.events.append(event)
        if isinstance(event, Close) and event.link in party.peers:
            other, number = party.peers.pop(event.link)
            if other.peers.pop(number, None) is not None:
                other.engine.link_down(number, self.now)
