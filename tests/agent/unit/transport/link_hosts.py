"""Authorities, nodes and links for the tests: real keys, real TLS, loopback."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from smegmesh.identity.certificate import (
    Authority,
    Grant,
    NodeCertificate,
    certificate_der,
    issue,
    make_authority,
    make_request,
    node_extensions,
    read_request,
    sign,
)
from smegmesh.identity.clock import CertificateClock
from smegmesh.identity.enrolled import chain
from smegmesh.identity.enroller import issue_enroller
from smegmesh.identity.grant import ISSUER_OID
from smegmesh.identity.keys import IdentityKey, generate_private_key, public_key
from smegmesh.identity.operator import issue_operator
from smegmesh.transport.framing import encode_frame
from smegmesh.transport.links import Links
from smegmesh.transport.settings import LinkSettings
from smegmesh.transport.tls import MeshTls

DAY = 86400.0
LOOPBACK = "::1"


class Operator:
    """An authority with its key, as the controller holds it."""

    def __init__(self, directory: Path, name: str = "default") -> None:
        self.directory = directory
        self.now = time.time()
        self.pem, self.key = make_authority(name, 365, now=self.now)

    def admit(
        self,
        name: str,
        meshes: tuple[str, ...] = ("*",),
        *,
        age: float = 60.0,
        life: float = DAY,
        wall: Callable[[], float] = time.time,
    ) -> MeshTls:
        """A node's settings: a certificate issued `age` seconds ago that is valid for `life` seconds."""
        identity = IdentityKey.generate()
        node_key = public_key(generate_private_key())
        request = read_request(make_request(identity, name, node_key))
        start = self.now - age
        certificate = issue(
            self.pem, self.key, request, Grant(name, node_key, meshes), not_before=start, not_after=start + life
        )
        directory = self.directory / f"{name}-{identity.public.hex()[:8]}"
        directory.mkdir()
        (directory / "node.pem").write_bytes(certificate)
        (directory / "identity.key").write_bytes(identity.to_pem())
        return MeshTls(Authority(self.pem), directory / "node.pem", directory / "identity.key", CertificateClock(wall))

    def enroll(self, name: str, *, ahead: float) -> MeshTls:
        """The settings of a node that an enroller of 30 days let in, and dated ahead."""
        tls, enroller, identity = self.admit(name), IdentityKey.generate(), IdentityKey.generate()
        node_key, end = public_key(generate_private_key()), self.now + 30 * DAY
        request = read_request(make_request(enroller, "enroller", node_key))
        pem = issue_enroller(self.pem, self.key, request, ["prod"], not_before=self.now, not_after=end)
        issuer = x509.load_pem_x509_certificate(pem)
        extensions = [
            *node_extensions(Grant(name, node_key, ("prod",))),
            x509.UnrecognizedExtension(ISSUER_OID, certificate_der(pem)),
        ]
        times = {"not_before": self.now + ahead, "not_after": end}
        leaf = sign(issuer.subject, enroller.private, name, identity.public, extensions, **times)
        tls.certificate_file.write_bytes(chain(certificate_der(leaf)))
        tls.key_file.write_bytes(identity.to_pem())
        return tls

    def appoint(self, name: str) -> MeshTls:
        """The settings of somebody with an operator certificate who would like to be a node."""
        tls, identity = self.admit(name), IdentityKey.generate()
        certificate = issue_operator(
            self.pem, self.key, name, identity.public, not_before=self.now - 60, not_after=self.now + DAY
        )
        tls.certificate_file.write_bytes(certificate)
        tls.key_file.write_bytes(identity.to_pem())
        return tls


@dataclass(frozen=True)
class Up:
    mesh_id: str
    link: int
    certificate: NodeCertificate
    dialled: bool


@dataclass(frozen=True)
class Frame:
    mesh_id: str
    link: int
    payload: bytes


@dataclass(frozen=True)
class Down:
    mesh_id: str
    link: int
    reason: str


@dataclass(frozen=True)
class DialFailed:
    mesh_id: str
    dial: int
    reason: str


class Host:
    """A host's links, and what they report in order."""

    def __init__(self, settings: LinkSettings | None = None) -> None:
        self.reports: asyncio.Queue[Up | Frame | Down | DialFailed] = asyncio.Queue()
        self.links = Links(
            on_up=lambda *report: self.reports.put_nowait(Up(*report)),
            on_frame=lambda *report: self.reports.put_nowait(Frame(*report)),
            on_down=lambda *report: self.reports.put_nowait(Down(*report)),
            on_dial_failed=lambda *report: self.reports.put_nowait(DialFailed(*report)),
            monotonic=time.monotonic,
            settings=settings or LinkSettings(),
        )

    async def listen(self, **meshes: MeshTls) -> Host:
        for mesh_id, tls in meshes.items():
            self.links.set_mesh(mesh_id, tls)
        await self.links.start("::", 0)
        return self

    def dial(self, other: Host, mesh_id: str = "prod", dial: int = 1) -> None:
        self.links.dial(mesh_id, dial, [f"[{LOOPBACK}]:{other.links.port}"])

    async def next(self) -> Up | Frame | Down | DialFailed:
        return await asyncio.wait_for(self.reports.get(), 10)

    async def up(self) -> Up:
        report = await self.next()
        assert isinstance(report, Up), report
        return report

    async def frame(self) -> bytes:
        report = await self.next()
        assert isinstance(report, Frame), report
        return report.payload

    async def down(self) -> str:
        report = await self.next()
        assert isinstance(report, Down), report
        return report.reason

    async def dial_failed(self) -> str:
        report = await self.next()
        assert isinstance(report, DialFailed), report
        return report.reason


async def connect(dialler: Host, acceptor: Host, mesh_id: str = "prod") -> tuple[Up, Up]:
    dialler.dial(acceptor, mesh_id)
    return await dialler.up(), await acceptor.up()


class Hosts:
    """Makes hosts and stops them."""

    def __init__(self) -> None:
        self._all: list[Host] = []

    def make(self, settings: LinkSettings | None = None) -> Host:
        self._all.append(Host(settings))
        return self._all[-1]

    async def stop(self) -> None:
        await asyncio.gather(*(host.links.stop() for host in self._all))


Run = Callable[[Callable[[Hosts], Awaitable[None]]], None]


def raw_context(tls: MeshTls | None) -> ssl.SSLContext:
    """A TLS client that checks nothing, for the tests that misbehave."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if tls is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def raw_tls(host: Host, tls: MeshTls | None, server_name: str | None = "prod") -> Streams:
    """A bare TLS connection to a host."""
    return await asyncio.open_connection(
        LOOPBACK, host.links.port, ssl=raw_context(tls), server_hostname=server_name or ""
    )


async def raw_link(host: Host, tls: MeshTls) -> Streams:
    """A bare TLS connection that has accepted the host's certificate: a link, for the host."""
    reader, writer = await raw_tls(host, tls)
    writer.write(encode_frame(b""))
    assert await reader.readexactly(4) == bytes(4)
    await host.up()
    return reader, writer


async def drained(reader: asyncio.StreamReader) -> bytes:
    """What the other side sent before it ended the connection, however it did."""
    data = b""
    try:
        while part := await asyncio.wait_for(reader.read(65536), 10):
            data += part
    except (ConnectionError, ssl.SSLError):
        pass
    return data
