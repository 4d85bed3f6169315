"""The files that make a host a node: its keys and, by authority, its certificate."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from smegmesh.identity.certificate import ANY_MESH, Authority, CertificateError, NodeCertificate
from smegmesh.identity.keys import IdentityKey, decode_key, encode_key, public_key, same_key

_MAKE_KEYS = "run `smegctl request --node-name NAME`, or the role"
_CERTIFY = "run site.yml with the authority's key"


class CredentialError(Exception):
    """A key or certificate file that cannot be used: which, why, what to do."""


@dataclass(frozen=True, slots=True)
class Keys:
    """A host's keys. `identity_file` is what TLS reads; the private halves are in no repr."""

    identity: IdentityKey
    identity_file: Path
    tunnel: bytes = field(repr=False)
    node_key: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """What admits the host to the meshes of one authority."""

    authority: Authority
    certificate: NodeCertificate
    certificate_file: Path


def load_keys(directory: Path) -> Keys:
    """Read identity.key and tunnel.key; CredentialError says which is missing or damaged."""
    identity_file, tunnel_file = directory / "identity.key", directory / "tunnel.key"
    try:
        identity = IdentityKey.from_pem(_read(identity_file, _MAKE_KEYS))
    except ValueError as error:
        raise CredentialError(f"{identity_file}: {error}: {_MAKE_KEYS}") from None
    try:
        tunnel = decode_key(_read(tunnel_file, _MAKE_KEYS).decode("ascii", "replace").strip())
    except ValueError:
        raise CredentialError(f"{tunnel_file} does not hold a WireGuard private key: {_MAKE_KEYS}") from None
    return Keys(identity, identity_file, tunnel, public_key(tunnel))


def load_credentials(directory: Path, mesh_id: str, keys: Keys) -> Credentials:
    """Read authority.pem and node.pem and check that they admit these keys to the mesh.

    Time is not checked here: an expired certificate blocks new links, never the start.
    """
    certificate_file = directory / "node.pem"
    try:
        authority = Authority(_read(directory / "authority.pem", _CERTIFY))
    except CertificateError as error:
        raise CredentialError(f"{directory / 'authority.pem'}: {error}: {_CERTIFY}") from None
    try:
        certificate = authority.verify(_der(_read(certificate_file, _CERTIFY)))
        _check_binding(certificate, mesh_id, keys)
    except (CertificateError, ValueError) as error:
        raise CredentialError(f"{certificate_file}: {error}: {_CERTIFY}") from None
    return Credentials(authority, certificate, certificate_file)


def _check_binding(certificate: NodeCertificate, mesh_id: str, keys: Keys) -> None:
    if not same_key(certificate.identity_key, keys.identity.public):
        raise CertificateError("the certificate is not for this host's identity key")
    if not same_key(certificate.grant.node_key, keys.node_key):
        raise CertificateError(f"the certificate is not for this host's node key {encode_key(keys.node_key)}")
    if mesh_id not in certificate.grant.meshes and ANY_MESH not in certificate.grant.meshes:
        raise CertificateError(f"the certificate does not admit {certificate.grant.node_name} to mesh {mesh_id}")


def _der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def _read(path: Path, fix: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialError(f"{path} cannot be read: {error.strerror}: {fix}") from None
