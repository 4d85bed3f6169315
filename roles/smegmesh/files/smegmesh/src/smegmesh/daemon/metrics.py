"""What the agent measures, as families for Prometheus: pure, from what was read at one moment.

Nothing here has a label that grows with the mesh, but for the families of single peers, which must be asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from smegmesh.control.exposition import Family, Histogram, Labels, Sample
from smegmesh.crdt.fault import Fault
from smegmesh.dataplane.plane import DeviceState, PeerState
from smegmesh.gossip.events import AlarmKind
from smegmesh.gossip.traffic import CLASSES, Traffic, TrafficClass
from smegmesh.gossip.view import Liveness, View
from smegmesh.identity.address import node_hash
from smegmesh.identity.keys import encode_key

_SESSION = 180.0  # seconds after which WireGuard takes a session for none (Reject-After-Time; whitepaper, section 6.1)
_ID_BYTES = 6  # of a leader's number: floating point holds as many exactly

_Handshake = Literal["fresh", "stale", "never", "idle"]


@dataclass(frozen=True, slots=True)
class MeshReading:
    """A running mesh at a moment. Ages are seconds, times seconds since the epoch.

    `failed`: who is not alive, by node key. `equal_age`: since the root digest of some other node was last equal to
    the own one, or since the start if none ever was; `change_age`: since the own map last changed. `device` is None
    where there is none to read.
    """

    view: View
    failed: Mapping[bytes, Liveness]
    up: bool
    links: int
    sent: Traffic
    received: Traffic
    counters: Mapping[str, int]
    equal_age: float
    change_age: float
    certificate_end: float
    authority_end: float
    apply_times: Histogram
    device: DeviceState | None


@dataclass(frozen=True, slots=True)
class Process:
    """What the kernel says of the agent's process: seconds of CPU, bytes, seconds since the epoch, a number."""

    cpu: float
    resident: int
    started: float
    descriptors: int


@dataclass(frozen=True, slots=True)
class AgentReading:
    """The agent at a moment: `failed` are meshes that do not run, `link_counters` those of all links (`transport`)."""

    version: str
    failed: Sequence[str]
    link_counters: Mapping[str, int]
    meshes: Sequence[MeshReading]
    process: Process
    wall: float


class _Measure(NamedTuple):
    """A family with samples of each mesh; the label of the mesh is added."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: Callable[[MeshReading], Iterable[Sample]]


def families(agent: AgentReading, *, per_peer: bool) -> Iterator[Family]:
    """All there is; with `per_peer` the traffic of each WireGuard peer, too, by its name."""
    yield from _agent(agent)
    up = [Sample(mesh.up, _of(mesh)) for mesh in agent.meshes] + [Sample(0, {"mesh": name}) for name in agent.failed]
    yield Family("smegmesh_mesh_up", "gauge", "Whether the interface of the mesh is as it should be.", up)
    for measure in _MESH:
        samples = [_within(mesh, sample) for mesh in agent.meshes for sample in measure.samples(mesh)]
        yield Family(measure.name, measure.kind, measure.help, samples)
    yield from _handshakes(agent)
    if per_peer:
        yield from _peers(agent.meshes)
    yield from _process(agent.process)


def _of(mesh: MeshReading) -> Labels:
    return {"mesh": mesh.view.mesh_id}


def _within(mesh: MeshReading, sample: Sample) -> Sample:
    return sample._replace(labels={**_of(mesh), **sample.labels})


# The agent as a whole


def _agent(agent: AgentReading) -> Iterator[Family]:
    counters = agent.link_counters
    yield Family("smegmesh_agent_info", "gauge", "The version of the agent.", [Sample(1, {"version": agent.version})])
    opened = [Sample(counters.get(f"links.{side}", 0), {"side": side}) for side in ("accepted", "dialled")]
    yield Family("smegmesh_links_opened_total", "counter", "Links between agents that came to stand.", opened)
    failed = [Sample(counters.get("dials.failed", 0))]
    yield Family("smegmesh_dials_failed_total", "counter", "Dials by which nobody was reached.", failed)
    refused = list(_by_prefix(counters, "refused."))
    yield Family("smegmesh_connections_refused_total", "counter", "Connections that were no link, by why.", refused)


def _by_prefix(counters: Mapping[str, int], prefix: str) -> Iterator[Sample]:
    for name, count in sorted(counters.items()):
        if name.startswith(prefix):
            yield Sample(count, {"reason": name.removeprefix(prefix)})


def _process(process: Process) -> Iterator[Family]:
    """By the names that all clients of Prometheus give them."""
    told: tuple[tuple[str, Literal["counter", "gauge"], str, float], ...] = (
        ("process_cpu_seconds_total", "counter", "Seconds of CPU that the agent took.", process.cpu),
        ("process_resident_memory_bytes", "gauge", "Memory that the agent holds.", process.resident),
        ("process_start_time_seconds", "gauge", "When the agent started, in seconds since the epoch.", process.started),
        ("process_open_fds", "gauge", "Files and sockets that the agent has open.", process.descriptors),
    )
    for name, kind, help_text, value in told:
        yield Family(name, kind, help_text, [Sample(value)])


# Each mesh


def _members(mesh: MeshReading) -> Iterator[Sample]:
    counted = mesh.view.liveness()
    for each in Liveness:
        yield Sample(counted[each], {"liveness": each.value})


def _leader(mesh: MeshReading) -> Iterator[Sample]:
    leader = mesh.view.leader
    yield Sample(0 if leader is None else int.from_bytes(node_hash(leader)[:_ID_BYTES], "big"))


def _traffic(counted: Callable[[Traffic], Counter[TrafficClass]]) -> Callable[[MeshReading], Iterator[Sample]]:
    def samples(mesh: MeshReading) -> Iterator[Sample]:
        for direction, traffic in (("sent", mesh.sent), ("received", mesh.received)):
            for kind in CLASSES:
                yield Sample(counted(traffic)[kind], {"direction": direction, "class": kind})

    return samples


def _counted(prefix: str, label: str, values: Iterable[str]) -> Callable[[MeshReading], Iterator[Sample]]:
    """Counters of the engine, each from its start on: else nobody would see the first of a kind."""

    def samples(mesh: MeshReading) -> Iterator[Sample]:
        for value in values:
            yield Sample(mesh.counters.get(f"{prefix}{value}", 0), {label: value})

    return samples


_MESH = (
    _Measure("smegmesh_mesh_members", "gauge", "Members of the mesh, as this node sees them.", _members),
    _Measure("smegmesh_mesh_links", "gauge", "Links to other agents that stand.", lambda mesh: [Sample(mesh.links)]),
    _Measure(
        "smegmesh_mesh_is_leader",
        "gauge",
        "Whether this node takes itself for the leader.",
        lambda mesh: [Sample(mesh.view.leader == mesh.view.node_key)],
    ),
    _Measure(
        "smegmesh_mesh_leader_id",
        "gauge",
        "Whom this node takes for the leader: 48 bits of the hash of its key, 0 for nobody.",
        _leader,
    ),
    _Measure(
        "smegmesh_mesh_agreement_age_seconds",
        "gauge",
        "Since this node last knew exactly what another one knew (equal digests), or since it started.",
        lambda mesh: [Sample(mesh.equal_age)],
    ),
    _Measure(
        "smegmesh_mesh_change_age_seconds",
        "gauge",
        "Since anything was new to this node; the leader says something each minute.",
        lambda mesh: [Sample(mesh.change_age)],
    ),
    _Measure(
        "smegmesh_gossip_frames_total",
        "counter",
        "Frames on links by what they are for; those of a flood bring news.",
        _traffic(lambda traffic: traffic.frames),
    ),
    _Measure(
        "smegmesh_gossip_bytes_total",
        "counter",
        "Bytes in these frames, without what TLS and TCP add.",
        _traffic(lambda traffic: traffic.bytes),
    ),
    _Measure(
        "smegmesh_gossip_refused_total",
        "counter",
        "What others sent and may not say, by what was wrong with it.",
        _counted("bad.", "reason", get_args(Fault)),
    ),
    _Measure(
        "smegmesh_gossip_late_timers_total",
        "counter",
        "How often the agent, or its host, stood still for more than a second.",
        lambda mesh: [Sample(mesh.counters.get("late", 0))],
    ),
    _Measure(
        "smegmesh_alarms_total",
        "counter",
        "What an operator has to look at.",
        _counted("alarm_", "kind", get_args(AlarmKind)),
    ),
    _Measure(
        "smegmesh_apply_duration_seconds",
        "histogram",
        "How long it took until WireGuard had a change of the plan.",
        lambda mesh: mesh.apply_times.samples({}),
    ),
    _Measure(
        "smegmesh_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the certificate of this node ends.",
        lambda mesh: [Sample(mesh.certificate_end)],
    ),
    _Measure(
        "smegmesh_authority_expiry_timestamp_seconds",
        "gauge",
        "When the certificate of the authority ends.",
        lambda mesh: [Sample(mesh.authority_end)],
    ),
)


# WireGuard's peers


def _handshakes(agent: AgentReading) -> Iterator[Family]:
    """Of peers that are not down: what is left of those that are says nothing."""
    peers, middle, longest = [], [], []
    for mesh in agent.meshes:
        if mesh.device is None:
            continue
        down = _tunnels_down(mesh)
        living = [peer for key, peer in mesh.device.peers.items() if key not in down]
        states = Counter(_state(peer, agent.wall) for peer in living)
        peers += [_within(mesh, Sample(states[state], {"handshake": state})) for state in get_args(_Handshake)]
        ages = [_age(peer.handshake, agent.wall) for peer in living if peer.handshake]
        if ages:
            middle.append(Sample(_median(ages), _of(mesh)))
            longest.append(Sample(max(ages), _of(mesh)))
    yield Family("smegmesh_wireguard_peers", "gauge", "WireGuard peers that are not down, by their handshake.", peers)
    yield Family(
        "smegmesh_wireguard_handshake_age_median_seconds",
        "gauge",
        "Since their last handshakes: half are younger.",
        middle,
    )
    yield Family("smegmesh_wireguard_handshake_age_max_seconds", "gauge", "Since the oldest of them.", longest)


def _tunnels_down(mesh: MeshReading) -> set[bytes]:
    keys = (key for key, liveness in mesh.failed.items() if liveness is Liveness.DOWN)
    members = (mesh.view.members.get(key) for key in keys)
    return {member.entry.tunnel_key for member in members if member is not None}


def _age(handshake: float, wall: float) -> float:
    return max(wall - handshake, 0.0)


def _state(peer: PeerState, wall: float) -> _Handshake:
    """A tunnel that nothing keeps up may be silent for as long as nobody uses it."""
    if peer.handshake and _age(peer.handshake, wall) <= _SESSION:
        return "fresh"
    if not peer.keepalive:
        return "idle"
    return "stale" if peer.handshake else "never"


def _peers(meshes: Iterable[MeshReading]) -> Iterator[Family]:
    received, sent, handshakes = [], [], []
    for mesh in meshes:
        for labels, peer in _named(mesh):
            received.append(Sample(peer.received, labels))
            sent.append(Sample(peer.sent, labels))
            handshakes.append(Sample(peer.handshake or 0, labels))
    yield Family("smegmesh_peer_receive_bytes_total", "counter", "Bytes from a WireGuard peer.", received)
    yield Family("smegmesh_peer_transmit_bytes_total", "counter", "Bytes to a WireGuard peer.", sent)
    yield Family(
        "smegmesh_peer_last_handshake_timestamp_seconds",
        "gauge",
        "When the last handshake was, 0 for never.",
        handshakes,
    )


def _named(mesh: MeshReading) -> Iterator[tuple[Labels, PeerState]]:
    """The peers with their names; two members may have the same one, so there is the key, too."""
    if mesh.device is None:
        return
    names = {member.entry.tunnel_key: member.entry.name for member in mesh.view.members.values()}
    for key, peer in mesh.device.peers.items():
        yield {**_of(mesh), "peer": names.get(key, ""), "key": encode_key(key)}, peer


def _median(values: Sequence[float]) -> float:
    """Of at least one; the module `statistics` takes 1 MB."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
