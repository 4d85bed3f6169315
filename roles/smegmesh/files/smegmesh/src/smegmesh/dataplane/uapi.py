"""WireGuard's cross-platform userspace API: `key=value` lines over a Unix socket.

Source: https://www.wireguard.com/xplatform/. Encoding and parsing are pure; `call` alone talks.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

from smegmesh.dataplane.plane import (
    DeviceState,
    Endpoint,
    PeerChange,
    PeerState,
    PlaneError,
    held_key,
)
from smegmesh.identity.keys import public_key

_TIMEOUT = 10.0
_CHUNK = 1 << 16
_NO_KEY = "0" * 64


class UapiError(PlaneError):
    """The device refused a request; `code` is its errno."""

    def __init__(self, device: str, code: int) -> None:
        super().__init__(f"{device}: WireGuard refused the request: {os.strerror(code)}")
        self.code = code


def call(path: Path, lines: Iterable[str]) -> list[str]:
    """One request to a device's socket; the lines of the answer without `errno`.

    UapiError if the device refuses, PlaneError if it does not answer.
    """
    request = "".join(f"{line}\n" for line in lines) + "\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect(str(path))
            connection.sendall(request.encode())
            answer = _read_answer(connection)
    except OSError as error:
        raise PlaneError(f"{path.stem}: no answer from {path}: {error}") from error
    *body, last = answer.decode().split("\n\n")[0].splitlines() or [""]
    code = int(last.partition("=")[2]) if last.startswith("errno=") else None
    if code is None:
        raise PlaneError(f"{path.stem}: {path} broke off its answer")
    if code:
        raise UapiError(path.stem, -code)
    return body


def _read_answer(connection: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(b"\n\n"):
        chunk = connection.recv(_CHUNK)
        if not chunk:
            break
        answer += chunk
    return answer


def encode_changes(changes: Iterable[PeerChange]) -> Iterator[str]:
    """The lines of a `set` that carries out peer changes in order."""
    for change in changes:
        yield f"public_key={change.key.hex()}"
        if change.remove:
            yield "remove=true"
            continue
        if not change.add:
            yield "update_only=true"
        if change.preshared_key is not None:
            yield f"preshared_key={change.preshared_key.hex()}"
        if change.endpoint is not None:
            yield f"endpoint={encode_endpoint(change.endpoint)}"
        if change.keepalive is not None:
            yield f"persistent_keepalive_interval={change.keepalive}"
        if change.allowed_ips is not None:
            yield "replace_allowed_ips=true"
            yield from sorted(f"allowed_ip={network}" for network in change.allowed_ips)


def encode_endpoint(endpoint: Endpoint) -> str:
    host, port = endpoint
    return f"[{host}]:{port}" if ip_address(host).version == 6 else f"{host}:{port}"


def parse_endpoint(text: str) -> Endpoint:
    host, _colon, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def parse_device(lines: Iterable[str]) -> DeviceState:
    """A device from the answer to `get`. Keys unknown to us are skipped, as the protocol asks."""
    settings: dict[str, str] = {}
    peers: dict[bytes, list[tuple[str, str]]] = {}
    fields: list[tuple[str, str]] = []
    for line in lines:
        name, _equals, value = line.partition("=")
        if name == "public_key":
            fields = peers.setdefault(bytes.fromhex(value), [])
        elif peers:
            fields.append((name, value))
        else:
            settings[name] = value
    private = settings.get("private_key", _NO_KEY)
    return DeviceState(
        public_key=bytes(32) if private == _NO_KEY else public_key(bytes.fromhex(private)),
        listen_port=int(settings.get("listen_port", "0")),
        fwmark=int(settings.get("fwmark", "0")),
        peers={key: _parse_peer(peer) for key, peer in peers.items()},
    )


def _parse_peer(fields: list[tuple[str, str]]) -> PeerState:
    single = dict(fields)
    handshake = int(single.get("last_handshake_time_sec", "0")) + int(single.get("last_handshake_time_nsec", "0")) / 1e9
    return PeerState(
        endpoint=parse_endpoint(single["endpoint"]) if "endpoint" in single else None,
        allowed_ips=frozenset(ip_network(value) for name, value in fields if name == "allowed_ip"),
        keepalive=int(single.get("persistent_keepalive_interval", "0")),
        handshake=handshake or None,
        received=int(single.get("rx_bytes", "0")),
        sent=int(single.get("tx_bytes", "0")),
        preshared_key=held_key(bytes.fromhex(single.get("preshared_key", _NO_KEY))),
    )
