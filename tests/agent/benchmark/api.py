"""The agent's API over a connection that stays open: to ask often and disturb little.

`smegmesh.control.client` opens a connection for each request, which costs both sides more than the answer.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from smegmesh.control import types

_TIMEOUT = 20.0  # seconds
_PIECE = 1 << 16
_T = TypeVar("_T")


class Api:
    """A connection to an agent's socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_TIMEOUT)
        self._socket.connect(str(path))

    def mesh(self) -> types.Mesh:
        """The one mesh of this host."""
        self._send("GET", "/v1/meshes")
        (mesh,) = self._answer(list[types.Mesh])
        return mesh

    def members(self, mesh: str) -> dict[str, types.Member]:
        """By name."""
        self._send("GET", f"/v1/meshes/{mesh}/members")
        return {member.name: member for member in self._answer(list[types.Member])}

    def read(self, target: str) -> bytes:
        """What is at a path, as it is sent."""
        self._send("GET", target)
        return self._body()

    def begin_reload(self) -> None:
        """Have the declarations read again; `end_reload` waits for the answer."""
        self._send("POST", "/v1/reload")

    def end_reload(self) -> None:
        """Wait until the agent has acted on them."""
        self._answer(types.Reloaded)

    def close(self) -> None:
        self._socket.close()

    def _send(self, method: str, target: str) -> None:
        self._socket.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def _answer(self, kind: Any) -> Any:
        return msgspec.json.decode(self._body(), type=kind)

    def _body(self) -> bytes:
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head, body = data[:end].decode("ascii").splitlines(), bytearray(data[end + 4 :])
        length = next(int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:"))
        while len(body) < length:
            body += self._more()
        if " 200 " not in f"{head[0]} ":
            raise RuntimeError(f"{head[0]}: {body.decode()}")
        return bytes(body)

    def _more(self) -> bytes:
        piece = self._socket.recv(_PIECE)
        if not piece:
            raise ConnectionError("the agent has closed the connection")
        return piece
