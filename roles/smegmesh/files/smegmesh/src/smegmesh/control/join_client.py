"""Asking a peer to join, from a host that has no certificate yet. Standard library only.

Nothing that comes back is trusted here: whoever asks verifies the certificates, and compares fingerprints.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

from smegmesh.control.errors import ControlError

JOIN_PORT = 4082
_TIMEOUT = 15.0  # seconds; from the first connection to the end of the answer
_MAX_ANSWER = 256 * 1024
_FIX = "is that a peer of the mesh, with smegmesh_join_listen set?"
_STATES = ("pending", "approved", "refused")


class NobodyThere(ControlError):
    """The name of a peer does not resolve, or nothing listens at its port."""


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """What a peer says to a request: `state` is pending, approved or refused, then with `reason` and `fix`.

    `authority` and `certificate` (only of an approved one) are PEM, `shown` is the certificate (DER) of the peer's own
    that it proved to have the key of. `link_port`: where it takes links.
    """

    state: str
    shown: bytes = field(repr=False)
    authority: bytes = b""
    certificate: bytes = field(default=b"", repr=False)
    link_port: int = 0
    reason: str = ""
    fix: str = ""


def ask_to_join(host: str, port: int, mesh: str, request: bytes, timeout: float = _TIMEOUT) -> JoinAnswer:
    """Send a request (PEM) to a peer; ControlError where there is no proper answer, NobodyThere where there is nobody.

    All of it has `timeout` seconds, but for the look-up of a name, which takes as long as the host's resolver says.
    """
    where = f"{host} port {port}/tcp"
    end = time.monotonic() + timeout
    try:
        with _connect(host, port, end) as plain:
            plain.settimeout(_left(end))  # a handshake has it as a whole
            with _context().wrap_socket(plain, server_hostname=mesh) as session:
                session.settimeout(_left(end))
                session.sendall(request)
                return _decode(_read(session, end), session.getpeercert(binary_form=True) or b"")
    except (ConnectionResetError, BrokenPipeError, EOFError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
        what = "it closed the connection: it takes one request in 10 s from an address, and few at a time"
        raise ControlError(f"{where}: {what}", "wait, and ask again") from None
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:  # the resolver is not there yet
            raise _no_answer(where, str(error.strerror)) from None
        raise NobodyThere(f"{host}: {error.strerror}", "check the name, or give an address") from None
    except ConnectionRefusedError as error:
        raise NobodyThere(f"{where}: {error.strerror}", _FIX) from None
    except ssl.SSLError as error:
        if "UNRECOGNIZED_NAME" in (error.reason or ""):
            raise ControlError(f"{where}: that host is not in mesh {mesh}", "ask one that is") from None
        raise _no_answer(where, error.reason or str(error)) from None
    except (OSError, ValueError) as error:
        text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise _no_answer(where, text) from None


def _connect(host: str, port: int, end: float) -> socket.socket:
    """To the first address that takes it; each has its share of the time."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for number, (family, kind, protocol, _name, address) in enumerate(addresses):
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(_left(end) / (len(addresses) - number))
            plain.connect(address)
        except OSError:
            plain.close()
            if number + 1 == len(addresses):
                raise
        else:
            return plain
    raise OSError("the name has no address")


def _left(end: float) -> float:
    """Seconds until then; TimeoutError if there are none."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the server name is the mesh's
    context.verify_mode = ssl.CERT_NONE  # whose certificate it is, is looked at once the authority is known
    return context


def _read(session: ssl.SSLSocket, end: float) -> bytes:
    answer = b""
    while not answer.endswith(b"\n") and len(answer) <= _MAX_ANSWER:
        session.settimeout(_left(end))
        data = session.recv(_MAX_ANSWER)
        if not data:
            raise EOFError
        answer += data
    return answer


def _decode(answer: bytes, shown: bytes) -> JoinAnswer:
    """ValueError for what no agent says."""
    try:
        data: Any = json.loads(answer)
    except (ValueError, RecursionError):
        raise ValueError("the answer is not JSON") from None
    if not isinstance(data, dict) or data.get("version") != 1 or data.get("state") not in _STATES:
        raise ValueError("the answer is of no version that this program knows")
    texts = {key: data.get(key, "") for key in ("authority", "certificate", "reason", "fix")}
    port = data.get("link_port", 0)
    if (
        not all(isinstance(text, str) and text.isascii() for text in texts.values())
        or isinstance(port, bool)
        or not isinstance(port, int)
    ):
        raise ValueError("the answer is malformed")
    if data["state"] != "refused" and not (texts["authority"] and 0 < port < 65536):
        raise ValueError("the answer lacks the authority's certificate or a port")
    return JoinAnswer(
        state=data["state"],
        shown=shown,
        authority=texts["authority"].encode("ascii"),
        certificate=texts["certificate"].encode("ascii"),
        link_port=port,
        reason=texts["reason"],
        fix=texts["fix"],
    )


def _no_answer(where: str, what: str) -> ControlError:
    return ControlError(f"{where}: {what}", _FIX)
