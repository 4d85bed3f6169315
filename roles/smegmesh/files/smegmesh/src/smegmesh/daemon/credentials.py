"""The files that admit a host to meshes: an authority's certificate and its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from smegmesh.daemon.host import Host
from smegmesh.declaration import Declaration
from smegmesh.identity.address import node_address
from smegmesh.identity.certificate import Authority, CertificateError, NodeCertificate, leaf_der
from smegmesh.identity.grant import Grant
from smegmesh.identity.keys import encode_key, same_key
from smegmesh.store.keys import HostKeys
from smegmesh.transport.tls import MeshTls

_CERTIFY = "run site.yml with the authority's key"


class CredentialError(Exception):
    """A certificate file that cannot be used: which, why, what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What admits the host to the meshes of one authority. Equal when the files say the same."""

    authority: Authority = field(compare=False)
    authority_pem: bytes
    certificate: NodeCertificate
    certificate_file: Path

    def for_links(self, host: Host) -> MeshTls:
        """With them in the handshakes of links."""
        return MeshTls(
            authority=self.authority,
            certificate_file=self.certificate_file,
            key_file=host.directories.identity_key,
            clock=host.clock_of(self.authority),
        )


def load_credentials(directory: Path, declaration: Declaration, keys: HostKeys) -> Credentials:
    """Read authority.pem and node.pem and check that they allow these keys what is declared.

    Time is not checked here: an expired certificate blocks new links, never the start.
    """
    authority_file, certificate_file = directory / "authority.pem", directory / "node.pem"
    authority_pem = _read(authority_file)
    try:
        authority = Authority(authority_pem)
    except CertificateError as error:
        raise CredentialError(f"{authority_file}: {error}: {_CERTIFY}") from None
    certificate_pem = _read(certificate_file)
    try:
        certificate = authority.verify(leaf_der(certificate_pem))
        _check_binding(certificate, keys)
        _check_static_peers(declaration, keys)
        _check_grant(certificate.grant, declaration)
    except CertificateError as error:
        raise CredentialError(f"{certificate_file}: {error}: {_CERTIFY}") from None
    return Credentials(authority, authority_pem, certificate, certificate_file)


def _check_binding(certificate: NodeCertificate, keys: HostKeys) -> None:
    if not same_key(certificate.identity_key, keys.identity.public):
        raise CertificateError("the certificate is not for this host's identity key")
    if not same_key(certificate.grant.node_key, keys.node_key):
        raise CertificateError(f"the certificate is not for this host's node key {encode_key(keys.node_key)}")


def _check_static_peers(declaration: Declaration, keys: HostKeys) -> None:
    for peer in declaration.static_peers:
        if same_key(peer.public_key, keys.node_key):
            what = f"static peer {peer.name} has the key of this host itself"
            raise CredentialError(f"{declaration.file}: {what}: give it a key of its own")


def _check_grant(grant: Grant, declaration: Declaration) -> None:
    """Refuse here what every other node would refuse."""
    name, mesh = grant.node_name, declaration.mesh
    if not grant.allows_mesh(mesh):
        raise CertificateError(f"the certificate does not admit {name} to mesh {mesh}")
    if declaration.bridge and not grant.allows_bridge(mesh):
        raise CertificateError(f"the certificate does not let {name} bridge mesh {mesh}, as {declaration.file} says")
    for prefix in declaration.advertise:
        if not grant.allows_prefix(str(prefix)):
            where = declaration.file_of(prefix)
            remedy = "" if where == declaration.file else " (declare it in the inventory too, or take it out there)"
            raise CertificateError(f"the certificate does not let {name} advertise {prefix}, as {where} says{remedy}")
    for peer in declaration.static_peers:
        address = node_address(mesh, peer.public_key)
        if not grant.allows_address(address):
            what = f"static peer {peer.name} ({address}), as {declaration.file} says"
            raise CertificateError(f"the certificate does not let {name} carry {what}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialError(f"{path} cannot be read: {error.strerror}: {_CERTIFY}") from None
