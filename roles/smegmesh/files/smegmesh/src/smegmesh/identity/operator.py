"""Operator certificates: they let a person or a program ask agents, and admit nobody to a mesh.

Such a certificate is for TLS clients alone (extended key usage) and says what its
holder may do in a private extension of its own, in the form of a grant
(`grant.py`); a node's is for clients and servers and has a grant. Each is refused where the other is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from smegmesh.identity.certificate import (
    Authority,
    CertificateError,
    NotIssued,
    check_time,
    sign_certificate,
)
from smegmesh.identity.clock import CertificateClock
from smegmesh.identity.fields import ed25519_bytes, private_extension, read_common_name, to_seconds
from smegmesh.identity.grant import OPERATOR_OID, check_node_name, decode_access, encode_access

READ = "read"  # the one access there is: what the API tells, nothing changed
_USAGES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True, slots=True)
class OperatorCertificate:
    """A verified operator certificate; `key` is its Ed25519 public key, the rest as in `NodeCertificate`."""

    der: bytes = field(repr=False)
    fingerprint: bytes
    name: str
    key: bytes
    serial: int
    not_before: int
    not_after: int


def check_operator_name(name: str) -> str:
    """Return a valid operator name unchanged; ValueError says what is wrong. The rule is that of node names."""
    try:
        return check_node_name(name)
    except ValueError as error:
        raise ValueError(str(error).replace("node name", "operator name", 1)) from None


def issue_operator(
    authority_pem: bytes, authority_key_pem: bytes, name: str, key: bytes, *, not_before: float, not_after: float
) -> bytes:
    """Sign an operator certificate (PEM) of an Ed25519 public key; times are seconds since the epoch.

    CertificateError when the key is not the authority's, or the time not within the authority's.
    """
    return sign_certificate(
        authority_pem,
        authority_key_pem,
        check_operator_name(name),
        key,
        [_USAGES, x509.UnrecognizedExtension(OPERATOR_OID, encode_access(READ))],
        not_before=not_before,
        not_after=not_after,
        serial=None,
    )


def verify_operator(authority: Authority, der: bytes) -> OperatorCertificate:
    """Verify signature and contents of an operator certificate, not its time; CertificateError says what is wrong."""
    return authority.read(der, _read)


def admit_operator(trusted: Iterable[tuple[Authority, CertificateClock]], der: bytes) -> OperatorCertificate:
    """The operator certificate if one of the authorities issued it and it is valid now by that one's clock.

    CertificateError says why it is not.
    """
    for authority, clock in trusted:
        try:
            certificate = verify_operator(authority, der)
        except NotIssued:
            continue
        clock.saw(certificate.not_before)
        check_time(certificate, clock.now())
        return certificate
    raise CertificateError("the certificate is of no authority that this host has a certificate of")


def _read(certificate: x509.Certificate, der: bytes) -> OperatorCertificate:
    extensions = certificate.extensions
    if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        raise CertificateError("the certificate is an authority's, not an operator's")
    if set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) != set(_USAGES):
        raise CertificateError("the certificate is not an operator's, but a node's or for another use")
    access = decode_access(private_extension(extensions, OPERATOR_OID))
    if access != READ:
        raise CertificateError(f"the operator certificate is for {access!r}, this program knows {READ!r}")
    return OperatorCertificate(
        der=der,
        fingerprint=hashlib.sha256(der).digest(),
        name=check_operator_name(read_common_name(certificate.subject)),
        key=ed25519_bytes(certificate.public_key()),
        serial=certificate.serial_number,
        not_before=to_seconds(certificate.not_valid_before_utc),
        not_after=to_seconds(certificate.not_valid_after_utc),
    )
