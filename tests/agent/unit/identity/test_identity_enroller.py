"""What an enroller may issue, and that nobody takes anything else of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from smegmesh.identity.certificate import (
    Authority,
    CertificateError,
    Grant,
    leaf_der,
    make_authority,
    make_request,
    node_extensions,
    read_request,
    sign,
    sign_certificate,
)
from smegmesh.identity.enrolled import Enroller, chain, read_enroller
from smegmesh.identity.enroller import enroll, issue_enroller
from smegmesh.identity.fields import certificate_der, certificate_ders
from smegmesh.identity.grant import ENROLLER_OID, ISSUER_OID, OPERATOR_OID, encode_access, encode_meshes
from smegmesh.identity.joining import Join, read_join
from smegmesh.identity.keys import IdentityKey
from smegmesh.identity.operator import verify_operator

NOW = 1_800_000_000
DAY = 86400
PEM, KEY = make_authority("default", 3650, now=NOW)
AUTHORITY = Authority(PEM)
IDENTITY = IdentityKey.generate()
REQUEST = read_request(make_request(IDENTITY, "a1", bytes(32)))
NODE_KEY = bytes(range(32))


def appoint(*meshes: str, days: int = 30, authority: bytes = PEM, key: bytes = KEY) -> bytes:
    return issue_enroller(authority, key, REQUEST, meshes or ("prod",), not_before=NOW, not_after=NOW + days * DAY)


ENROLLER: Enroller = AUTHORITY.read(certificate_der(appoint()), read_enroller)


def join(mesh: str = "prod") -> Join:
    return read_join(mesh, make_request(IdentityKey.generate(), "web3", NODE_KEY))


def issue_anything(
    issuer: bytes,
    *,
    key: IdentityKey = IDENTITY,
    meshes: tuple[str, ...] = ("prod",),
    before: int = NOW,
    after: int = NOW + DAY,
    kind: list[x509.ExtensionType] | None = None,
    **grants: tuple[str, ...],
) -> bytes:
    """What somebody with an enroller's key could sign."""
    return certificate_der(
        sign(
            x509.load_der_x509_certificate(issuer).subject,
            key.private,
            "web3",
            IdentityKey.generate().public,
            [
                *(node_extensions(Grant("web3", NODE_KEY, meshes, **grants)) if kind is None else kind),
                x509.UnrecognizedExtension(ISSUER_OID, issuer),
            ],
            not_before=before,
            not_after=after,
        )
    )


def test_a_host_that_an_enroller_admits_is_a_node_of_that_mesh_alone() -> None:
    asked = join()
    pem = enroll(ENROLLER, IDENTITY, asked, now=NOW + DAY)
    node = AUTHORITY.verify(leaf_der(pem))
    assert node.grant == Grant("web3", NODE_KEY, ("prod",))
    assert node.identity_key == asked.request.identity_key
    assert (node.not_before, node.not_after) == (NOW, NOW + 30 * DAY)
    assert certificate_ders(pem, 2)[1] == ENROLLER.der
    assert chain(leaf_der(pem)) == pem


def test_an_enroller_admits_to_its_meshes_in_its_time() -> None:
    with pytest.raises(CertificateError, match="admit nobody to office"):
        enroll(ENROLLER, IDENTITY, join("office"), now=NOW + DAY)
    for now in (NOW - 1, NOW + 31 * DAY):
        with pytest.raises(CertificateError, match="expired, or not valid yet"):
            enroll(ENROLLER, IDENTITY, join(), now=now)


@pytest.mark.parametrize(
    ("appointed", "what"),
    [
        (lambda: appoint(days=91), "more than 90 days"),
        (lambda: appoint("*"), "mesh id"),
        (lambda: appoint(key=make_authority("default", 30, now=NOW)[1]), "not that of the authority"),
    ],
)
def test_what_no_enroller_may_be_is_not_signed(appointed: Callable[[], bytes], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        appointed()


def test_an_authority_of_before_has_to_be_renewed_first() -> None:
    old = (
        x509.CertificateBuilder()
        .subject_name(AUTHORITY.subject)
        .issuer_name(AUTHORITY.subject)
        .public_key(IDENTITY.private.public_key())
        .serial_number(1)
        .not_valid_before(x509.load_pem_x509_certificate(PEM).not_valid_before_utc)
        .not_valid_after(x509.load_pem_x509_certificate(PEM).not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.load_pem_x509_certificate(PEM).extensions.get_extension_for_class(x509.KeyUsage).value, critical=True
        )
        .sign(IDENTITY.private, None)
        .public_bytes(Encoding.PEM)
    )
    with pytest.raises(CertificateError, match="rotate_authority"):
        appoint(authority=old, key=IDENTITY.to_pem())
    renewed, _key = make_authority("default", 3650, now=NOW, key_pem=IDENTITY.to_pem())
    assert appoint(authority=renewed, key=IDENTITY.to_pem())


@pytest.mark.parametrize(
    ("forged", "what"),
    [
        ({"meshes": ("office",)}, "admit nobody to office"),
        ({"meshes": ("*",)}, "admit nobody to"),
        ({"bridges": ("prod",)}, "no bridges"),
        ({"prefixes": ("2001:db8::/32",)}, "no prefixes"),
        ({"before": NOW - DAY}, "not within the time"),
        ({"after": NOW + 31 * DAY}, "not within the time"),
        ({"key": IdentityKey.generate()}, "not signed by the enroller"),
        ({"kind": []}, "smegmesh"),
    ],
)
def test_what_an_enroller_may_not_issue_is_refused(forged: dict[str, Any], what: str) -> None:
    assert AUTHORITY.verify(issue_anything(ENROLLER.der)).grant.meshes == ("prod",)
    with pytest.raises(CertificateError, match=what):
        AUTHORITY.verify(issue_anything(ENROLLER.der, **forged))


def intermediate(**times: int) -> bytes:
    """Signed by an enroller, which may issue none."""
    meshes = [x509.UnrecognizedExtension(ENROLLER_OID, encode_meshes(["prod"]))]
    return certificate_der(
        sign(ENROLLER.certificate.subject, IDENTITY.private, "a1", IDENTITY.public, meshes, issues=True, **times)
    )


def signed_by_authority(*, days: int, issues: bool) -> bytes:
    meshes = [x509.UnrecognizedExtension(ENROLLER_OID, encode_meshes(["prod"]))]
    times = {"not_before": NOW, "not_after": NOW + days * DAY}
    return certificate_der(
        sign_certificate(PEM, KEY, "a1", IDENTITY.public, meshes, **times, serial=None, issues=issues)
    )


OTHER = make_authority("default", 3650, now=NOW)


@pytest.mark.parametrize(
    ("issuer", "what"),
    [
        (certificate_der(appoint(authority=OTHER[0], key=OTHER[1])), "not signed by the authority"),
        (intermediate(not_before=NOW, not_after=NOW + DAY), "of another authority"),
        (signed_by_authority(days=365, issues=True), "more than 90 days"),
        (signed_by_authority(days=30, issues=False), "not an enroller's"),
        (certificate_der(PEM), "extension .* is missing|not an enroller's"),
    ],
    ids=["another authority's", "an enroller's own", "too long", "may issue none", "the authority itself"],
)
def test_only_what_the_authority_appointed_is_an_enroller(issuer: bytes, what: str) -> None:
    with pytest.raises(CertificateError, match=what):
        AUTHORITY.verify(issue_anything(issuer))


@pytest.mark.parametrize("issuer", [b"", b"\x30\x03", bytes(100)])
def test_what_is_no_certificate_is_no_enroller(issuer: bytes) -> None:
    kind = [*node_extensions(Grant("web3", NODE_KEY, ("prod",))), x509.UnrecognizedExtension(ISSUER_OID, issuer)]
    der = certificate_der(
        sign(
            ENROLLER.certificate.subject,
            IDENTITY.private,
            "web3",
            IDENTITY.public,
            kind,
            not_before=NOW,
            not_after=NOW + DAY,
        )
    )
    with pytest.raises(CertificateError):
        AUTHORITY.verify(der)


def test_an_enroller_is_no_node_and_makes_no_operators() -> None:
    with pytest.raises(CertificateError, match="an authority's, not a node's"):
        AUTHORITY.verify(ENROLLER.der)
    kind: list[x509.ExtensionType] = [
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        x509.UnrecognizedExtension(OPERATOR_OID, encode_access("read")),
    ]
    with pytest.raises(CertificateError, match="another authority"):
        verify_operator(AUTHORITY, issue_anything(ENROLLER.der, kind=kind))
