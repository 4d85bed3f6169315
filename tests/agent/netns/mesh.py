"""A mesh on the lab's hosts, its views written by hand: what the dataplane alone can show."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from namespaces import Host

from smegmesh.crdt.entry import Entry, Role
from smegmesh.dataplane.plane import Endpoint
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.identity.keys import generate_private_key, public_key
from smegmesh.routing.plan import LocalPolicy, Plan, make_plan

MESH = "prod"
DEVICE = "smeg-prod"
PORT = 51820


class Node:
    """A host's part in the mesh, and the process that stands for its agent."""

    def __init__(self, host: Host, role: Role) -> None:
        self.host = host
        self.private_key = generate_private_key()
        self.key = public_key(self.private_key)
        self.address = node_address(MESH, self.key)
        self.entry = Entry(
            name=host.name,
            role=role,
            tunnel_key=self.key,
            endpoints=(f"{host.underlay}:{PORT}",) if role is Role.PEER else (),
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, port: int = PORT, mark: int = 0) -> None:
        """Start the agent's process."""
        program = [sys.executable, str(Path(__file__).with_name("worker.py"))]
        self._process = subprocess.Popen(self.host.command(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._send((DEVICE, self.private_key, port, mark))

    def kill(self) -> None:
        """SIGKILL the agent's process; what it set up stays."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def call(self, name: str, *arguments: object) -> Any:
        """Have the agent's process do something; its error is raised here."""
        self._send((name, arguments))
        assert self._process is not None and self._process.stdout is not None
        fine, answer = pickle.load(self._process.stdout)
        if not fine:
            raise answer
        return answer

    def _send(self, message: object) -> None:
        assert self._process is not None and self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()


class Mesh:
    """The nodes of a test, all of which see the same view."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.down: frozenset[bytes] = frozenset()

    def add(
        self,
        host: Host,
        role: Role,
        home: Node | None = None,
        backup: Node | None = None,
    ) -> Node:
        node = Node(host, role)
        node.entry = replace(
            node.entry,
            home=home.key if home else None,
            backup=backup.key if backup else None,
        )
        self.nodes.append(node)
        return node

    def plan(self, node: Node) -> Plan:
        members = {
            other.key: Member(
                node_key=other.key,
                address=other.address,
                entry=other.entry,
                number=1,
                liveness=Liveness.DOWN if other.key in self.down else Liveness.ALIVE,
            )
            for other in self.nodes
        }
        return make_plan(View(MESH, node.key, members, None, b""), LocalPolicy(node.entry.role))

    def endpoints(self) -> dict[str, Endpoint]:
        return {text: (node.host.underlay, PORT) for node in self.nodes for text in node.entry.endpoints}

    def bring_up(self, nodes: Iterable[Node] | None = None) -> None:
        for node in self.nodes if nodes is None else nodes:
            node.start()
            node.call("bring_up", self.plan(node), self.endpoints())
            if node.entry.role is Role.PEER:
                node.call("enable_forwarding")
                node.call("install_firewall")

    def apply(self) -> None:
        """Have every node follow the view as it is now."""
        for node in self.nodes:
            node.call("apply", self.plan(node), self.endpoints())

    def close(self) -> None:
        for node in self.nodes:
            node.kill()


class Stream:
    """A ping every 20 ms that runs while the test does something, `count` times at most."""

    def __init__(self, host: Host, address: IPv6Address, count: int = 500) -> None:
        self._process = host.start("ping", "-n", "-O", "-i", "0.02", "-W", "1", "-c", str(count), str(address))
        assert self._process.stdout is not None
        self._lines = self._process.stdout
        self.answered(1)

    def answered(self, count: int) -> None:
        """Read on until that many more echoes were answered."""
        for line in self._lines:
            count -= "bytes from" in line
            if not count:
                return
        raise AssertionError("the ping ended before enough echoes were answered")

    def lost(self) -> int:
        """End it; how many echoes were not answered. The last one may still be under way."""
        self._process.send_signal(2)
        output, _ = self._process.communicate(timeout=10)
        for line in output.splitlines():
            if "packets transmitted" in line:
                words = line.split()
                return max(int(words[0]) - int(words[3]) - 1, 0)
        raise AssertionError(f"no summary in {output!r}")
