"""The parts of X.509 objects: reading them strictly, making them, and the error for what is wrong."""

from __future__ import annotations

from datetime import datetime, timezone

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

# What the library raises for bytes that are not what they should be.
PARSE_ERRORS = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class CertificateError(ValueError):
    """A certificate, request or authority that cannot be accepted, and why."""


def certificate_der(pem: bytes) -> bytes:
    """The DER of a file that holds one certificate, not verified; CertificateError for another content."""
    return certificate_ders(pem, 1)[0]


def leaf_der(pem: bytes) -> bytes:
    """The same of a file that may hold the certificate of an enroller after it: the first."""
    return certificate_ders(pem, 2)[0]


def certificate_ders(pem: bytes, most: int) -> list[bytes]:
    """The same of a file that holds one to `most` certificates, in their order."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except PARSE_ERRORS:
        raise CertificateError("not a certificate in PEM: expected a block BEGIN CERTIFICATE") from None
    if len(certificates) > most:
        limit = "one" if most == 1 else f"{most} at most"
        raise CertificateError(f"the file holds {len(certificates)} certificates: it must hold {limit}")
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def ed25519_bytes(key: object) -> bytes:
    if not isinstance(key, Ed25519PublicKey):
        raise CertificateError(f"the key is of another kind ({type(key).__name__}): an Ed25519 key is needed")
    return key.public_bytes_raw()


def make_name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def read_common_name(name: x509.Name) -> str:
    attributes = list(name)
    if len(attributes) != 1 or attributes[0].oid != NameOID.COMMON_NAME:
        raise CertificateError(f"the subject {name.rfc4514_string()!r} is not one common name")
    value = attributes[0].value
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def private_extension(extensions: x509.Extensions, oid: x509.ObjectIdentifier) -> bytes:
    try:
        value = extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        raise CertificateError(f"the extension {oid.dotted_string} is missing: smegmesh did not make this") from None
    if not isinstance(value, x509.UnrecognizedExtension):
        raise CertificateError(f"the extension {oid.dotted_string} is of another kind")
    return value.value


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def error_text(error: Exception) -> str:
    return str(error) or type(error).__name__


def to_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), timezone.utc)


def to_seconds(time: datetime) -> int:
    return int(time.timestamp())


def to_text(seconds: float) -> str:
    return to_datetime(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")
