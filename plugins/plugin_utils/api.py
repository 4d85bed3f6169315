# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agents' read API, asked from the controller: over HTTPS, or over the socket of an agent on this machine."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
import ssl
import typing as t
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlsplit

from ansible.module_utils.basic import missing_required_lib

try:
    import requests
    from requests.adapters import HTTPAdapter

    REQUESTS_ERROR = None
except ImportError as error:
    HTTPAdapter = object
    REQUESTS_ERROR = error


class ApiError(Exception):
    """No answer, or one that is of no use: one line with what, where and what to do."""


class _NoAnswer(Exception):
    """An endpoint that cannot be asked: the reason, without the endpoint."""


@dataclasses.dataclass(frozen=True)
class Connection:
    """Which agents are asked, in order, and as whom; C(timeout) is in seconds."""

    endpoints: Sequence[str]
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    timeout: float = 10.0

    @classmethod
    def from_options(cls, get_option: Callable[[str], t.Any]) -> Connection:
        """What a plugin with the doc fragment C(connection) was told."""
        return cls(**{field.name: get_option(field.name) for field in dataclasses.fields(cls)})


def variables(available: dict[str, t.Any] | None, templar: t.Any) -> dict[str, t.Any]:
    """Of the variables that a lookup was handed, those of the doc fragment C(connection), worked out.

    Ansible hands them over as they were written, with the templates in them.
    """
    own = {name: value for name, value in (available or {}).items() if name.startswith("smegmesh_query_")}
    return {name: templar.template(value) for name, value in own.items()}


class Client:
    """Asks the first agent that answers, and goes on with the next one when it no longer does.

    An endpoint that gave no answer is not asked again. Every method raises ApiError.
    """

    def __init__(self, connection: Connection) -> None:
        self._timeout = connection.timeout
        if not connection.endpoints:
            raise ApiError("endpoints is empty: name at least one agent, as https://HOST:PORT or unix:///PATH")
        if self._timeout <= 0:
            raise ApiError(f"timeout must be more than 0 seconds, not {self._timeout:g}")
        schemes = {_scheme(endpoint) for endpoint in connection.endpoints}
        self._session = _session(connection) if "https" in schemes else None
        self._left = list(connection.endpoints)
        self._reasons: list[str] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._session is not None:
            self._session.close()

    @property
    def endpoint(self) -> str | None:
        """The agent that gave the last answer, or None when none is left."""
        return self._left[0] if self._left else None

    def status(self) -> dict[str, t.Any]:
        """The agent and its meshes."""
        return self._ask("/v1/status", dict)

    def meshes(self) -> list[dict[str, t.Any]]:
        """The meshes that the agent is in."""
        return self._ask("/v1/meshes", list)

    def members(self, mesh: str) -> list[dict[str, t.Any]]:
        """The members of a mesh as the agent sees them."""
        return self._ask(f"/v1/meshes/{quote(mesh, safe='')}/members", list)

    def choose(self, mesh: str | None) -> str:
        """The mesh that is meant: the one named, or the only one that the agent is in."""
        if mesh:
            return mesh
        meshes = [str(each.get("mesh")) for each in self.meshes()]
        if len(meshes) != 1:
            known = ", ".join(meshes) or "none"
            raise ApiError(f"{self.endpoint}: the meshes of this agent are: {known}: say with mesh which one is meant")
        return meshes[0]

    def _ask(self, target: str, wanted: type) -> t.Any:
        while self._left:
            try:
                status, content = self._get(self._left[0], target)
            except _NoAnswer as error:
                self._reasons.append(f"{self._left.pop(0)} ({error})")
            else:
                return _decode(self._left[0], target, status, content, wanted)
        raise ApiError("no agent answers: " + ", ".join(self._reasons) + ": see that smegd runs there and is reachable")

    def _get(self, endpoint: str, target: str) -> tuple[int, bytes]:
        if _scheme(endpoint) == "unix":
            return _get_unix(urlsplit(endpoint).path, target, self._timeout)
        try:
            response = self._session.get(
                endpoint.rstrip("/") + target,
                headers={"Accept": "application/json"},
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.exceptions.RequestException as error:
            raise _NoAnswer(_reason(error, self._timeout)) from error
        return response.status_code, response.content


def snapshot(client: Client, mesh: str | None = None) -> dict[str, t.Any]:
    """C(status), C(meshes) and, by mesh id, C(members): of one mesh, or of all that are up."""
    status = client.status()
    meshes = status.get("meshes") or []
    asked = [mesh] if mesh else [each["mesh"] for each in meshes if each.get("state") == "up"]
    return {"status": status, "meshes": meshes, "members": {each: client.members(each) for each in asked}}


def _scheme(endpoint: str) -> str:
    """C(https) or C(unix); ApiError for what is neither."""
    try:
        parts = urlsplit(endpoint)
        plain = not (parts.query or parts.fragment or parts.username) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, plain = urlsplit(""), False
    if plain and parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return "unix"
    if plain and parts.scheme == "https" and parts.hostname and parts.path in ("", "/"):
        return "https"
    raise ApiError(f"endpoint {endpoint!r} is not understood: write https://HOST:PORT or unix:///PATH")


# --- HTTPS ----------------------------------------------------------------------------------------


class _NodesAdapter(HTTPAdapter):
    """Servers are nodes of the authority: their certificates carry node names, not the addresses that are dialled."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: t.Any, **options: t.Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, assert_hostname=False, **options)


def _session(connection: Connection) -> t.Any:
    if REQUESTS_ERROR is not None:
        raise ApiError(missing_required_lib("requests", reason="for endpoints over HTTPS")) from REQUESTS_ERROR
    session = requests.Session()
    # Neither a proxy nor another store of authorities from the environment comes between.
    session.trust_env = False
    session.mount("https://", _NodesAdapter(_tls(connection)))
    # Without it requests would add the public authorities to those of the context.
    session.verify = connection.ca
    return session


def _tls(connection: Connection) -> ssl.SSLContext:
    """Mutual TLS 1.3, as a node of one authority."""
    for option in ("ca", "client_cert"):
        if not getattr(connection, option):
            raise ApiError(f"{option} is missing: endpoints over HTTPS need ca, client_cert and client_key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(connection.ca)
    except OSError as error:
        raise ApiError(f"ca: {connection.ca}: {_text(error)}: name the authority's certificate, in PEM") from error
    key = connection.client_key or connection.client_cert
    try:
        # A password that is given keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(connection.client_cert, key, password="")
    except OSError as error:
        raise ApiError(
            f"client_cert, client_key: {connection.client_cert}, {key}: {_text(error)}: "
            "name a certificate and its own private key, not encrypted, in PEM"
        ) from error
    return context


# --- the socket of this machine -------------------------------------------------------------------


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _get_unix(path: str, target: str, timeout: float) -> tuple[int, bytes]:
    connection = _UnixConnection(path, timeout)
    try:
        connection.request("GET", target, headers={"Accept": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise _NoAnswer(_reason(error, timeout)) from error
    finally:
        connection.close()


# --- answers and reasons --------------------------------------------------------------------------


def _decode(endpoint: str, target: str, status: int, content: bytes, wanted: type) -> t.Any:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if status >= 400:
        problem = answer if isinstance(answer, dict) else {}
        said = [str(problem[key]) for key in ("detail", "fix") if problem.get(key)]
        raise ApiError(f"{endpoint}: " + (": ".join(said) or f"HTTP status {status} for {target}"))
    if status != 200 or not isinstance(answer, wanted):
        raise ApiError(f"{endpoint}: the answer to {target} is not an agent's: is it smegd that listens there?")
    return answer


def _reason(error: BaseException, timeout: float) -> str:
    """Why there was no answer, from the innermost cause that is the system's or TLS's."""
    cause: BaseException | None = error
    while cause is not None:
        error = cause if isinstance(cause, OSError) else error
        cause = _cause(cause)
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, FileNotFoundError):
        return "there is no such socket"
    return _text(error)


def _cause(error: BaseException) -> BaseException | None:
    """What an exception was made of; urllib3 gives some causes as arguments only."""
    given = (argument for argument in error.args if isinstance(argument, BaseException))
    return error.__cause__ or error.__context__ or next(given, None)


def _text(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return "TLS: " + error.reason.lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
