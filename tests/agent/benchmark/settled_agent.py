"""An agent that has met a mesh of many in an earlier run, with those that it keeps links with, in a namespace."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import dns.message
from agent_host import DNS_PORT, LINK_PORT, MESH, AgentHost, Node, python
from api import Api
from loopback import Loopback, loopback
from members import Members
from processes import Processes, eventually

BOOTSTRAP = 3
START = 60.0  # seconds
SURPLUS = 40.0  # after which it has only the links that it needs

NEIGHBOURS = Path(__file__).with_name("neighbours.py")


@dataclass(frozen=True)
class Settled:
    """It knows all `members`; `started` seconds went by until it said so."""

    host: AgentHost
    processes: Processes
    members: int
    neighbours: int
    started: float

    def complete(self) -> bool:
        """Whether it knows all, all are alive, and its links are those with its neighbours."""
        return _complete(self.host, self.members, self.neighbours)


@contextmanager
def settled_agent(count: int, command: Callable[[AgentHost], Sequence[str]] = AgentHost.command) -> Iterator[Settled]:
    """The agent among so many members, left alone until all is as it stays. `command` starts it."""
    with loopback("members") as network, TemporaryDirectory(prefix="smegmesh-bench-") as directory:
        processes = Processes(Path(directory))
        try:
            yield _settle(count, command, network, Path(directory), processes)
        finally:
            processes.close()


def _settle(
    count: int,
    command: Callable[[AgentHost], Sequence[str]],
    network: Loopback,
    directory: Path,
    processes: Processes,
) -> Settled:
    members = Members.make(network.address(number) for number in range(1, count + 1))
    # A neighbour of the leader: what the leader says once a minute has to come from nowhere else.
    node = members.neighbours(members.leader)[0]
    near = members.neighbours(node)
    agent, *others = (AgentHost.make(directory / each.name, each, members.operator.authority) for each in (node, *near))
    for host in (agent, *others):
        members.store(host)
    agent.declare(near[:BOOTSTRAP])
    agent.offer_names()
    names = [str(directory / each.name) for each in near]
    processes.start("neighbours", network.command(1, python(str(NEIGHBOURS), *names)))
    eventually(lambda: all(_listens(network, each) for each in near), START, "the neighbours listen")
    processes.start("agent", network.command(1, command(agent)))
    what = f"it knows all and has {len(near)} links"
    started = eventually(lambda: _complete(agent, count, len(near)), START, what, 0.05)
    _ask_all(network, agent, members)
    time.sleep(SURPLUS)
    return Settled(agent, processes, count, len(near), started)


def _ask_all(network: Loopback, host: AgentHost, members: Members) -> None:
    """Ask for every member by its name."""
    with network.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((host.node.address, DNS_PORT))
        asking.settimeout(START)
        for node in members.nodes.values():
            asking.send(dns.message.make_query(f"{node.name}.{MESH}.smeg", "AAAA").to_wire())
            if not dns.message.from_wire(asking.recv(4096)).answer:
                raise RuntimeError(f"{node.name} has no address by DNS")


def _listens(network: Loopback, node: Node) -> bool:
    with network.inside(), socket.socket() as probe:
        return probe.connect_ex((node.address, LINK_PORT)) == 0


def _complete(host: AgentHost, members: int, links: int) -> bool:
    with suppress(OSError, RuntimeError), closing(Api(host.socket)) as api:
        mesh = api.mesh()
        return mesh.state == "up" and mesh.members.alive == members and mesh.links == links
    return False
