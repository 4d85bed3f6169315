"""The files that admit a host to meshes: an authority's certificate and its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from smegmesh.identity.certificate import ANY_MESH, Authority, CertificateError, NodeCertificate
from smegmesh.identity.keys import encode_key, same_key
from smegmesh.store.keys import HostKeys

_CERTIFY = "run site.yml with the authority's key"


class CredentialError(Exception):
    """A certificate file that cannot be used: which, why, what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What admits the host to the meshes of one authority."""

    authority: Authority
    certificate: NodeCertificate
    certificate_file: Path


def load_credentials(directory: Path, mesh_id: str, keys: HostKeys) -> Credentials:
    """Read authority.pem and node.pem and check that they admit these keys to the mesh.

    Time is not checked here: an expired certificate blocks new links, never the start.
    """
    certificate_file = directory / "node.pem"
    try:
        authority = Authority(_read(directory / "authority.pem"))
    except CertificateError as error:
        raise CredentialError(f"{directory / 'authority.pem'}: {error}: {_CERTIFY}") from None
    try:
        certificate = authority.verify(_der(_read(certificate_file)))
        _check_binding(certificate, mesh_id, keys)
    except (CertificateError, ValueError) as error:
        raise CredentialError(f"{certificate_file}: {error}: {_CERTIFY}") from None
    return Credentials(authority, certificate, certificate_file)


def _check_binding(certificate: NodeCertificate, mesh_id: str, keys: HostKeys) -> None:
    if not same_key(certificate.identity_key, keys.identity.public):
        raise CertificateError("the certificate is not for this host's identity key")
    if not same_key(certificate.grant.node_key, keys.node_key):
        raise CertificateError(f"the certificate is not for this host's node key {encode_key(keys.node_key)}")
    if mesh_id not in certificate.grant.meshes and ANY_MESH not in certificate.grant.meshes:
        raise CertificateError(f"the certificate does not admit {certificate.grant.node_name} to mesh {mesh_id}")


def _der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialError(f"{path} cannot be read: {error.strerror}: {_CERTIFY}") from None
