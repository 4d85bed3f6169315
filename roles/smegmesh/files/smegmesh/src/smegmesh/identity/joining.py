"""What a host that has no certificate yet says to a peer, and what people compare of it.

A host asks to join a mesh by its certificate request. The fingerprint of that, which both sides show, is over
the mesh, too: SHA-256("smegmesh/join" NUL mesh id NUL the request in PEM). So whoever is between the two can swap
neither keys, nor name, nor mesh, without another fingerprint.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from smegmesh.identity.address import check_mesh_id
from smegmesh.identity.certificate import NodeCertificate, Request, read_request
from smegmesh.identity.fields import PARSE_ERRORS, CertificateError
from smegmesh.identity.keys import encode_key, same_key

MAX_REQUEST = 8 * 1024  # bytes; one of ours has some 500
_DIGITS = 64  # of a fingerprint, in hexadecimal
_GROUP = 4


@dataclass(frozen=True, slots=True)
class Join:
    """A verified request to join a mesh; `pem` is what the fingerprint is over."""

    mesh: str
    request: Request
    pem: bytes = field(repr=False)
    fingerprint: bytes


def read_join(mesh: str, pem: bytes) -> Join:
    """Read and verify a request to join a mesh; ValueError says what is wrong with it.

    A request has one form only, the one in which `make_request` writes it.
    """
    check_mesh_id(mesh)
    if len(pem) > MAX_REQUEST:
        raise CertificateError(f"the request has {len(pem)} bytes, more than {MAX_REQUEST}")
    request = read_request(pem)
    try:
        canonical = x509.load_pem_x509_csr(pem).public_bytes(Encoding.PEM)
    except PARSE_ERRORS:
        canonical = b""
    if canonical != pem:
        raise CertificateError("the request is not in its one form: one block of PEM, nothing around it")
    message = b"smegmesh/join\0" + mesh.encode("ascii") + b"\0" + pem
    return Join(mesh, request, pem, hashlib.sha256(message).digest())


def check_answers(certificate: NodeCertificate, join: Join) -> None:
    """CertificateError unless a certificate is what a request asks for: its keys, its name, its mesh."""
    request, grant = join.request, certificate.grant
    if not same_key(certificate.identity_key, request.identity_key):
        raise CertificateError("the certificate is for another identity key than the request's")
    if not same_key(grant.node_key, request.node_key):
        raise CertificateError(
            f"the certificate is for another node key than {encode_key(request.node_key)}, the request's"
        )
    if grant.node_name != request.node_name:
        raise CertificateError(f"the certificate is for node {grant.node_name!r}, the request of {request.node_name!r}")
    if not grant.allows_mesh(join.mesh):
        raise CertificateError(f"the certificate does not admit {grant.node_name!r} to mesh {join.mesh!r}")


def write_fingerprint(fingerprint: bytes) -> str:
    """As people compare it: hexadecimal digits in groups of four."""
    digits = fingerprint.hex()
    return ":".join(digits[start : start + _GROUP] for start in range(0, len(digits), _GROUP))


def read_fingerprint(text: str) -> bytes:
    """The 32 bytes of a fingerprint, with colons or spaces anywhere or nowhere; ValueError unless it is whole."""
    digits = re.sub(r"[:\s]", "", text)
    if not re.fullmatch(rf"[0-9A-Fa-f]{{{_DIGITS}}}", digits, re.ASCII):
        raise ValueError(f"not a fingerprint: give all {_DIGITS} digits (0-9, a-f) of it, with or without colons")
    return bytes.fromhex(digits)
