"""Agents of serf, with its defaults but for the addresses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from loopback import Loopback
from processes import Processes
from serf_rpc import Event, Member, SerfClient, SerfError

_RPC_PORT = 7373
_JOIN = 3


class SerfGroup:
    """Each has a tag that can be changed; three of them are whom all join.

    What an agent knows is asked for; that is earlier than when its event stream and its event
    handlers tell of it, as an agent gathers events until none has come for a second.
    """

    def __init__(self, network: Loopback, directory: Path, count: int) -> None:
        self._network = network
        self._processes = Processes(directory)
        self._addresses = {f"n{number}": network.address(number) for number in range(1, count + 1)}
        self._clients: dict[str, SerfClient] = {}
        self._streams: dict[str, SerfClient] = {}
        self._changes = 0

    @property
    def names(self) -> list[str]:
        return list(self._addresses)

    def start(self, name: str) -> None:
        address = self._addresses[name]
        command = ["serf", "agent", f"-node={name}", f"-bind={address}", f"-rpc-addr={address}:{_RPC_PORT}"]
        command += [f"-retry-join={other}" for other in list(self._addresses.values())[:_JOIN] if other != address]
        self._processes.start(name, self._network.command(self.names.index(name) + 1, command))

    def pids(self) -> list[int]:
        return self._processes.pids()

    def alive(self, observer: str) -> int:
        with suppress(OSError, SerfError):
            if observer not in self._streams:
                self._connect(observer)
            return len(self._clients[observer].members(status="alive"))
        return 0

    def agrees(self) -> bool:
        tags = [{member.Name: member.Tags for member in client.members()} for client in self._clients.values()]
        return all(each == tags[0] for each in tags)

    def begin_change(self, name: str) -> None:
        self._changes += 1
        self._clients[name].begin_tags({"alias": self._alias})

    def knows_change(self, observer: str, name: str) -> bool:
        return any(member.Tags.get("alias") == self._alias for member in self._clients[observer].members(f"^{name}$"))

    def end_change(self, name: str) -> None:
        self._clients[name].end_tags()

    def told_change(self, name: str) -> None:
        self._told(name, lambda event, member: member.Tags.get("alias") == self._alias)

    def kill(self, name: str) -> None:
        self._processes.kill(name)
        self._clients.pop(name).close()
        self._streams.pop(name).close()

    def knows_loss(self, observer: str) -> bool:
        return bool(self._clients[observer].members(status="failed"))

    def told_loss(self, name: str) -> None:
        self._told(name, lambda event, member: event.Event == "member-failed")

    def judgement(self, observer: str, name: str) -> str:
        (member,) = self._clients[observer].members(f"^{name}$")
        return member.Status

    def close(self) -> None:
        for client in [*self._clients.values(), *self._streams.values()]:
            client.close()
        self._processes.close()

    @property
    def _alias(self) -> str:
        return f"alias-{self._changes}"

    def _connect(self, name: str) -> None:
        with self._network.inside():
            self._clients[name] = SerfClient(self._addresses[name], _RPC_PORT)
            stream = SerfClient(self._addresses[name], _RPC_PORT)
        stream.listen("member-update,member-failed")
        self._streams[name] = stream

    def _told(self, name: str, what: Callable[[Event, Member], bool]) -> None:
        """Read each stream up to an event of this member; those before it are of earlier rounds."""
        for observer, stream in self._streams.items():
            while observer != name:
                event = stream.event()
                if any(member.Name == name and what(event, member) for member in event.Members):
                    break
