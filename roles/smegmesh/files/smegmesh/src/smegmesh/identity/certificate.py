"""Requests, certificates, and the authority that issues and verifies them (X.509, RFC 5280).

A node's certificate binds its name (subject), its Ed25519 identity key (subject
key) and its grant (a private extension). Signature and contents are verified
here without a clock; `check_time` is for the moments at which time counts.
What operators show instead is in `operator.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from smegmesh.identity.enrolled import Enroller, issuer_of, read_enroller
from smegmesh.identity.fields import (
    PARSE_ERRORS,
    CertificateError,
    certificate_der,
    certificate_ders,
    ed25519_bytes,
    error_text,
    key_usage,
    leaf_der,
    make_name,
    private_extension,
    read_common_name,
    to_datetime,
    to_seconds,
    to_text,
)
from smegmesh.identity.grant import (
    ANY_MESH,
    GRANT_OID,
    NODE_KEY_OID,
    Grant,
    check_node_name,
    decode_grant,
    decode_node_key,
    encode_grant,
    encode_node_key,
)
from smegmesh.identity.keys import IdentityKey, load_ed25519_pem, same_key, verify

__all__ = [
    "ANY_MESH",
    "Authority",
    "CertificateError",
    "Grant",
    "NodeCertificate",
    "NotIssued",
    "Request",
    "certificate_der",
    "check_node_name",
    "check_time",
    "issue",
    "leaf_der",
    "make_authority",
    "make_request",
    "read_request",
    "sign_certificate",
]

# OpenSSL takes a chain of 100 KiB at most from the other side (SSL_CTX_set_max_cert_list).
MAX_CERTIFICATE = 96 * 1024
_USAGES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
_Contents = TypeVar("_Contents")


class NotIssued(CertificateError):
    """A certificate that this authority did not issue; another one may have."""


class Dated(Protocol):
    """A verified certificate, as far as its time goes; see `NodeCertificate`."""

    @property
    def name(self) -> str: ...

    @property
    def not_before(self) -> int: ...

    @property
    def not_after(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a host asks a certificate for; its signature was verified."""

    node_name: str
    node_key: bytes
    identity_key: bytes


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    """A verified certificate.

    `fingerprint` is SHA-256 of `der`; `not_before` and `not_after`, both
    included, are seconds since the epoch. `enroller_since` is the `not_before` of the
    enroller that issued it, if one did.
    """

    der: bytes = field(repr=False)
    fingerprint: bytes
    grant: Grant
    identity_key: bytes
    serial: int
    not_before: int
    not_after: int
    enroller_since: int | None = None

    @property
    def name(self) -> str:
        """The node's."""
        return self.grant.node_name

    @property
    def issued(self) -> int:
        """A time that was, as the authority itself says."""
        return self.not_before if self.enroller_since is None else self.enroller_since


def make_request(identity: IdentityKey, node_name: str, node_key: bytes) -> bytes:
    """A request (PKCS #10, PEM) that carries the node key, signed by the identity key."""
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(make_name(check_node_name(node_name)))
        .add_extension(x509.UnrecognizedExtension(NODE_KEY_OID, encode_node_key(node_key)), critical=False)
        .sign(identity.private, None)
    )
    return request.public_bytes(Encoding.PEM)


def read_request(pem: bytes) -> Request:
    """Read and verify a request; CertificateError says what is wrong with it."""
    try:
        request = x509.load_pem_x509_csr(pem)
        if not request.is_signature_valid:
            raise CertificateError("the request's signature is not its own key's")
        return Request(
            node_name=check_node_name(read_common_name(request.subject)),
            node_key=decode_node_key(private_extension(request.extensions, NODE_KEY_OID)),
            identity_key=ed25519_bytes(request.public_key()),
        )
    except CertificateError:
        raise
    except PARSE_ERRORS as error:
        raise CertificateError(f"not a certificate request of smegmesh: {error_text(error)}") from None


def make_authority(
    name: str, days: int, *, now: float, key_pem: bytes | None = None, serial: int | None = None
) -> tuple[bytes, bytes]:
    """A self-signed authority valid for `days` from `now` (seconds since the epoch): its certificate and key in PEM.

    With the key (and the name) of an authority given, its certificate is
    renewed: what it issued stays valid, its fingerprint the same. The serial number is random
    if none is given.
    """
    if not 1 <= len(name) <= 64:
        raise CertificateError(f"the authority's name {name!r} must have 1 to 64 characters")
    if days < 1:
        raise CertificateError(f"an authority cannot be valid for {days} days: give one day or more")
    key = IdentityKey.generate() if key_pem is None else IdentityKey(_load_authority_key(key_pem))
    public = key.private.public_key()
    start = to_datetime(now)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(make_name(name))
        .issuer_name(make_name(name))
        .public_key(public)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)  # enrollers, which have 0
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key.private, None)
    )
    return certificate.public_bytes(Encoding.PEM), key.to_pem()


def issue(
    authority_pem: bytes,
    authority_key_pem: bytes,
    request: Request,
    grant: Grant,
    *,
    not_before: float,
    not_after: float,
    serial: int | None = None,
) -> bytes:
    """Sign a certificate (PEM) for a request's keys with the operator's grant.

    Times are seconds since the epoch. CertificateError when the grant is for
    another node than the request, the key not the authority's, or the time not
    within the authority's. The serial number is random if none is given.
    """
    if grant.node_name != request.node_name:
        raise CertificateError(f"the grant is for node {grant.node_name!r}, the request of {request.node_name!r}")
    if not same_key(grant.node_key, request.node_key):
        raise CertificateError(f"the grant for node {grant.node_name!r} names another node key than its request")
    pem = sign_certificate(
        authority_pem,
        authority_key_pem,
        grant.node_name,
        request.identity_key,
        node_extensions(grant),
        not_before=not_before,
        not_after=not_after,
        serial=serial,
    )
    if len(certificate_der(pem)) > MAX_CERTIFICATE:
        raise CertificateError("the certificate is too long: name fewer meshes and prefixes, or '*'")
    return pem


def node_extensions(grant: Grant) -> list[x509.ExtensionType]:
    """What makes a certificate a node's."""
    return [
        _USAGES,
        x509.SubjectAlternativeName([x509.DNSName(grant.node_name)]),
        x509.UnrecognizedExtension(GRANT_OID, encode_grant(grant)),
    ]


def sign_certificate(
    authority_pem: bytes,
    authority_key_pem: bytes,
    name: str,
    public_key: bytes,
    kind: Sequence[x509.ExtensionType],
    *,
    not_before: float,
    not_after: float,
    serial: int | None,
    issues: bool = False,
) -> bytes:
    """Sign a certificate (PEM) of an Ed25519 key; `kind` are the extensions that make it what it is.

    With `issues` it may issue others, which may not. CertificateError when the key is not the authority's, or the time
    not within the authority's.
    """
    authority = Authority(authority_pem)
    key = _authority_key(authority, authority_key_pem)
    if not_after > authority.not_after:
        raise CertificateError(
            f"the certificate would outlive its authority, which ends {to_text(authority.not_after)}: "
            "renew the authority or ask for a shorter time"
        )
    times = {"not_before": not_before, "not_after": not_after}
    return sign(authority.subject, key, name, public_key, kind, **times, serial=serial, issues=issues)


def sign(
    issuer: x509.Name,
    key: Ed25519PrivateKey,
    name: str,
    public_key: bytes,
    kind: Sequence[x509.ExtensionType],
    *,
    not_before: float,
    not_after: float,
    serial: int | None = None,
    issues: bool = False,
) -> bytes:
    """The same with the key and name of any issuer, which is not looked at; CertificateError for no time at all."""
    if not_before >= not_after:
        raise CertificateError("the certificate would end before it begins: give a later end")
    public = Ed25519PublicKey.from_public_bytes(public_key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(make_name(name))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(to_datetime(not_before))
        .not_valid_after(to_datetime(not_after))
        .add_extension(x509.BasicConstraints(ca=issues, path_length=0 if issues else None), critical=True)
        .add_extension(key_usage(signs_certificates=issues), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for extension in kind:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, None).public_bytes(Encoding.PEM)


class Authority:
    """An authority's certificate: verifies what it issued.

    `fingerprint` is SHA-256 of its public key (SubjectPublicKeyInfo), so that a
    renewed certificate of the same key is the same authority. `not_before` and
    `not_after` are seconds since the epoch. While one authority takes over from another,
    `other` is the second of the two: what it issued and signed is accepted as well.
    """

    __slots__ = ("_certificate", "der", "fingerprint", "not_after", "not_before", "other", "pem", "public")

    def __init__(self, pem: bytes) -> None:
        """Read one self-signed Ed25519 CA certificate, or two; CertificateError says what it is instead."""
        first, *others = certificate_ders(pem, 2)
        try:
            self._certificate = x509.load_der_x509_certificate(first)
            self.public = ed25519_bytes(self._certificate.public_key())
            _check_authority(self._certificate)
        except CertificateError:
            raise
        except InvalidSignature:
            raise CertificateError("not an authority: its certificate is not signed by its own key") from None
        except PARSE_ERRORS as error:
            raise CertificateError(f"not the certificate of an authority: {error_text(error)}") from None
        info = self._certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.pem = pem
        self.der = first
        self.other: Authority | None = Authority(_pem(others[0])) if others else None
        self.fingerprint: bytes = hashlib.sha256(info).digest()
        self.not_before = to_seconds(self._certificate.not_valid_before_utc)
        self.not_after = to_seconds(self._certificate.not_valid_after_utc)

    @property
    def fingerprints(self) -> frozenset[bytes]:
        """Whose word is accepted."""
        return frozenset({self.fingerprint} if self.other is None else {self.fingerprint, self.other.fingerprint})

    @property
    def ders(self) -> bytes:
        """The certificates, for OpenSSL to trust."""
        return self.der if self.other is None else self.der + self.other.der

    @property
    def subject(self) -> x509.Name:
        return self._certificate.subject

    @property
    def name(self) -> str:
        """The common name, for people."""
        return read_common_name(self._certificate.subject)

    def verify(self, der: bytes) -> NodeCertificate:
        """Verify signature and contents of a node's certificate, not its time; an enroller may have issued it.

        CertificateError says what is wrong with it.
        """
        try:
            return self.read(der, _read_certificate)
        except NotIssued:
            issuer = issuer_of(der)
            if issuer is None:
                raise
        return _read_enrolled(der, self.read(issuer, read_enroller))

    @property
    def allows_enrollers(self) -> bool:
        """Whether chains with one in them are valid."""
        length = self._certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        return length is None or length > 0

    def read(self, der: bytes, read: Callable[[x509.Certificate, bytes], _Contents]) -> _Contents:
        """What `read` makes of a certificate whose signature is verified, not its time.

        NotIssued if it is not this authority's; CertificateError says what else is wrong with it.
        """
        if len(der) > MAX_CERTIFICATE:
            raise CertificateError(f"the certificate has {len(der)} bytes, more than {MAX_CERTIFICATE}")
        try:
            return self._read(der, read)
        except NotIssued:
            if self.other is None:
                raise
            return self.other.read(der, read)

    def _read(self, der: bytes, read: Callable[[x509.Certificate, bytes], _Contents]) -> _Contents:
        try:
            certificate = x509.load_der_x509_certificate(der)
            certificate.verify_directly_issued_by(self._certificate)
            return read(certificate, der)
        except CertificateError:
            raise
        except InvalidSignature:
            raise NotIssued(f"the certificate is not signed by the authority {self.name!r}") from None
        except PARSE_ERRORS as error:
            if _issued_by_another(der, self._certificate):
                raise NotIssued(f"the certificate is of another authority than {self.name!r}") from None
            raise CertificateError(f"not a certificate of smegmesh: {error_text(error)}") from None

    def issued(self, der: bytes) -> bool:
        """Whether this authority itself issued a certificate that `verify` accepts, not the other one."""
        try:
            x509.load_der_x509_certificate(der).verify_directly_issued_by(self._certificate)
        except (InvalidSignature, *PARSE_ERRORS):
            return False
        return True

    def verify_signature(self, signature: bytes, message: bytes) -> bool:
        """Whether the authority's own key made the signature."""
        if verify(self.public, signature, message):
            return True
        return self.other is not None and self.other.verify_signature(signature, message)

    def __repr__(self) -> str:
        return f"Authority({self.name!r}, {self.fingerprint.hex()})"


def check_time(certificate: Dated, now: float) -> None:
    """CertificateError if a certificate is expired or not yet valid at `now`, seconds since the epoch."""
    if now > certificate.not_after:
        raise CertificateError(
            f"the certificate of {certificate.name!r} is expired since {to_text(certificate.not_after)}: renew it"
        )
    if now < certificate.not_before:
        raise CertificateError(
            f"the certificate of {certificate.name!r} is not valid before "
            f"{to_text(certificate.not_before)}: check the clock, here it is {to_text(now)}"
        )


def _read_certificate(certificate: x509.Certificate, der: bytes) -> NodeCertificate:
    extensions = certificate.extensions
    node_name = read_common_name(certificate.subject)
    if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        raise CertificateError("the certificate is an authority's, not a node's")
    if set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) != set(_USAGES):
        raise CertificateError("the certificate is not for TLS clients and servers, as a node's is")
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if list(names) != [x509.DNSName(node_name)]:
        raise CertificateError(f"the certificate's alternative name is not its node name {node_name!r}")
    return NodeCertificate(
        der=der,
        fingerprint=hashlib.sha256(der).digest(),
        grant=decode_grant(node_name, private_extension(extensions, GRANT_OID)),
        identity_key=ed25519_bytes(certificate.public_key()),
        serial=certificate.serial_number,
        not_before=to_seconds(certificate.not_valid_before_utc),
        not_after=to_seconds(certificate.not_valid_after_utc),
    )


def _read_enrolled(der: bytes, enroller: Enroller) -> NodeCertificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(enroller.certificate)
        node = _read_certificate(certificate, der)
    except CertificateError:
        raise
    except InvalidSignature:
        raise CertificateError(f"the certificate is not signed by the enroller {enroller.name!r} in it") from None
    except PARSE_ERRORS as error:
        raise CertificateError(f"not a certificate of smegmesh: {error_text(error)}") from None
    enroller.check(node.grant, node.not_before, node.not_after)
    return replace(node, enroller_since=enroller.not_before)


def _check_authority(certificate: x509.Certificate) -> None:
    if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        raise CertificateError("not an authority: its certificate may not issue others (no CA flag)")
    if not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
        raise CertificateError("not an authority: its certificate may not issue others (key usage)")
    read_common_name(certificate.subject)
    certificate.verify_directly_issued_by(certificate)


def _authority_key(authority: Authority, key_pem: bytes) -> Ed25519PrivateKey:
    key = _load_authority_key(key_pem)
    if not same_key(key.public_key().public_bytes_raw(), authority.public):
        raise CertificateError(f"the key is not that of the authority {authority.name!r}")
    return key


def _load_authority_key(key_pem: bytes) -> Ed25519PrivateKey:
    try:
        return load_ed25519_pem(key_pem)
    except ValueError as error:
        raise CertificateError(f"the authority's key: {error}") from None


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _issued_by_another(der: bytes, authority: x509.Certificate) -> bool:
    try:
        return x509.load_der_x509_certificate(der).issuer != authority.subject
    except PARSE_ERRORS:
        return False
