"""Certificates that an enroller issued: what an enroller may, and how its certificate travels.

An enroller is a member that the authority lets admit hosts by itself (`enroller.py`): it has an intermediate
certificate (RFC 5280) with a path length of 0, which names the meshes. What it issues holds that certificate in an
extension, so that whoever has one has the chain: on links, in gossip and in stores there is nothing else to carry.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from smegmesh.identity.fields import (
    PARSE_ERRORS,
    CertificateError,
    ed25519_bytes,
    private_extension,
    read_common_name,
    to_seconds,
)
from smegmesh.identity.grant import ENROLLER_OID, ISSUER_OID, Grant, decode_meshes

MAX_DAYS = 90
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Enroller:
    """A verified certificate of an enroller; `key` is its Ed25519 public key, the rest as in `NodeCertificate`."""

    der: bytes = field(repr=False)
    fingerprint: bytes
    certificate: x509.Certificate = field(repr=False, compare=False)
    name: str
    key: bytes
    meshes: tuple[str, ...]
    not_before: int
    not_after: int

    def check(self, grant: Grant, not_before: int, not_after: int) -> None:
        """CertificateError for a grant or a time that is not the enroller's to give."""
        beyond = sorted({*grant.meshes} - {*self.meshes})
        if beyond:
            raise CertificateError(f"the enroller {self.name!r} may admit nobody to {', '.join(beyond)}")
        if grant.bridges or grant.prefixes:
            raise CertificateError(f"the enroller {self.name!r} may grant no bridges and no prefixes")
        if not_before < self.not_before or not_after > self.not_after:
            raise CertificateError(f"the certificate is not within the time of the enroller {self.name!r}")


def read_enroller(certificate: x509.Certificate, der: bytes) -> Enroller:
    """The contents of an enroller's certificate, whose signature was verified; CertificateError."""
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not constraints.ca or constraints.path_length != 0:
        raise CertificateError("the certificate is not an enroller's: it may issue none, or others that may")
    not_before, not_after = to_seconds(certificate.not_valid_before_utc), to_seconds(certificate.not_valid_after_utc)
    if not_after - not_before > MAX_DAYS * _DAY:
        raise CertificateError(f"the enroller's certificate is for more than {MAX_DAYS} days")
    return Enroller(
        der=der,
        fingerprint=hashlib.sha256(der).digest(),
        certificate=certificate,
        name=read_common_name(certificate.subject),
        key=ed25519_bytes(certificate.public_key()),
        meshes=decode_meshes(private_extension(certificate.extensions, ENROLLER_OID)),
        not_before=not_before,
        not_after=not_after,
    )


def issuer_of(der: bytes) -> bytes | None:
    """The enroller's certificate (DER) in one that it issued, nothing of it verified; None if there is none."""
    try:
        extensions = x509.load_der_x509_certificate(der).extensions
        value = extensions.get_extension_for_oid(ISSUER_OID).value
    except PARSE_ERRORS:
        return None
    return value.value if isinstance(value, x509.UnrecognizedExtension) else None


def chain(der: bytes) -> bytes:
    """A certificate in PEM as TLS has to show it: with the enroller's behind it, if one issued it."""
    issuer = issuer_of(der)
    return b"".join(
        x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in (der, issuer) if each is not None
    )
