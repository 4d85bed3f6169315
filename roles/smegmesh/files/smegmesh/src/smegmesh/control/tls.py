"""TLS of the API: the node's certificate, and whose operators are admitted.

As on links, OpenSSL verifies the chain without its clock; kind and time of the other side's certificate
are checked by `ApiTls.admit`, against the clock that certificates hold up.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from smegmesh.control.errors import ControlError
from smegmesh.identity.certificate import Authority
from smegmesh.identity.clock import CertificateClock
from smegmesh.identity.operator import OperatorCertificate, admit_operator

_X509_V_FLAG_NO_CHECK_TIME = 0x200000  # openssl/x509_vfy.h; the ssl module does not name it


@dataclass(frozen=True, slots=True)
class ApiTls:
    """Certificate and identity key of the node (files, PEM; `certificate` is what the first one holds, DER),
    and the authorities whose operators may ask."""

    certificate_file: Path
    key_file: Path
    certificate: bytes
    trusted: tuple[tuple[Authority, CertificateClock], ...]

    def admit(self, der: bytes | None) -> OperatorCertificate:
        """Who asks; CertificateError if that is no operator, or none now."""
        return admit_operator(self.trusted, der or b"")


def server_context(tls: ApiTls) -> ssl.SSLContext:
    """A context that admits who has any certificate of the authorities; ControlError for files it cannot use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags(_X509_V_FLAG_NO_CHECK_TIME)
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0  # every connection shows its certificate: nothing is resumed
    try:
        for authority, _clock in tls.trusted:
            context.load_verify_locations(cadata=authority.ders)
        context.load_cert_chain(tls.certificate_file, tls.key_file, password=_no_password)
    except OSError as error:  # ssl.SSLError, too
        raise ControlError(
            f"cannot use {tls.certificate_file} with {tls.key_file} ({error.strerror or error})",
            "run site.yml with the authority's key",
        ) from None
    return context


def explain(error: Exception) -> str:
    """Why a handshake failed, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate of another authority, or not for clients ({error.verify_message})"
    reason = error.reason or "" if isinstance(error, ssl.SSLError) else ""
    if "DID_NOT_RETURN_A_CERTIFICATE" in reason:
        return "no certificate was shown"
    return f"no TLS connection ({reason or str(error) or type(error).__name__})"


def _no_password() -> str:
    return ""  # else OpenSSL would ask on the terminal
