"""TLS of links: a mesh's contexts, and a session without sockets.

TLS 1.3, both sides with a certificate; each mesh trusts its own authority
alone. OpenSSL verifies the chain without its clock: time is checked by
`check_peer`, against a clock that certificates hold up.

The session runs over memory buffers rather than asyncio's own TLS, which drops
the alert of a failed handshake: the other side would not learn why.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smegmesh.identity.address import check_mesh_id
from smegmesh.identity.certificate import (
    Authority,
    CertificateError,
    NodeCertificate,
    check_time,
    leaf_der,
)
from smegmesh.identity.clock import CertificateClock

_X509_V_FLAG_NO_CHECK_TIME = 0x200000  # openssl/x509_vfy.h; the ssl module does not name it
_READ = 64 * 1024

ChooseContext = Callable[[str | None], "MeshContext | None"]


@dataclass(frozen=True, slots=True)
class MeshTls:
    """With what a host takes part in a mesh: whom it trusts, its own certificate and identity key (files, PEM)."""

    authority: Authority
    certificate_file: Path
    key_file: Path
    clock: CertificateClock


class TlsSettingsError(ValueError):
    """A certificate or key file that cannot be used for a mesh, and why."""


class PeerRefused(Exception):
    """The other side's certificate does not admit it; `kind` is one word for counters."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class MeshContext(ssl.SSLContext):
    """A TLS context that knows its mesh."""

    mesh_id: str
    tls: MeshTls


@dataclass(frozen=True, slots=True)
class MeshContexts:
    """A mesh's contexts for links it accepts and links it dials."""

    accept: MeshContext
    dial: MeshContext


def mesh_contexts(mesh_id: str, tls: MeshTls) -> MeshContexts:
    """Make a mesh's contexts; TlsSettingsError names the file that is wrong and why.

    An expired certificate is accepted here: it is the others who refuse it, and
    a renewed one takes its place without a restart.
    """
    check_mesh_id(mesh_id)
    _check_own_certificate(mesh_id, tls)
    return MeshContexts(
        accept=_mesh_context(mesh_id, tls, ssl.PROTOCOL_TLS_SERVER),
        dial=_mesh_context(mesh_id, tls, ssl.PROTOCOL_TLS_CLIENT),
    )


def listener_context(choose: ChooseContext, *, anybody: bool = False) -> ssl.SSLContext:
    """The context that every accepted connection begins with; `choose` gives the one for a server name.

    With `anybody` no certificate is asked of the other side: for hosts that have none yet, never for links.

    OpenSSL takes certificate and trusted authority from the chosen context, all
    else from this one (SSL_set_SSL_CTX), so both are made alike.
    """

    def choose_context(session: ssl.SSLObject, name: str | None, _before: ssl.SSLContext) -> int | None:
        context = choose(name)
        if context is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        session.context = context
        return None

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    context.sni_callback = choose_context
    if anybody:
        context.verify_mode = ssl.CERT_NONE
    return context


def check_peer(context: MeshContext, der: bytes | None) -> NodeCertificate:
    """The other side's certificate if it admits it to the context's mesh now, else PeerRefused."""
    tls = context.tls
    try:
        certificate = tls.authority.verify(der or b"")
    except CertificateError as error:
        raise PeerRefused("certificate", str(error)) from None
    tls.clock.saw(certificate.issued)
    try:
        check_time(certificate, tls.clock.now())
    except CertificateError as error:
        raise PeerRefused("expired", str(error)) from None
    if not certificate.grant.allows_mesh(context.mesh_id):
        raise PeerRefused(
            "not_granted",
            f"the certificate of {certificate.grant.node_name!r} does not grant the mesh {context.mesh_id!r}",
        )
    return certificate


class TlsSession:
    """One TLS connection as bytes in, bytes out. Methods raise ssl.SSLError; what is then in `take` is the alert."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        self.established = False
        self.ended = False  # the other side has said that it sends no more

    def feed(self, data: bytes) -> bytes:
        """Take in what the network brought (b"" starts a handshake); what it says in plain."""
        self._incoming.write(data)
        if not self.established:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                return b""
            self.established = True
        return self._read()

    def _read(self) -> bytes:
        parts = []
        try:
            while part := self._object.read(_READ):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(parts)

    def encrypt(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            view = view[self._object.write(view) :]

    def end(self) -> None:
        """Say that no more will be sent."""
        # Wants the other side's answer, which we do not wait for, or was never established.
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()

    def take(self) -> bytes:
        """What is to be written to the network."""
        return self._outgoing.read()

    @property
    def context(self) -> ssl.SSLContext:
        """After the server name was read, the mesh's context."""
        return self._object.context

    @property
    def mesh_id(self) -> str:
        """Empty until the server name was read."""
        context = self._object.context
        return context.mesh_id if isinstance(context, MeshContext) else ""

    def peer_certificate(self) -> bytes | None:
        return self._object.getpeercert(binary_form=True)


def explain(error: ssl.SSLError) -> tuple[str, str]:
    """A handshake's failure as one word for counters and a text for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "authority", f"certificate of another authority ({error.verify_message})"
    name = (error.reason or "").upper()
    for part, kind, text in _REASONS:
        if part in name:
            return kind, text
    return "tls", f"TLS failed ({error.reason or error})"


_REASONS = (
    ("UNRECOGNIZED_NAME", "mesh_unknown", "the mesh is unknown there"),
    ("CALLBACK_FAILED", "mesh_unknown", "the mesh is unknown here"),
    ("UNKNOWN_CA", "authority", "our certificate is of another authority than theirs"),
    ("DID_NOT_RETURN_A_CERTIFICATE", "certificate", "no certificate was shown"),
    ("CERTIFICATE_REQUIRED", "certificate", "they want a certificate, and we showed none"),
    ("UNSUPPORTED_PROTOCOL", "tls", "no TLS 1.3"),
    ("PROTOCOL_VERSION", "tls", "no TLS 1.3"),
    ("WRONG_VERSION_NUMBER", "tls", "what is there does not speak TLS"),
    ("HTTP_REQUEST", "tls", "what is there does not speak TLS"),
)


def _mesh_context(mesh_id: str, tls: MeshTls, protocol: int) -> MeshContext:
    context = MeshContext(protocol)
    context.mesh_id = mesh_id
    context.tls = tls
    _restrict(context)
    context.load_verify_locations(cadata=tls.authority.ders)
    try:
        context.load_cert_chain(tls.certificate_file, tls.key_file, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            what = f"does not belong to the certificate in {tls.certificate_file}: request a certificate for it"
        else:
            what = f"is not an unencrypted private key in PEM ({error.reason})"
        raise TlsSettingsError(f"mesh {mesh_id!r}: the key in {tls.key_file} {what}") from None
    except OSError as error:  # gone since they were looked at; OpenSSL does not say which
        what = f"cannot read {tls.certificate_file} or {tls.key_file}: {error.strerror}"
        raise TlsSettingsError(f"mesh {mesh_id!r}: {what}") from None
    return context


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the server name is the mesh's, the certificate's the node's
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags(_X509_V_FLAG_NO_CHECK_TIME)
    context.options |= ssl.OP_NO_TICKET
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # every link shows its certificate: nothing is resumed


def _check_own_certificate(mesh_id: str, tls: MeshTls) -> None:
    try:
        certificate = tls.authority.verify(leaf_der(tls.certificate_file.read_bytes()))
        tls.key_file.open("rb").close()
    except OSError as error:
        raise TlsSettingsError(f"mesh {mesh_id!r}: cannot read {error.filename}: {error.strerror}") from None
    except CertificateError as error:
        raise TlsSettingsError(f"mesh {mesh_id!r}: {tls.certificate_file}: {error}") from None
    if not certificate.grant.allows_mesh(mesh_id):
        raise TlsSettingsError(
            f"mesh {mesh_id!r}: the certificate in {tls.certificate_file} does not grant this mesh: "
            "have it issued again with the mesh in its grant"
        )
    tls.clock.saw(certificate.issued)


def _no_password() -> str:
    return ""  # else OpenSSL would ask on the terminal
