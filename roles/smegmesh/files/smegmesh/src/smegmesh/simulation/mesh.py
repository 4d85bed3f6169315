"""A simulated mesh: real engines and the real codec on a simulated network.

Everything follows from the seed: a schedule that failed is run again by its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Any

from smegmesh.crdt.entry import Entry, Role
from smegmesh.gossip.engine import Alarm, Close, Dial, Engine, Persist, Probe, Send, Settings, ViewChanged
from smegmesh.gossip.sharing import Sharing
from smegmesh.gossip.view import Liveness, View
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.simulation.clock import Clock
from smegmesh.simulation.credentials import authority
from smegmesh.simulation.network import Delay, Network
from smegmesh.simulation.node import Disk, End, Node
from smegmesh.simulation.sharing import Parcel, Shared, frame_of
from smegmesh.simulation.traffic import Traffic, wire_size

MESH = "simulated"
_LATE = 0.0005  # seconds after which a woken process gets to its timers
_FRAME_COST = 150e-6  # seconds that a process works on a frame
_HANDSHAKE_COST = 1e-3  # the same for a TLS handshake
_PING_TIMEOUT = 1.0


class Simulation:
    """Peers p0, p1, ... and clients c0, c1, ... on one network. Times are virtual seconds.

    `sharing`: whether engines share equal parts of their maps, which changes no result. Several meshes may be on one
    `clock`; time then passes for all of them at once.
    """

    def __init__(
        self,
        seed: int,
        peers: int,
        clients: int = 0,
        *,
        latency: Delay = (0.001, 0.02),
        loss: float = 0.0,
        bootstrap: int = 3,
        sharing: bool = True,
        mesh_id: str = MESH,
        clock: Clock | None = None,
        **settings: float,
    ) -> None:
        self.random = Random(seed)
        self.mesh_id = mesh_id
        self.clock = clock or Clock()
        self.network: Network = Network(self.clock, Random(self.random.random()), latency, loss, self._deliver)
        self.nodes: dict[str, Node] = {}
        self.traffic = Traffic()
        self.frames: list[Callable[[str, str, bytes], None]] = []  # called with source, target, frame on arrival
        self.on_view: Callable[[Node], None] | None = None  # called when a node has another view
        self.on_links: Callable[[Node], None] | None = None  # called when a link of a node came or went
        self._shared = Shared() if sharing else None
        self._settings = settings
        self._addresses: dict[str, Node] = {}
        self._holders: dict[bytes, list[Node]] = {}
        self._authority = authority()
        for number in range(peers):
            self.add(f"p{number}", Role.PEER)
        for number in range(clients):
            self.add(f"c{number}", Role.CLIENT)
        self.bootstrap = tuple(node.address for node in list(self.nodes.values())[: min(bootstrap, peers)])

    # Hosts and processes

    def add(self, name: str, role: Role, identity: str | None = None, *, bridge: bool = False) -> Node:
        """A host that is not started yet; with another's identity it is a clone."""
        node = Node(name, role, f"{name}.example:4000", identity or name, bridge)
        self.nodes[name] = node
        self._addresses[node.address] = node
        self._holders.setdefault(node.key, []).append(node)
        return node

    def start(self, *names: str) -> None:
        """Boot hosts, or start the agents on them; all without names."""
        for name in names or tuple(self.nodes):
            node = self.nodes[name]
            self.boot(node, Random(self.random.random()), self.bootstrap)

    def kill_host(self, name: str) -> None:
        """A host dies without a word."""
        self.nodes[name].up = False
        self.kill_process(name)

    def kill_process(self, name: str) -> None:
        """The agent dies; its host goes on and answers through the tunnel."""
        node = self.nodes[name]
        self.network.crash(node)
        node.engine, node.probed, node.timer = None, frozenset(), float("inf")
        node.frozen = node.hung = False
        node.doom = None
        node.inbox.clear()
        node.process += 1

    def doom(self, name: str, events: int) -> None:
        """The agent dies after so many more events, between any two of them."""
        self.nodes[name].doom = events

    def lose_disk(self, name: str) -> None:
        """What the node stored is gone."""
        self.nodes[name].disk = Disk()

    def freeze(self, name: str) -> None:
        """The process stands still, its host and kernel go on."""
        self.nodes[name].frozen = True

    def thaw(self, name: str) -> None:
        """The process goes on, late."""
        node = self.nodes[name]
        node.frozen = False
        self._schedule_drain(node)

    def jump(self, name: str, seconds: float) -> None:
        """The monotonic clock of a running node goes forward, as after a suspend."""
        node = self.nodes[name]
        node.ahead += seconds
        node.timer = float("inf")
        self._set_timer(node)

    def remove(self, name: str) -> None:
        """A host is gone for good."""
        self.kill_host(name)
        node = self.nodes.pop(name)
        del self._addresses[node.address]
        self._holders[node.key].remove(node)

    def partition(self, one: Iterable[str], other: Iterable[str], *, one_way: bool = False) -> None:
        """Nothing gets from one group to the other, nor back unless `one_way`."""
        one, other = list(one), list(other)
        self.network.cut(one, other)
        if not one_way:
            self.network.cut(other, one)

    def heal(self) -> None:
        """All hosts reach each other."""
        self.network.mend()

    # Time

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_for(seconds)

    def run_until(self, condition: Callable[[], bool], limit: float, step: float = 0.05) -> float:
        """Let time pass until the condition holds; returns the seconds. Raises TimeoutError after `limit`."""
        return self.clock.wait(condition, limit, step, self.violations)

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

    def is_converged(self) -> bool:
        """Whether all running agents have equal maps, one leader, and hold nobody for failed who is not.

        A hung leader goes on following itself.
        """
        engines = [node.engine for node in self.nodes.values() if node.engine is not None and not node.hung]
        alive = {node.key for node in self.nodes.values() if node.engine is not None and not node.frozen}
        first = engines[0].view()
        others = (engine.view() for engine in engines[1:])  # made one by one: as a rule the first few differ
        if any(view.digest != first.digest or view.leader != first.leader for view in others):
            return False
        return not any(engine.failed().keys() & alive for engine in engines)

    # The shell of each engine

    def boot(self, node: Node, random: Random, bootstrap: tuple[str, ...]) -> None:
        """Start the agent on a host, and the host if it is down."""
        if not node.up:
            self.network.boot(node)
        node.listening = True
        own = node.credentials
        node.process += 1
        node.timer, node.busy = float("inf"), 0.0
        node.engine = Engine(
            Settings(self.mesh_id, bootstrap, **self._settings),  # type: ignore[arg-type]
            own.identity,
            own.certificate,
            self._authority,
            random,
            self._now(node),
            node.disk.read(),
            self._shared or Sharing(),
        )
        self._input(node, node.engine.set_entry, entry_of(node))

    def call(self, name: str, method: str, *arguments: object) -> None:
        """Give a running engine an input; `now` is added."""
        node = self.nodes[name]
        if node.engine is not None:
            self._input(node, getattr(node.engine, method), *arguments)

    def _input(self, node: Node, method: Callable[..., None], *arguments: Any) -> None:
        """Call an engine, or let the call wait for its process."""
        if node.frozen:
            node.inbox.append((self._input, (node, method, *arguments)))
            return
        method(*arguments, self._now(node))
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
            if isinstance(event, Send):
                self._send(node, event)
            elif isinstance(event, Persist):
                node.disk.write(event)
            elif isinstance(event, ViewChanged):
                if self.on_view is not None:
                    self.on_view(node)
            elif isinstance(event, Dial):
                self._dial(node, event.dial, event.addresses)
            elif isinstance(event, Close):
                end = node.ends.get(event.link)
                if end is not None:
                    self.network.close(end, max(self.clock.now, node.busy))
                    self._linked(node)
            elif isinstance(event, Probe):
                self._watch(node, event)
            elif isinstance(event, Alarm):
                node.alarms.append(event)
        self._set_timer(node)

    def _send(self, node: Node, event: Send) -> None:
        end = node.ends.get(event.link)
        if end is not None:
            size = wire_size(event.frame)
            self.traffic.count(event.frame, size)
            parcel = self._shared.parcel(event.frame) if self._shared else event.frame
            self.network.send(end, parcel, size, max(self.clock.now, node.busy))

    # Timers

    def _now(self, node: Node) -> float:
        """What the monotonic clock of a node says."""
        return self.clock.now + node.ahead

    def _set_timer(self, node: Node) -> None:
        assert node.engine is not None
        due = node.engine.next_timer() - node.ahead
        if due < node.timer:
            node.timer = due
            self.clock.at(due + _LATE, self._on_timer, node, due)

    def _on_timer(self, node: Node, due: float) -> None:
        if node.engine is None or node.timer != due:
            return  # an earlier one was set since: it has gone off, and set the next
        node.timer = float("inf")
        if node.hung:
            return
        if node.frozen or self._now(node) >= node.engine.next_timer():
            self._input(node, node.engine.timer)
        else:
            self._set_timer(node)

    # Frames

    def _deliver(self, end: End, message: Parcel | None) -> None:
        node = end.host
        if node.frozen or node.inbox or node.busy > self.clock.now:
            node.inbox.append((self._receive, (end, message)))
            self._schedule_drain(node)
        else:
            self._receive(end, message)

    def _receive(self, end: End, message: Parcel | None) -> None:
        node = end.host
        if not end.alive or node.engine is None:
            return
        if message is None:
            self.network.drop(end)
            node.engine.link_down(end.number, self._now(node))
            self._linked(node)
        else:
            frame = frame_of(message)
            for hook in self.frames:
                hook(end.far.host.name, node.name, frame)
            node.busy = self.clock.now + _FRAME_COST
            node.engine.receive(end.number, frame, self._now(node))
        self._carry_out(node)

    def _schedule_drain(self, node: Node) -> None:
        if node.inbox and not node.draining and not node.frozen:
            node.draining = True
            self.clock.at(max(self.clock.now, node.busy), self._drain, node, node.process)

    def _drain(self, node: Node, process: int) -> None:
        """The process gets to the next of what waits for it."""
        node.draining = False
        if node.frozen or not node.inbox or node.process != process:
            self._schedule_drain(node)
            return
        call, arguments = node.inbox.popleft()
        call(*arguments)
        self._schedule_drain(node)

    # Links

    def _dial(self, node: Node, dial: int, addresses: tuple[str, ...]) -> None:
        if not addresses:
            return
        process = node.process

        def fail() -> None:
            if node.process != process or node.engine is None:
                return
            if len(addresses) > 1:
                self._dial(node, dial, addresses[1:])
            else:
                self._input(node, node.engine.dial_failed, dial)

        target = self._addresses.get(addresses[0])
        self.network.connect(node, target, lambda host: host.frozen, partial(self._on_up, dial), fail)

    def _on_up(self, dial: int, near: End, far: End) -> None:
        for end, other, number in ((near, far, dial), (far, near, None)):
            node = end.host
            node.busy = max(node.busy, self.clock.now) + _HANDSHAKE_COST
            self.traffic.handshake()
            if node.engine is not None:
                certificate = other.host.credentials.certificate
                self._input(node, self._link_up, node, end.number, certificate, number is not None, number)

    def _link_up(
        self, node: Node, link: int, certificate: NodeCertificate, dialled: bool, dial: int | None, now: float
    ) -> None:
        if node.engine is not None:
            node.engine.link_up(link, certificate, dialled, now, dial)
            self._linked(node)

    def _linked(self, node: Node) -> None:
        if self.on_links is not None:
            self.on_links(node)

    # Probes: a host answers even while its agent is gone.

    def _watch(self, node: Node, event: Probe) -> None:
        fresh = event.node_keys - node.probed
        node.probed = event.node_keys
        node.probing += 1
        for key in sorted(fresh):
            self._ping(node, key)
        if node.probed:
            self.clock.at(self.clock.now + event.pause, self._probe, node, node.process, node.probing, event.pause)

    def _probe(self, node: Node, process: int, probing: int, pause: float) -> None:
        if node.process != process or node.probing != probing:
            return
        self.clock.at(self.clock.now + pause, self._probe, node, process, probing, pause)
        if not node.frozen:
            for key in sorted(node.probed):
                self._ping(node, key)

    def _ping(self, node: Node, key: bytes) -> None:
        reached = any(self.network.both_ways(node, host) for host in self._holders.get(key, ()))
        time = self.network.echo() if reached else None
        answered = time is not None and time <= _PING_TIMEOUT
        when = self.clock.now + (time if time is not None and answered else _PING_TIMEOUT)
        self.clock.at(when, self._pinged, node, node.process, key, answered)

    def _pinged(self, node: Node, process: int, key: bytes, answered: bool) -> None:
        if node.process == process and node.engine is not None and key in node.probed:
            self._input(node, node.engine.probe_result, key, answered)


def entry_of(node: Node) -> Entry:
    """What a simulated node says of itself."""
    if node.role is Role.CLIENT:
        return Entry(name=node.identity, role=node.role, tunnel_key=node.key)
    endpoint = node.address.replace(":4000", ":51820")
    return Entry(
        name=node.identity,
        role=node.role,
        tunnel_key=node.key,
        endpoints=(endpoint,),
        links=(node.address,),
        bridge=node.bridge,
        routes=node.routes,
    )
