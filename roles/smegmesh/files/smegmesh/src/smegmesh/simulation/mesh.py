"""A simulated mesh: real engines and the real codec on a simulated network.

Everything follows from the seed: a schedule that failed is run again by its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from smegmesh.crdt.entry import Entry, Role
from smegmesh.gossip.engine import (
    Alarm,
    Close,
    Dial,
    Engine,
    Persist,
    Probe,
    Send,
    Settings,
    Stored,
)
from smegmesh.gossip.settings import NOTHING_STORED
from smegmesh.gossip.view import Liveness, View
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.simulation.credentials import authority, credentials
from smegmesh.simulation.network import Clock, End, Network

MESH = "simulated"
_LATE = 0.0005  # seconds after which a woken process gets to its timers


@dataclass(slots=True)
class Node:
    """A host and what its disk keeps."""

    name: str
    role: Role
    address: str
    identity: str  # whose credentials it uses; another node's for a clone
    disk: Stored = NOTHING_STORED
    engine: Engine | None = None
    process: int = 0  # counts the starts, so that calls for an earlier one are dropped
    frozen: bool = False
    doom: int | None = None  # events that are carried out before the agent dies
    waiting: list[Callable[[], None]] = field(default_factory=list)  # inputs while frozen
    timer: float = float("inf")
    probed: frozenset[bytes] = frozenset()
    alarms: list[Alarm] = field(default_factory=list)

    @property
    def key(self) -> bytes:
        """The node key."""
        return credentials(self.identity).certificate.grant.node_key


class Simulation:
    """Peers p0, p1, ... and clients c0, c1, ... on one network. Times are virtual seconds."""

    def __init__(
        self,
        seed: int,
        peers: int,
        clients: int = 0,
        *,
        latency: tuple[float, float] = (0.001, 0.02),
        loss: float = 0.0,
        bootstrap: int = 3,
        **settings: float,
    ) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.network = Network(self.clock, self.random, latency, loss)
        self.nodes: dict[str, Node] = {}
        self.frames: list[Callable[[str, str, bytes], None]] = []  # called with source, target, frame on arrival
        self._settings = settings
        self._addresses: dict[str, str] = {}
        self._authority = authority()
        for number in range(peers):
            self.add(f"p{number}", Role.PEER)
        for number in range(clients):
            self.add(f"c{number}", Role.CLIENT)
        self.bootstrap = tuple(node.address for node in list(self.nodes.values())[: min(bootstrap, peers)])

    # Hosts and processes

    def add(self, name: str, role: Role, identity: str | None = None) -> Node:
        """A host that is not started yet; with another's identity it is a clone."""
        node = Node(name, role, f"{name}.example:4000", identity or name)
        self.nodes[name] = node
        self._addresses[node.address] = name
        return node

    def start(self, *names: str) -> None:
        """Boot hosts, or start the agents on them; all without names."""
        for name in names or tuple(self.nodes):
            self._boot(self.nodes[name])

    def kill_host(self, name: str) -> None:
        """A host dies without a word."""
        self.network.up.discard(name)
        self.kill_process(name)

    def kill_process(self, name: str) -> None:
        """The agent dies; its host goes on and answers through the tunnel."""
        node = self.nodes[name]
        self.network.crash(name, self._on_down)
        node.engine, node.probed, node.timer = None, frozenset(), float("inf")
        node.frozen, node.waiting, node.doom = False, [], None
        node.process += 1

    def doom(self, name: str, events: int) -> None:
        """The agent dies after so many more events, between any two of them."""
        self.nodes[name].doom = events

    def lose_disk(self, name: str) -> None:
        """What the node stored is gone."""
        self.nodes[name].disk = NOTHING_STORED

    def freeze(self, name: str) -> None:
        """The process stands still, its host and kernel go on."""
        self.nodes[name].frozen = True

    def thaw(self, name: str) -> None:
        """The process goes on, late."""
        node = self.nodes[name]
        node.frozen = False
        waiting, node.waiting = node.waiting, []
        for call in waiting:
            self._input(node, call)

    def partition(self, one: Iterable[str], other: Iterable[str], *, one_way: bool = False) -> None:
        """Nothing gets from one group to the other, nor back unless `one_way`."""
        other = list(other)
        for left in one:
            for right in other:
                self.network.cut(left, right)
                if not one_way:
                    self.network.cut(right, left)

    def heal(self) -> None:
        """All hosts reach each other."""
        self.network.mend()

    # Time

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_until(self.clock.now + seconds)

    def run_until(self, condition: Callable[[], bool], limit: float, step: float = 0.05) -> float:
        """Let time pass until the condition holds; returns the seconds. Raises TimeoutError after `limit`."""
        start = self.clock.now
        while not condition():
            if self.clock.now >= start + limit:
                raise TimeoutError(f"not within {limit} s: {self.violations()}")
            self.clock.run_until(self.clock.now + step)
        return self.clock.now - start

    # What is seen

    def engine(self, name: str) -> Engine:
        """The engine of a running node."""
        engine = self.nodes[name].engine
        assert engine is not None, f"{name} does not run"
        return engine

    def key(self, name: str) -> bytes:
        """A node's key."""
        return self.nodes[name].key

    def view(self, name: str) -> View:
        """What a running node sees."""
        return self.engine(name).view()

    def running(self) -> list[str]:
        """Nodes whose agents run."""
        return [name for name, node in self.nodes.items() if node.engine is not None and not node.frozen]

    def liveness(self, of: str) -> set[Liveness | None]:
        """What the running nodes say of a node; None where it is no member."""
        key = self.key(of)
        members = (self.view(name).members.get(key) for name in self.running())
        return {None if member is None else member.liveness for member in members}

    def violations(self) -> list[str]:
        """What is not as it should be once no fault is left and time has passed."""
        running = self.running()
        if not running:
            return []
        found = []
        views = {name: self.view(name) for name in running}
        if len({view.digest for view in views.values()}) > 1:
            found.append("the maps differ")
        if len({view.leader for view in views.values()}) > 1:
            found.append("there are several leaders")
        for name in running:
            others = [other for other in running if self.key(name) not in views[other].members]
            if others:
                found.append(f"{name} is missing at {others}")
            for liveness in self.liveness(name) - {Liveness.ALIVE, None}:
                assert liveness is not None
                found.append(f"{name} runs and is {liveness.value}")
        for name, node in self.nodes.items():
            if node.engine is None and not self.liveness(name) <= {Liveness.DOWN, Liveness.MUTE, None}:
                found.append(f"{name} does not run and is alive")
        return found

    # The shell of each engine

    def _boot(self, node: Node) -> None:
        fresh = node.name not in self.network.up
        self.network.up.add(node.name)
        self.network.listening.add(node.name)
        if fresh:
            self.network.reset(node.name, self._on_down)
        own = credentials(node.identity)
        settings = Settings(MESH, self.bootstrap, **self._settings)  # type: ignore[arg-type]
        node.process += 1
        node.engine = Engine(
            settings,
            own.identity,
            own.certificate,
            self._authority,
            Random(self.random.random()),
            self.clock.now,
            node.disk,
        )
        self._input(node, partial(node.engine.set_entry, self._entry(node), self.clock.now))
        self.clock.at(self.clock.now + 1, partial(self._probe, node, node.process))

    def _entry(self, node: Node) -> Entry:
        if node.role is Role.CLIENT:
            return Entry(name=node.identity, role=node.role, tunnel_key=node.key)
        endpoint = node.address.replace(":4000", ":51820")
        return Entry(
            name=node.identity, role=node.role, tunnel_key=node.key, endpoints=(endpoint,), links=(node.address,)
        )

    def call(self, name: str, method: str, *arguments: object) -> None:
        """Give a running engine an input; `now` is added."""
        node = self.nodes[name]
        self._input(node, lambda: getattr(node.engine, method)(*arguments, self.clock.now))

    def _input(self, node: Node, call: Callable[[], None]) -> None:
        if node.engine is None:
            return
        if node.frozen:
            node.waiting.append(call)
            return
        call()
        self._carry_out(node)

    def _carry_out(self, node: Node) -> None:
        engine = node.engine
        assert engine is not None
        for event in engine.events():
            if node.doom is not None:
                node.doom -= 1
                if node.doom < 0:
                    self.kill_process(node.name)
                    return
            if isinstance(event, Persist):
                node.disk = Stored(
                    {**node.disk.records, **event.records},
                    {**node.disk.certificates, **event.certificates},
                    max(node.disk.number, event.number),
                )
            elif isinstance(event, Send):
                self.network.send(node.name, event.link, partial(self._arrive, node.name, event.frame))
            elif isinstance(event, Dial):
                self._dial(node, event.dial, event.addresses)
            elif isinstance(event, Close):
                self.network.close(node.name, event.link, self._on_down)
            elif isinstance(event, Probe):
                node.probed = event.node_keys
            elif isinstance(event, Alarm):
                node.alarms.append(event)
        self._set_timer(node)

    def _set_timer(self, node: Node) -> None:
        assert node.engine is not None
        due = node.engine.next_timer()
        if due < node.timer:
            node.timer = due
            self.clock.at(due + _LATE, partial(self._on_timer, node, node.process))

    def _on_timer(self, node: Node, process: int) -> None:
        if node.engine is None or node.process != process:
            return
        node.timer = float("inf")
        if self.clock.now >= node.engine.next_timer() or node.frozen:
            self._input(node, lambda: node.engine.timer(self.clock.now) if node.engine else None)
        else:
            self._set_timer(node)

    def _dial(self, node: Node, dial: int, addresses: tuple[str, ...]) -> None:
        process = node.process
        if not addresses:
            return
        target = self._addresses.get(addresses[0])
        if target is not None and self.nodes[target].frozen:
            target = None

        def fail() -> None:
            if node.process != process:
                return
            if len(addresses) > 1:
                self._dial(node, dial, addresses[1:])
            elif node.engine is not None:
                self.call(node.name, "dial_failed", dial)

        self.network.connect(node.name, target, partial(self._on_up, dial), fail)

    def _on_up(self, dial: int, near: End, far: End) -> None:
        for end, other, number in ((near, far, dial), (far, near, None)):
            node = self.nodes[end.host]
            certificate = self._certificate(other.host)
            dialled = number is not None
            self._input(node, partial(self._link_up, node, end.number, certificate, dialled, number))

    def _link_up(self, node: Node, link: int, certificate: NodeCertificate, dialled: bool, dial: int | None) -> None:
        if node.engine is not None:
            node.engine.link_up(link, certificate, dialled, self.clock.now, dial)

    def _certificate(self, name: str) -> NodeCertificate:
        return credentials(self.nodes[name].identity).certificate

    def _arrive(self, source: str, frame: bytes, end: End) -> None:
        for hook in self.frames:
            hook(source, end.host, frame)
        self.call(end.host, "receive", end.number, frame)

    def _on_down(self, end: End) -> None:
        self.call(end.host, "link_down", end.number)

    def _probe(self, node: Node, process: int) -> None:
        """A second of the prober's life; a host answers even while its agent is gone."""
        if node.engine is None or node.process != process:
            return
        self.clock.at(self.clock.now + 1, partial(self._probe, node, process))
        for key in sorted(node.probed):
            hosts = [other.name for other in self.nodes.values() if other.key == key]
            answered = any(self.network.both_ways(node.name, host) for host in hosts)
            self.call(node.name, "probe_result", key, answered)
