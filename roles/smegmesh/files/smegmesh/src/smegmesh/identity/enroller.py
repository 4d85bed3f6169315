"""Issuing for enrollers: their own certificate, by the authority, and what they issue themselves."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509

from smegmesh.identity.certificate import Authority, CertificateError, Request, node_extensions, sign, sign_certificate
from smegmesh.identity.enrolled import Enroller, chain, read_enroller
from smegmesh.identity.fields import certificate_der
from smegmesh.identity.grant import ENROLLER_OID, ISSUER_OID, Grant, encode_meshes
from smegmesh.identity.joining import Join
from smegmesh.identity.keys import IdentityKey


def issue_enroller(
    authority_pem: bytes,
    authority_key_pem: bytes,
    request: Request,
    meshes: Iterable[str],
    *,
    not_before: float,
    not_after: float,
) -> bytes:
    """Sign the certificate (PEM) by which the node of a request may admit hosts to these meshes.

    ValueError for meshes that are none, a key that is not the authority's, more than 90 days, and an authority whose
    certificate allows no enrollers.
    """
    if not Authority(authority_pem).allows_enrollers:
        raise CertificateError(
            "the authority is of an older version and allows no enrollers: replace it by the playbook rotate_authority"
        )
    pem = sign_certificate(
        authority_pem,
        authority_key_pem,
        request.node_name,
        request.identity_key,
        [x509.UnrecognizedExtension(ENROLLER_OID, encode_meshes(meshes))],
        not_before=not_before,
        not_after=not_after,
        serial=None,
        issues=True,
    )
    Authority(authority_pem).read(certificate_der(pem), read_enroller)  # says what an enroller may not be
    return pem


def enroll(enroller: Enroller, identity: IdentityKey, join: Join, *, now: float) -> bytes:
    """The certificate (PEM, with the enroller's own behind it) that admits a host to the mesh it asks for.

    It ends with the enroller's. CertificateError if the mesh is not the enroller's to admit to, or its time is over.
    """
    if not enroller.not_before <= now <= enroller.not_after:
        raise CertificateError("the enroller's certificate is expired, or not valid yet: have another issued")
    request = join.request
    grant = Grant(request.node_name, request.node_key, (join.mesh,))
    enroller.check(grant, enroller.not_before, enroller.not_after)
    pem = sign(
        enroller.certificate.subject,
        identity.private,
        request.node_name,
        request.identity_key,
        [*node_extensions(grant), x509.UnrecognizedExtension(ISSUER_OID, enroller.der)],
        not_before=enroller.not_before,
        not_after=enroller.not_after,
    )
    return chain(certificate_der(pem))
