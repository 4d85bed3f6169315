"""An authority that issues certificates of every kind, and clients over real TLS."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smegmesh.control.tls import ApiTls
from smegmesh.identity.certificate import Authority, Grant, certificate_der, issue, make_authority, read_request
from smegmesh.identity.certificate import make_request as request_of
from smegmesh.identity.clock import CertificateClock
from smegmesh.identity.keys import IdentityKey
from smegmesh.identity.operator import issue_operator

DAY = 86400.0
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Shown:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Answer:
    status: int
    kind: str
    headers: http.client.HTTPMessage
    data: Any


class Issuer:
    """Who holds an authority's key."""

    def __init__(self, directory: Path, name: str = "default") -> None:
        directory.mkdir()
        self.directory = directory
        self.now = time.time()
        self.pem, self._key = make_authority(name, 365, now=self.now - 10 * DAY)
        self.authority = Authority(self.pem)
        self.file = directory / "authority.pem"
        self.file.write_bytes(self.pem)

    def operator(self, name: str = "alice", *, age: float = 60.0, life: float = DAY) -> Shown:
        key = IdentityKey.generate()
        start = self.now - age
        pem = issue_operator(self.pem, self._key, name, key.public, not_before=start, not_after=start + life)
        return self._write(name, pem, key)

    def node(self, name: str = "a1") -> Shown:
        key, node_key = IdentityKey.generate(), bytes(range(32))
        pem = issue(
            self.pem,
            self._key,
            read_request(request_of(key, name, node_key)),
            Grant(name, node_key, ("*",)),
            not_before=self.now - 60,
            not_after=self.now + DAY,
        )
        return self._write(name, pem, key)

    def serves(self, node: Shown, *others: Issuer, wall: Callable[[], float] = time.time) -> ApiTls:
        """What a node that holds certificates of these authorities shows and trusts."""
        return ApiTls(
            node.certificate,
            node.key,
            certificate_der(node.certificate.read_bytes()),
            tuple((issuer.authority, CertificateClock(wall)) for issuer in (self, *others)),
        )

    def _write(self, name: str, pem: bytes, key: IdentityKey) -> Shown:
        shown = Shown(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        shown.certificate.write_bytes(pem)
        shown.key.write_bytes(key.to_pem())
        return shown


def client_context(issuer: Issuer, shown: Shown | None) -> ssl.SSLContext:
    """As a client would make it: it trusts the authority alone and checks the node's name."""
    context = ssl.create_default_context(cafile=str(issuer.file))
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    return context


def ask_now(
    port: int, context: ssl.SSLContext, method: str = "GET", target: str = "/v1/status", body: bytes | None = None
) -> Answer:
    connection = http.client.HTTPConnection("a1", port, timeout=10)
    with socket.create_connection((LOOPBACK, port), timeout=10) as plain:
        connection.sock = context.wrap_socket(plain, server_hostname="a1")
        with connection.sock:
            connection.request(method, target, body)
            response = connection.getresponse()
            content = response.read()
    kind = (response.getheader("Content-Type") or "").partition(";")[0]
    return Answer(response.status, kind, response.headers, json.loads(content) if content else None)


async def ask(port: int, context: ssl.SSLContext, *request: Any) -> Answer:
    """One request over a new connection."""
    return await asyncio.to_thread(ask_now, port, context, *request)


def free_port() -> int:
    """A port for TCP and UDP, of those that the kernel gives to no connection meanwhile."""
    for _attempt in range(100):
        port = random.randrange(10_000, 32_000)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams, suppress(OSError):
            stream.bind((LOOPBACK, port))
            datagrams.bind((LOOPBACK, port))
            return port
    raise OSError(f"no port is free at {LOOPBACK}")
