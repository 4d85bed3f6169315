"""Serf's RPC as far as a benchmark needs it: MessagePack over TCP, one request at a time."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from messagepack import end_of_object

_TIMEOUT = 20.0  # seconds; other tags are answered once they were broadcast
_PIECE = 1 << 16
_encode = msgspec.msgpack.encode
_T = TypeVar("_T")


class SerfError(Exception):
    """The agent refused, or went away."""


class Member(msgspec.Struct):
    """What an agent says of a member, as far as it is needed here."""

    Name: str
    Status: str
    Tags: dict[str, str]


class Event(msgspec.Struct):
    """What the event stream tells: `member-update`, `member-failed`, ... of these members."""

    Event: str
    Members: list[Member]


class _Header(msgspec.Struct):
    Error: str


class _Members(msgspec.Struct):
    Members: list[Member]


class SerfClient:
    """A connection to an agent's RPC address."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), _TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self._send("handshake", {"Version": 1})
        self._read_header()

    def members(self, name: str = "", status: str = "") -> list[Member]:
        """The members whose name and status match these regular expressions."""
        self._send("members-filtered", {"Tags": {}, "Name": name, "Status": status})
        self._read_header()
        return self._read(_Members).Members

    def begin_tags(self, tags: Mapping[str, str]) -> None:
        """Ask for these tags; `end_tags` waits for the answer."""
        self._send("tags", {"Tags": tags, "DeleteTags": []})

    def end_tags(self) -> None:
        """Wait until the other tags were broadcast."""
        self._read_header()

    def listen(self, kinds: str) -> None:
        """Have events of these kinds (with commas between) told from now on; nothing else may be asked here then."""
        self._send("stream", {"Type": kinds})
        self._read_header()

    def event(self) -> Event:
        """Wait for the next event."""
        self._read_header()
        return self._read(Event)

    def close(self) -> None:
        self._socket.close()

    def _send(self, command: str, body: object) -> None:
        self._socket.sendall(_encode({"Command": command, "Seq": 1}) + _encode(body))

    def _read_header(self) -> None:
        error = self._read(_Header).Error
        if error:
            raise SerfError(error)

    def _read(self, kind: type[_T]) -> _T:
        while (end := end_of_object(self._data)) is None:
            piece = self._socket.recv(_PIECE)
            if not piece:
                raise SerfError("the agent has closed the connection")
            self._data += piece
        data, self._data = self._data[:end], self._data[end:]
        return msgspec.msgpack.decode(data, type=kind)
