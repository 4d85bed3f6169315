"""Names of a mesh of three thousand, asked for by UDP on loopback: what an answer costs the agent's one processor."""

from __future__ import annotations

import asyncio
import random
import socket
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

import dns.message
import dns.rcode
from agent_host import python
from section import Figure, Section
from usage import processor_time

from crdt_nodes import MESH, Node
from smegmesh.control.dns import DnsServer, Limits
from smegmesh.crdt.map import MeshMap
from smegmesh.gossip.view import Liveness, Members, View
from smegmesh.names.server import NameServer

MEMBERS = 3000
SECONDS = 3.0
WINDOW = 16  # questions under way
QUESTIONS = 4096  # different ones, asked in turn
LEAST = 5000  # answers a second of processor time
HOST = "127.0.0.1"
SERVICE = {"https": "tcp/443"}

#: A name server for such a mesh, which is all that its process does.
SERVER = """
import asyncio, sys
sys.path[:0] = {path!r}
import bench_dns
asyncio.run(bench_dns.serve({port}))
"""

METHOD = f"""\
The name server and its port as they are in an agent, alone in a process; it knows a mesh of {MEMBERS} members, each
with an alias and a service. Another process keeps {WINDOW} questions under way for {SECONDS:g} s, {QUESTIONS} different
ones with EDNS in turn, and reads some of the answers with dnspython. Answers a second are those of the server's
processor time: what one processor that did nothing else would give. The agent answers 10 000 a second at most, whatever
is asked. In the last row a member goes down, or comes back, and the first question after it is one for the service of
all."""


def measure() -> Section:
    seen = view()
    kinds = {
        "addresses of members by alias": [(f"web-{number}.{MESH}.smeg", "AAAA") for number in range(MEMBERS)],
        "names of addresses": [(each.address.reverse_pointer, "PTR") for each in seen.members.values()],
        "services of members": [(f"_https._tcp.n{number}.{MESH}.smeg", "SRV") for number in range(MEMBERS)],
        "names that nobody has": [(f"x-{number}.{MESH}.smeg", "AAAA") for number in range(MEMBERS)],
    }
    kinds["all of these"] = [question for asked in kinds.values() for question in asked]
    port = _free_port()
    command = python("-c", SERVER.format(path=sys.path, port=port))
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _wait(port)
        figures = [
            Figure(f"answers a second: {what}", _rate(port, running.pid, asked), "", at_least=LEAST)
            for what, asked in kinds.items()
        ]
    finally:
        running.kill()
        running.wait()
    first = Figure("from 3000 members to the first answer", _first(seen))
    change = Figure("one change and the service of all", _one_change(seen))
    return Section(f"Names of {MEMBERS} members", METHOD, (*figures, first, change))


def view() -> View:
    """As an engine makes it: members are made of what they signed when somebody asks for them."""
    known = MeshMap(MESH)
    for number in range(MEMBERS):
        known.merge_entry(Node(f"n{number}").says(1, alias=f"web-{number}", services=SERVICE))
    members = Members(MESH, known.tree.snapshot(), {}, frozenset())
    return View(MESH, Node("n0").key, members, None, known.root)


def without(seen: View, node_key: bytes) -> View:
    """After this node was found down."""
    assert isinstance(seen.members, Members)
    members = Members(MESH, seen.members._tree, {node_key: Liveness.DOWN}, frozenset())
    return replace(seen, members=members)


async def serve(port: int) -> None:
    """In the other process, until it is killed."""
    names = NameServer("smeg", time.time)
    names.follow(view())
    listening = DnsServer(f"{HOST}:{port}", names.answer, Limits(rate=1e9))
    listening.start()
    await asyncio.get_running_loop().create_future()


def _rate(port: int, pid: int, asked: list[tuple[str, str]]) -> float:
    """Answers for each second of the server's processor time."""
    chance = random.Random(1)
    messages = [dns.message.make_query(*chance.choice(asked), use_edns=0).to_wire() for _ in range(QUESTIONS)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((HOST, port))
        asking.settimeout(5)
        before, end, sent = processor_time(pid), time.monotonic() + SECONDS, 0
        for _ in range(WINDOW):
            asking.send(messages[sent % QUESTIONS])
            sent += 1
        received = 0
        while time.monotonic() < end:
            answer = asking.recv(4096)
            if received % 5000 == 0:
                assert dns.message.from_wire(answer).rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
            received += 1
            asking.send(messages[sent % QUESTIONS])
            sent += 1
        return received / (processor_time(pid) - before)


def _first(seen: View) -> float:
    question = dns.message.make_query(f"n1.{MESH}.smeg", "AAAA").to_wire()
    before = time.process_time()
    names = NameServer("smeg", time.time)
    names.follow(seen)
    assert names.answer(question, tcp=False) is not None
    return time.process_time() - before


def _one_change(seen: View) -> float:
    """Median of some."""
    names = NameServer("smeg", time.time)
    names.follow(seen)
    question = dns.message.make_query(f"_https._tcp.{MESH}.smeg", "SRV").to_wire()
    after = without(seen, Node("n7").key)
    taken = []
    for each in [after, seen] * 10:
        start = time.process_time()
        names.follow(each)
        assert names.answer(question, tcp=False) is not None
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait(port: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("the name server does not listen")
