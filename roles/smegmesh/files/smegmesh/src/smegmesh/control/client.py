"""A client of the agent's API: standard library only, so that it starts at once."""

from __future__ import annotations

import grp
import http.client
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from smegmesh.control.errors import ControlError, NotPermitted, NotRunning, Refused

SOCKET_PATH = Path("/run/smegmesh/api.sock")
_TIMEOUT = 30.0  # seconds
_RELOAD_TIMEOUT = 900.0  # seconds; a reload waits for the agent to act, and that may be for three hooks of eight files


_QUIET = 45.0  # seconds; an agent that follows with events says something every 15


class Client:
    """Asks the agent behind a socket. Every method raises ControlError: one line with what to do."""

    def __init__(
        self, path: Path = SOCKET_PATH, timeout: float = _TIMEOUT, reload_timeout: float = _RELOAD_TIMEOUT
    ) -> None:
        self._path = path
        self._timeout = timeout
        self._reload_timeout = reload_timeout

    def status(self) -> dict[str, Any]:
        """`types.Status` as plain data; other agents' fields may come and go."""
        answer: dict[str, Any] = self._ask("GET", "/v1/status")
        return answer

    def meshes(self) -> list[dict[str, Any]]:
        """`types.Mesh` of each mesh as plain data."""
        answer: list[dict[str, Any]] = self._ask("GET", "/v1/meshes")
        return answer

    def mesh(self, mesh: str) -> dict[str, Any]:
        """`types.Mesh` as plain data; Refused for a mesh the host is not in."""
        answer: dict[str, Any] = self._ask("GET", _path(mesh))
        return answer

    def members(self, mesh: str, liveness: str | None = None) -> list[dict[str, Any]]:
        """`types.Member` of each member, or of each that is so; Refused for a mesh the host is not in."""
        chosen = "" if liveness is None else f"?liveness={liveness}"
        answer: list[dict[str, Any]] = self._ask("GET", f"{_path(mesh, 'members')}{chosen}")
        return answer

    def routes(self, mesh: str) -> dict[str, Any]:
        """`types.Routes` as plain data; Refused for a mesh the host is not in."""
        answer: dict[str, Any] = self._ask("GET", _path(mesh, "routes"))
        return answer

    def services(self, mesh: str) -> list[dict[str, Any]]:
        """`types.Service` of each that is offered; Refused for a mesh the host is not in."""
        answer: list[dict[str, Any]] = self._ask("GET", _path(mesh, "services"))
        return answer

    def graph(self, mesh: str) -> dict[str, Any]:
        """`types.Graph` as plain data; Refused for a mesh the host is not in."""
        answer: dict[str, Any] = self._ask("GET", _path(mesh, "graph"))
        return answer

    def dot(self, mesh: str) -> str:
        """The same as text for Graphviz."""
        status, content = self._fetch("GET", f"{_path(mesh, 'graph')}?format=dot")
        return content.decode() if status < 400 else str(self._decode(status, content))

    def events(self, mesh: str | None = None, last: str | None = None) -> Iterator[tuple[str, dict[str, Any]] | None]:
        """Each `types.Event` with its id as it happens, after the one with the id `last`; None where nothing happened.

        Ends when the agent ends it. What a stream that broke off raises is NotRunning.
        """
        target = "/v1/events" if mesh is None else f"/v1/events?mesh={quote(mesh, safe='')}"
        connection = _UnixConnection(self._path, _QUIET)
        try:
            connection.request("GET", target, headers={} if last is None else {"Last-Event-ID": last})
            response = connection.getresponse()
            if response.status >= 400:
                self._decode(response.status, response.read())
            yield from read_events(response)
        except (OSError, http.client.HTTPException) as error:
            raise self._explain(error, _QUIET) from error
        finally:
            connection.close()

    def declare(self, mesh: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Be in a mesh as a declaration says: `types.Changed`, as all below; Refused, and nothing was changed."""
        return self._change("PUT", _path(mesh), content)

    def change(self, mesh: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change keys of the host's own declaration."""
        return self._change("PATCH", _path(mesh), changes)

    def leave(self, mesh: str) -> dict[str, Any]:
        """Leave a mesh."""
        return self._change("DELETE", _path(mesh))

    def describe(self, mesh: str, changes: Mapping[str, str | None]) -> dict[str, Any]:
        """Change alias and description of this node."""
        return self._change("PATCH", _path(mesh, "node"), changes)

    def offer(self, mesh: str, service: str, value: str) -> dict[str, Any]:
        """Offer a service."""
        return self._change("PUT", _path(mesh, "services", service), {"value": value})

    def withhold(self, mesh: str, service: str) -> dict[str, Any]:
        """Offer it no more."""
        return self._change("DELETE", _path(mesh, "services", service))

    def advertise(self, mesh: str, prefix: str) -> dict[str, Any]:
        """Advertise a prefix."""
        return self._change("PUT", _path(mesh, "routes", prefix))

    def withdraw(self, mesh: str, prefix: str) -> dict[str, Any]:
        """Advertise it no more."""
        return self._change("DELETE", _path(mesh, "routes", prefix))

    def static_peers(self, mesh: str) -> list[dict[str, Any]]:
        """`types.StaticPeer` of each that the host declares, as plain data; Refused for a mesh the host is not in."""
        answer: list[dict[str, Any]] = self._ask("GET", _path(mesh, "static_peers"))
        return answer

    def query(self, mesh: str, expression: str) -> Any:
        """What a JMESPath expression finds, as plain data; Refused for one that is none, or another mesh."""
        target = f"{_path(mesh, 'query')}?expression={quote(expression, safe='')}"
        return self._ask("GET", target)["result"]

    def diagnosis(self, mesh: str) -> dict[str, Any]:
        """`types.Diagnosis` as plain data; Refused for a mesh the host is not in."""
        answer: dict[str, Any] = self._ask("GET", _path(mesh, "diagnosis"))
        return answer

    def revoke(self, mesh: str, revocation: str) -> dict[str, Any]:
        """Hand over a revocation: `types.Removed` as plain data; Refused for what is none of the mesh."""
        answer: dict[str, Any] = self._ask("POST", _path(mesh, "revocations"), body=revocation.encode())
        return answer

    def forget(self, mesh: str, member: str) -> dict[str, Any]:
        """Take out a member that is gone: `types.Removed` as plain data; Refused for one that is not."""
        answer: dict[str, Any] = self._ask("DELETE", _path(mesh, "members", member))
        return answer

    def rotate(self, *, force: bool, check: bool = False) -> dict[str, Any]:
        """Replace the host's tunnel key: `types.Rotated` as plain data; Refused if members would not learn of it.

        With `check` it is only refused, or not, and stays. An agent that knows no check refuses that.
        """
        options = [f"{name}=true" for name, given in (("force", force), ("check", check)) if given]
        target = "/v1/tunnel-key" + ("?" + "&".join(options) if options else "")
        answer: dict[str, Any] = self._ask("POST", target, self._reload_timeout)  # it waits for a reload, too
        return answer

    def joins(self) -> list[dict[str, Any]]:
        """`types.Join` of each request that waits, as plain data; Refused where none are taken."""
        answer: list[dict[str, Any]] = self._ask("GET", "/v1/joins")
        return answer

    def approve(self, certificates: str) -> list[dict[str, Any]]:
        """Hand over certificates (PEM): the requests they answer, as `joins`; Refused if one answers none."""
        answer: list[dict[str, Any]] = self._ask("POST", "/v1/joins", body=certificates.encode())
        return answer

    def reject(self, fingerprint: str) -> dict[str, Any]:
        """Drop a request: what it was, as in `joins`; Refused if there is none."""
        answer: dict[str, Any] = self._ask("DELETE", f"/v1/joins/{quote(fingerprint, safe='')}")
        return answer

    def invite(self, mesh: str, key: str, seconds: int) -> dict[str, Any]:
        """Have a token let in its holder, by its public key: `types.Invited`; Refused where the host may not."""
        target = _path(mesh, "tokens")
        body = json.dumps({"key": key, "seconds": seconds}).encode()
        answer: dict[str, Any] = self._ask("POST", target, body=body, kind="application/json")
        return answer

    def reload(self) -> dict[str, Any]:
        """Have the declarations read again: `types.Reloaded` as plain data."""
        answer: dict[str, Any] = self._ask("POST", "/v1/reload", self._reload_timeout)
        return answer

    def _change(self, method: str, target: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = None if content is None else json.dumps(content).encode()
        answer: dict[str, Any] = self._ask(method, target, self._reload_timeout, body, "application/json")
        return answer

    def _ask(
        self,
        method: str,
        target: str,
        timeout: float | None = None,
        body: bytes | None = None,
        kind: str = "text/plain",
    ) -> Any:
        return self._decode(*self._fetch(method, target, timeout, body, kind))

    def _fetch(
        self,
        method: str,
        target: str,
        timeout: float | None = None,
        body: bytes | None = None,
        kind: str = "text/plain",
    ) -> tuple[int, bytes]:
        timeout = self._timeout if timeout is None else timeout
        connection = _UnixConnection(self._path, timeout)
        try:
            connection.request(method, target, body, headers={"Accept": "application/json", "Content-Type": kind})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._explain(error, timeout) from error
        finally:
            connection.close()

    def _decode(self, status: int, content: bytes) -> Any:
        try:
            answer = json.loads(content)
        except ValueError:
            raise ControlError(f"{self._path}: the answer is not JSON", "is it smegd that listens there?") from None
        if status < 400:
            return answer
        problem = answer if isinstance(answer, dict) else {}
        what = str(problem.get("detail") or f"HTTP status {status}")
        fix = str(problem.get("fix") or "see `journalctl -u smegd`")
        if status == 403:
            raise NotPermitted(what, fix)
        if status == 503 and problem.get("title") == "starting":
            raise NotRunning(what, fix)
        raise Refused(status, what, fix)

    def _explain(self, error: Exception, timeout: float) -> ControlError:
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            return NotRunning(
                f"smegd is not running, or still starting ({self._path})",
                "start it with `systemctl start smegd`, or see `systemctl status smegd` if it should be",
            )
        if isinstance(error, PermissionError):
            return NotPermitted(f"no permission for {self._path}", f"use sudo, or join {_group_of(self._path)}")
        if isinstance(error, TimeoutError):
            return ControlError(f"{self._path}: no answer within {timeout:g} s", "see `journalctl -u smegd`")
        if isinstance(error, (ConnectionError, http.client.HTTPException)):
            return NotRunning("smegd went away while it was asked (it starts or stops)", "try again in a few seconds")
        return ControlError(f"{self._path}: {error}", "see `systemctl status smegd`")


def _path(*parts: str) -> str:
    """The path of a mesh, or of something of it."""
    return "/v1/meshes/" + "/".join(quote(part, safe="") for part in parts)


def read_events(lines: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any]] | None]:
    """Server-sent events (WHATWG HTML, 9.2.6) as `control.streaming` sends them; None for what is no event."""
    number, data = "", b""
    for line in lines:
        name, _colon, value = line.rstrip(b"\n").partition(b": ")
        if name == b"id":
            number = value.decode()
        elif name == b"data":
            data = value
        elif not line.strip():
            yield (number, json.loads(data)) if data else None
            data = b""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _group_of(path: Path) -> str:
    """`group NAME (usermod …)` for the error text; the directory's group where the socket cannot be seen."""
    for candidate in (path, path.parent):
        try:
            name = grp.getgrgid(os.stat(candidate).st_gid).gr_name
        except (OSError, KeyError):
            continue
        return f"the group {name} (`usermod -aG {name} USER`, then log in again)"
    return "the group of the agent"
