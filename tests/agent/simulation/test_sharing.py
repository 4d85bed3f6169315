"""Engines that share the equal parts of their maps do, byte by byte, what they do without."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256

from smegmesh.simulation.mesh import Simulation
from smegmesh.simulation.node import Disk, Node


@dataclass
class Course:
    """What happened in a run."""

    seconds: list[str] = field(default_factory=list)  # the digest of all frames and changed views of each
    traffic: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    members: dict[str, object] = field(default_factory=dict)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)


def _run(*, sharing: bool) -> Course:
    simulation = Simulation(7, 92, 8, sharing=sharing, forget=15.0)
    course, trace = Course(), sha256()

    def frame(source: str, target: str, data: bytes) -> None:
        trace.update(f"{simulation.clock.now!r} {source} {target} ".encode() + data)

    def view(node: Node) -> None:
        trace.update(f"{simulation.clock.now!r} {node.name} sees ".encode() + simulation.view(node.name).digest)

    def run_for(seconds: int) -> None:
        for _ in range(seconds):
            simulation.run_for(1)
            course.seconds.append(trace.hexdigest())

    simulation.frames.append(frame)
    simulation.on_view = view
    simulation.start()
    run_for(8)
    entry = simulation.view("p5").members[simulation.key("p5")].entry
    simulation.call("p5", "set_entry", replace(entry, description="changed"))
    simulation.call("p6", "leave")
    simulation.kill_process("p6")
    simulation.kill_host("p7")
    simulation.kill_process("p8")
    run_for(8)
    # five come up from one and the same disk, as after a snapshot of it was copied to all
    stored = simulation.nodes["p9"].disk.read()
    again = [f"p{number}" for number in range(10, 15)]
    for name in again:
        simulation.kill_host(name)
        simulation.nodes[name].disk = Disk(replace(stored, number=simulation.nodes[name].disk.number))
    simulation.start("p8", *again)
    run_for(4)
    simulation.partition(["c3"], set(simulation.nodes) - {"c3"})
    run_for(6)
    simulation.heal()
    simulation.network.loss = 0.02
    run_for(12)
    for name in simulation.running():
        shown = simulation.view(name)
        course.digests[name] = shown.digest.hex()
        course.members[name] = {of: (member.number, member.liveness) for of, member in shown.members.items()}
        course.counters[name] = dict(simulation.engine(name).counters)
    course.traffic = dict(simulation.traffic.bytes)
    return course


def test_sharing_changes_no_result() -> None:
    shared, apart = _run(sharing=True), _run(sharing=False)
    assert shared.seconds == apart.seconds
    assert shared == apart
    assert len(set(shared.digests.values())) == 1, "and they agree"
