"""A client of the agent's API: standard library only, so that it starts at once."""

from __future__ import annotations

import grp
import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from smegmesh.control.errors import ControlError, NotPermitted, NotRunning, Refused

SOCKET_PATH = Path("/run/smegmesh/api.sock")
_TIMEOUT = 30.0  # seconds
_RELOAD_TIMEOUT = 900.0  # seconds; a reload waits for the agent to act, and that may be for three hooks of eight files


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

    def members(self, mesh: str) -> list[dict[str, Any]]:
        """`types.Member` of each member as plain data; Refused for a mesh the host is not in."""
        answer: list[dict[str, Any]] = self._ask("GET", f"/v1/meshes/{quote(mesh, safe='')}/members")
        return answer

    def static_peers(self, mesh: str) -> list[dict[str, Any]]:
        """`types.StaticPeer` of each that the host declares, as plain data; Refused for a mesh the host is not in."""
        answer: list[dict[str, Any]] = self._ask("GET", f"/v1/meshes/{quote(mesh, safe='')}/static_peers")
        return answer

    def query(self, mesh: str, expression: str) -> Any:
        """What a JMESPath expression finds, as plain data; Refused for one that is none, or another mesh."""
        target = f"/v1/meshes/{quote(mesh, safe='')}/query?expression={quote(expression, safe='')}"
        return self._ask("GET", target)["result"]

    def diagnosis(self, mesh: str) -> dict[str, Any]:
        """`types.Diagnosis` as plain data; Refused for a mesh the host is not in."""
        answer: dict[str, Any] = self._ask("GET", f"/v1/meshes/{quote(mesh, safe='')}/diagnosis")
        return answer

    def revoke(self, mesh: str, revocation: str) -> dict[str, Any]:
        """Hand over a revocation: `types.Removed` as plain data; Refused for what is none of the mesh."""
        target = f"/v1/meshes/{quote(mesh, safe='')}/revocations"
        answer: dict[str, Any] = self._ask("POST", target, body=revocation.encode())
        return answer

    def forget(self, mesh: str, member: str) -> dict[str, Any]:
        """Take out a member that is gone: `types.Removed` as plain data; Refused for one that is not."""
        target = f"/v1/meshes/{quote(mesh, safe='')}/members/{quote(member, safe='')}"
        answer: dict[str, Any] = self._ask("DELETE", target)
        return answer

    def rotate(self, *, force: bool) -> dict[str, Any]:
        """Replace the host's tunnel key: `types.Rotated` as plain data; Refused if members would not learn of it."""
        target = f"/v1/tunnel-key{'?force=true' if force else ''}"
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
        target = f"/v1/meshes/{quote(mesh, safe='')}/tokens"
        body = json.dumps({"key": key, "seconds": seconds}).encode()
        answer: dict[str, Any] = self._ask("POST", target, body=body, kind="application/json")
        return answer

    def reload(self) -> dict[str, Any]:
        """Have the declarations read again: `types.Reloaded` as plain data."""
        answer: dict[str, Any] = self._ask("POST", "/v1/reload", self._reload_timeout)
        return answer

    def _ask(
        self,
        method: str,
        target: str,
        timeout: float | None = None,
        body: bytes | None = None,
        kind: str = "text/plain",
    ) -> Any:
        timeout = self._timeout if timeout is None else timeout
        connection = _UnixConnection(self._path, timeout)
        try:
            connection.request(method, target, body, headers={"Accept": "application/json", "Content-Type": kind})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._explain(error, timeout) from error
        finally:
            connection.close()
        return self._decode(response.status, content)

    def _decode(self, status: int, content: bytes) -> Any:
        try:
            answer = json.loads(content)
        except ValueError:
            raise ControlError(f"{self._path}: the answer is not JSON: is it smegd that listens there?") from None
        if status < 400:
            return answer
        problem = answer if isinstance(answer, dict) else {}
        text = ": ".join(str(problem[key]) for key in ("detail", "fix") if problem.get(key)) or f"HTTP status {status}"
        if status == 403:
            raise NotPermitted(text)
        if status == 503 and problem.get("title") == "starting":
            raise NotRunning(text)
        raise Refused(status, text)

    def _explain(self, error: Exception, timeout: float) -> ControlError:
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            return NotRunning(
                f"smegd is not running, or still starting ({self._path}): start it with `systemctl start smegd`, "
                "or see `systemctl status smegd` if it should be"
            )
        if isinstance(error, PermissionError):
            return NotPermitted(f"no permission for {self._path}: use sudo, or join {_group_of(self._path)}")
        if isinstance(error, TimeoutError):
            return ControlError(f"{self._path}: no answer within {timeout:g} s: see `journalctl -u smegd`")
        if isinstance(error, (ConnectionError, http.client.HTTPException)):
            return NotRunning("smegd went away while it was asked (it starts or stops): try again in a few seconds")
        return ControlError(f"{self._path}: {error}: see `systemctl status smegd`")


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
