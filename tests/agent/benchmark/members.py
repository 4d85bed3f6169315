"""A mesh of many members as it is on disk: what each has signed of itself, in the form in which an agent stores it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent_host import MESH, AgentHost, Node, Operator

import smegmesh
from smegmesh.crdt.entry import Entry, Role
from smegmesh.gossip.engine import Engine
from smegmesh.gossip.events import Dial, Event, Persist
from smegmesh.gossip.settings import Settings, Stored
from smegmesh.identity.certificate import Authority, certificate_der
from smegmesh.store import open_store

_WIREGUARD_PORT = 51820
_DIALLED = 1.0  # seconds within which a neighbour is dialled, and before which nobody is taken for down


def entry_of(node: Node) -> Entry:
    """What a peer says of itself."""
    endpoints = (f"{node.address}:{_WIREGUARD_PORT}",)
    return Entry(
        node.name,
        Role.PEER,
        node.keys.node_key,
        endpoints=endpoints,
        links=(node.link,),
        alias=f"alias-{node.name}",
        agent=smegmesh.__version__,
    )


@dataclass
class Members:
    """Nodes by key, and all that an agent that has met them all has made durable."""

    operator: Operator
    nodes: dict[bytes, Node] = field(default_factory=dict)
    records: dict[bytes, bytes] = field(default_factory=dict)
    certificates: dict[bytes, bytes] = field(default_factory=dict)
    number: int = 1

    @classmethod
    def make(cls, addresses: Iterable[str]) -> Members:
        """A peer for each address. Each has signed its entry itself: its own engine has done it, alone."""
        members = cls(Operator())
        authority = Authority(members.operator.authority)
        for number, address in enumerate(addresses):
            node = Node.make(f"host-{number}", address, members.operator)
            members.nodes[node.keys.node_key] = node
            for event in _lonely(node, authority, Stored(), Settings(MESH).alone_wait):
                if isinstance(event, Persist):
                    members.records.update(event.records)
                    members.certificates.update(event.certificates)
        return members

    @property
    def leader(self) -> Node:
        """Whom all take for the leader: the one with the lowest key."""
        return self.nodes[min(self.nodes)]

    def store(self, host: AgentHost) -> None:
        """Let a host's agent have met them all in an earlier run."""
        store, _problem = open_store(host.state / "state.db")
        store.commit(MESH, host.node.keys.node_key, Stored(self.records, self.certificates, self.number))
        store.close()

    def neighbours(self, node: Node) -> list[Node]:
        """Whom a node keeps links with: those whom its engine, knowing all, dials first."""
        stored = Stored(self.records, self.certificates, self.number)
        events = _lonely(node, Authority(self.operator.authority), stored, _DIALLED)
        dialled = {event.node_key for event in events if isinstance(event, Dial) and event.node_key is not None}
        return [self.nodes[key] for key in sorted(dialled)]


def _lonely(node: Node, authority: Authority, stored: Stored, seconds: float) -> list[Event]:
    """What an engine asks for in its first seconds, with nobody answering."""
    now = time.monotonic()
    certificate = authority.verify(certificate_der(node.certificate))
    engine = Engine(Settings(MESH), node.keys.identity, certificate, authority, random.Random(node.name), now, stored)
    engine.set_entry(entry_of(node), now)
    engine.timer(now + seconds)
    return engine.events()
