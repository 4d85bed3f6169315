"""An agent that knows a mesh of three thousand, left alone: what it holds and what it does."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import dns.message
from agent_host import DNS_PORT, LINK_PORT, MESH, AgentHost, Node, python
from api import Api
from loopback import Loopback, loopback
from members import Members
from processes import Processes, eventually
from section import Figure, Section
from usage import idle

MEMBERS = 3000
BOOTSTRAP = 3
START = 60.0  # seconds
SURPLUS = 40.0  # after which it has only the links that it needs
IDLE = 60.0
MEMORY_BOUND, PROCESSOR_BOUND = 96.0, 1.0  # MB, percent of a processor

MEGABYTE = 1e6
NEIGHBOURS = Path(__file__).with_name("neighbours.py")

#: Imports what an agent has loaded that was asked through its API, and says its own resident memory.
FLOOR = """
import smegmesh.daemon.__main__, smegmesh.control.routes, jsonschema, yaml
import os, sys
sys.path.append({directory!r})
import usage
print(usage.memory(os.getpid()).resident)
"""

METHOD = f"""\
A smegd as it runs on a host (links over TLS, API, names by DNS, database), but with WireGuard's state in memory
(`plane: memory`), in a network namespace that has nothing but a loopback. It has met a mesh of {MEMBERS} peers in an
earlier run: its database holds what each of them signed, under a certificate of its own. Of them those run that an
agent in a mesh of this size has links with, its {{neighbours}} neighbours on the rings, among them the leader. They are
the real engine behind real links, all in another process; they ping, compare digests and refresh as neighbours do, but
accuse nobody: so all {MEMBERS} are alive to the agent, as they would be if they ran, and it dials nobody else. It is
started, asked until it knows all and has its links, asked by DNS for each of them, and left alone for {SURPLUS:g} s,
then for {IDLE:g} s which are measured. Resident
memory is that of `smaps_rollup` afterwards, processor time that of `stat`. The floor is a fresh interpreter that has
imported what smegd and its API import, and nothing else."""


def measure() -> Section:
    with loopback("members") as network, tempfile.TemporaryDirectory(prefix="smegmesh-bench-") as directory:
        processes = Processes(Path(directory))
        try:
            return _measure(network, Path(directory), processes)
        finally:
            processes.close()


def _measure(network: Loopback, directory: Path, processes: Processes) -> Section:
    members = Members.make(network.address(number) for number in range(1, MEMBERS + 1))
    # A neighbour of the leader: what the leader says once a minute has to come from nowhere else.
    node = members.neighbours(members.leader)[0]
    near = members.neighbours(node)
    agent, *others = (AgentHost.make(directory / each.name, each, members.operator.authority) for each in (node, *near))
    for host in (agent, *others):
        members.store(host)
    agent.declare(near[:BOOTSTRAP])
    names = [str(directory / each.name) for each in near]
    agent.offer_names()
    processes.start("neighbours", network.command(1, python(str(NEIGHBOURS), *names)))
    eventually(lambda: all(_listens(network, each) for each in near), START, "the neighbours listen")
    processes.start("agent", network.command(1, agent.command()))
    started = eventually(lambda: _complete(agent, len(near)), START, f"it knows all and has {len(near)} links", 0.05)
    _ask_all(network, agent, members)
    time.sleep(SURPLUS)
    left = idle([processes.pid("agent")], IDLE)
    processes.pids()
    floor = _floor()
    if not _complete(agent, len(near)):
        raise RuntimeError("in the end it did not know all, or had other links than its neighbours'")
    return Section(
        f"An agent with {MEMBERS} members",
        METHOD.format(neighbours=len(near)),
        (
            Figure("from its start to an answer that has all", started),
            Figure("resident", left.resident / MEGABYTE, "MB", MEMORY_BOUND),
            Figure("resident, the floor", floor / MEGABYTE, "MB"),
            Figure(f"above the floor, for each of {MEMBERS}", (left.resident - floor) / 1000 / MEMBERS, "kB"),
            Figure("of one processor, idle", left.processor * 100, "%", PROCESSOR_BOUND),
        ),
    )


def _listens(network: Loopback, node: Node) -> bool:
    with network.inside(), socket.socket() as probe:
        return probe.connect_ex((node.address, LINK_PORT)) == 0


def _ask_all(network: Loopback, host: AgentHost, members: Members) -> None:
    """Ask for every member by its name."""
    with network.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((host.node.address, DNS_PORT))
        asking.settimeout(START)
        for node in members.nodes.values():
            asking.send(dns.message.make_query(f"{node.name}.{MESH}.smeg", "AAAA").to_wire())
            if not dns.message.from_wire(asking.recv(4096)).answer:
                raise RuntimeError(f"{node.name} has no address by DNS")


def _complete(host: AgentHost, links: int) -> bool:
    with suppress(OSError), closing(Api(host.socket)) as api:
        mesh = api.mesh()
        return mesh.state == "up" and mesh.members.alive == MEMBERS and mesh.links == links
    return False


def _floor() -> int:
    """Bytes; of the second of two, as the first may still have to compile."""
    program = python("-c", FLOOR.format(directory=str(Path(__file__).parent)))
    asked = [subprocess.run(program, capture_output=True, text=True, check=True, timeout=START) for _ in range(2)]
    return int(asked[-1].stdout)
