"""Agents of smegmesh: smegd as it is, with keys, certificates and TLS."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from agent_host import MESH, AgentHost, Node, Operator
from api import Api
from group import Disturbed, Network
from processes import Processes

_BOOTSTRAP = 3


class SmegmeshGroup:
    """Peers of one mesh; three of them are everybody's bootstrap.

    A digest is equal on two agents exactly when they know the same: whoever shows the
    digest that a changed agent has after its change knows the change.
    """

    def __init__(self, network: Network, directory: Path, count: int, plane: str = "memory") -> None:
        operator = Operator()
        nodes = [Node.make(f"n{number}", network.address(number), operator) for number in range(1, count + 1)]
        self._network = network
        self._processes = Processes(directory)
        self._hosts = {
            node.name: AgentHost.make(directory / node.name, node, operator.authority, plane) for node in nodes
        }
        self._bootstrap = nodes[:_BOOTSTRAP]
        self._apis: dict[str, Api] = {}
        self._changes = 0
        self._before: str | None = None
        self._seen: dict[str, str | None] = {}
        for host in self._hosts.values():
            host.declare(self._bootstrap)

    @property
    def names(self) -> list[str]:
        return list(self._hosts)

    def start(self, name: str) -> None:
        self._processes.start(name, self._network.command(self.names.index(name) + 1, self._hosts[name].command()))

    def pids(self) -> list[int]:
        return self._processes.pids()

    def alive(self, observer: str) -> int:
        with suppress(OSError, ValueError):
            if observer not in self._apis:
                self._apis[observer] = Api(self._hosts[observer].socket)
            mesh = self._apis[observer].mesh()
            return mesh.members.alive if mesh.state == "up" else 0
        return 0

    def agrees(self) -> bool:
        return len({api.mesh().digest for api in self._apis.values()}) == 1

    def begin_change(self, name: str) -> None:
        self._changes += 1
        self._hosts[name].declare(self._bootstrap, self._alias)
        self._before, self._seen = self._apis[name].mesh().digest, {}
        self._apis[name].begin_reload()

    def knows_change(self, observer: str, name: str) -> bool:
        digest = self._apis[observer].mesh().digest
        if digest == self._before:
            return False
        self._seen[observer] = digest
        return True

    def end_change(self, name: str) -> None:
        self._apis[name].end_reload()
        if {*self._seen.values()} != {self._apis[name].mesh().digest}:
            raise Disturbed("something else has changed, too")
        if any(self._apis[observer].members(MESH)[name].alias != self._alias for observer in self._seen):
            raise Disturbed("another change was seen")

    def told_change(self, name: str) -> None:
        """There are no event streams."""

    def kill(self, name: str) -> None:
        self._processes.kill(name)
        self._apis.pop(name).close()

    def knows_loss(self, observer: str) -> bool:
        members = self._apis[observer].mesh().members
        return members.mute + members.down > 0

    def told_loss(self, name: str) -> None:
        """There are no event streams."""

    def judgement(self, observer: str, name: str) -> str:
        return self._apis[observer].members(MESH)[name].liveness

    def close(self) -> None:
        for api in self._apis.values():
            api.close()
        self._processes.close()

    @property
    def _alias(self) -> str:
        return f"alias-{self._changes}"
