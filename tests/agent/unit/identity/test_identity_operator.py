"""Operator certificates: what is accepted, and that no other kind passes for one, nor one for another kind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from smegmesh.identity.certificate import (
    Authority,
    CertificateError,
    Grant,
    certificate_der,
    issue,
    make_authority,
    make_request,
    read_request,
)
from smegmesh.identity.clock import CertificateClock
from smegmesh.identity.fields import make_name
from smegmesh.identity.grant import GRANT_OID, OPERATOR_OID, encode_access, encode_grant
from smegmesh.identity.keys import IdentityKey, load_ed25519_pem
from smegmesh.identity.operator import admit_operator, issue_operator, verify_operator

NOW = 1_800_000_000
DAY = 86400
AUTHORITY_PEM, AUTHORITY_KEY = make_authority("default", 365, now=NOW)
AUTHORITY = Authority(AUTHORITY_PEM)
KEY = IdentityKey.generate()
GRANT = Grant("a1", bytes(range(32)), ("*",))


def operator(name: str = "alice", not_before: float = NOW, not_after: float = NOW + DAY) -> bytes:
    pem = issue_operator(AUTHORITY_PEM, AUTHORITY_KEY, name, KEY.public, not_before=not_before, not_after=not_after)
    return certificate_der(pem)


def node() -> bytes:
    request = read_request(make_request(KEY, "a1", GRANT.node_key))
    return certificate_der(issue(AUTHORITY_PEM, AUTHORITY_KEY, request, GRANT, not_before=NOW, not_after=NOW + DAY))


def clock(now: float = NOW + 1) -> CertificateClock:
    return CertificateClock(lambda: now)


def test_what_is_issued_is_verified() -> None:
    certificate = verify_operator(AUTHORITY, operator())
    assert (certificate.name, certificate.key) == ("alice", KEY.public)
    assert (certificate.not_before, certificate.not_after) == (NOW, NOW + DAY)


def test_openssl_accepts_it_for_a_client_and_for_no_server(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY_PEM)
    (tmp_path / "alice.pem").write_bytes(x509.load_der_x509_certificate(operator()).public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-x509_strict", "-attime", str(NOW + 1), "-CAfile", "ca.pem", "-purpose"]
    for purpose, good in (("sslclient", True), ("sslserver", False)):
        done = subprocess.run(
            [*command, purpose, "alice.pem"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is good, done.stderr


def test_each_kind_is_refused_as_the_other() -> None:
    with pytest.raises(CertificateError, match="not for TLS clients and servers, as a node's is"):
        AUTHORITY.verify(operator())
    with pytest.raises(CertificateError, match="not an operator's"):
        verify_operator(AUTHORITY, node())
    with pytest.raises(CertificateError, match="an authority's, not an operator's"):
        verify_operator(AUTHORITY, certificate_der(AUTHORITY_PEM))


def test_who_is_admitted_when() -> None:
    other = Authority(make_authority("other", 365, now=NOW)[0])
    both = [(other, clock()), (AUTHORITY, clock())]
    assert admit_operator(both, operator()).name == "alice"
    with pytest.raises(CertificateError, match="of no authority"):
        admit_operator(both[:1], operator())
    with pytest.raises(CertificateError, match="not an operator's"):
        admit_operator(both, node())
    with pytest.raises(CertificateError, match="of 'alice' is expired since"):
        admit_operator([(AUTHORITY, clock(NOW + DAY + 1))], operator())


def test_a_clock_behind_is_held_up_by_the_certificate_itself() -> None:
    behind = clock(0)
    assert admit_operator([(AUTHORITY, behind)], operator()).name == "alice"
    assert behind.now() == NOW
    with pytest.raises(CertificateError, match="is expired since"):
        admit_operator([(AUTHORITY, behind)], operator(not_before=NOW - 2 * DAY, not_after=NOW - DAY))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../alice"}, "operator name '../alice' is not valid"),
        ({"not_after": NOW}, "end before it begins"),
        ({"not_after": NOW + 366 * DAY}, "outlive its authority"),
    ],
)
def test_what_is_not_issued(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        operator(**changes)


Extensions = dict[str, x509.ExtensionType]


def signed_by_hand(change: Callable[[Extensions], object]) -> bytes:
    """A certificate that the authority did sign, with something in it that it would not."""
    extensions: Extensions = {
        "constraints": x509.BasicConstraints(ca=False, path_length=None),
        "usage": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        "access": x509.UnrecognizedExtension(OPERATOR_OID, encode_access("read")),
    }
    change(extensions)
    start = datetime.fromtimestamp(NOW, timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(make_name("alice"))
        .issuer_name(AUTHORITY.subject)
        .public_key(Ed25519PublicKey.from_public_bytes(KEY.public))
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
    )
    for extension in extensions.values():
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(load_ed25519_pem(AUTHORITY_KEY), None).public_bytes(Encoding.DER)


def access(value: bytes) -> x509.ExtensionType:
    return x509.UnrecognizedExtension(OPERATOR_OID, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop("constraints"), "not a certificate of smegmesh"),
        (lambda e: e.pop("usage"), "not a certificate of smegmesh"),
        (lambda e: e.pop("access"), "is missing: smegmesh did not make this"),
        (lambda e: e.update(access=access(encode_access("write"))), "is for 'write', this program knows 'read'"),
        (lambda e: e.update(access=access(encode_access("read") + b" ")), "not a DER UTF8String"),
        (lambda e: e.update(access=x509.UnrecognizedExtension(GRANT_OID, encode_grant(GRANT))), "is missing"),
        (lambda e: e.update(usage=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])), "not an operator's"),
    ],
)
def test_contents_are_read_strictly(change: Callable[[Extensions], object], message: str) -> None:
    assert verify_operator(AUTHORITY, signed_by_hand(lambda _: None)).name == "alice"
    with pytest.raises(CertificateError, match=message):
        verify_operator(AUTHORITY, signed_by_hand(change))


def test_an_operator_s_extension_makes_no_node() -> None:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    names = x509.SubjectAlternativeName([x509.DNSName("alice")])
    with pytest.raises(CertificateError, match="is missing: smegmesh did not make this"):
        AUTHORITY.verify(signed_by_hand(lambda e: e.update(usage=usage, names=names)))
