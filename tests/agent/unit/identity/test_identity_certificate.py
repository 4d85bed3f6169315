"""Requests, authorities and certificates: what is accepted, and what is refused in which words."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smegmesh.identity.certificate import (
    Authority,
    CertificateError,
    Grant,
    NotIssued,
    certificate_der,
    check_time,
    issue,
    make_authority,
    make_request,
    read_request,
)
from smegmesh.identity.clock import CertificateClock
from smegmesh.identity.grant import GRANT_OID, NODE_KEY_OID, encode_grant, encode_node_key
from smegmesh.identity.keys import IdentityKey, load_ed25519_pem
from smegmesh.identity.revocation import make_revocation, read_revocation

NOW = 1_800_000_000
DAY = 86400
NODE_KEY = bytes(range(32))
AUTHORITY_PEM, AUTHORITY_KEY = make_authority("default", 365, now=NOW)
IDENTITY = IdentityKey.generate()
REQUEST = read_request(make_request(IDENTITY, "a1", NODE_KEY))
GRANT = Grant("a1", NODE_KEY, ("prod", "office"), ("*",), ("2001:db8:10::/48", "::/0"))


def issued(grant: Grant = GRANT, not_before: float = NOW, not_after: float = NOW + DAY) -> bytes:
    return issue(AUTHORITY_PEM, AUTHORITY_KEY, REQUEST, grant, not_before=not_before, not_after=not_after)


def test_what_is_issued_is_verified() -> None:
    der = certificate_der(issued())
    certificate = Authority(AUTHORITY_PEM).verify(der)
    assert certificate.grant == GRANT
    assert certificate.identity_key == IDENTITY.public
    assert (certificate.not_before, certificate.not_after) == (NOW, NOW + DAY)
    assert certificate.der == der
    assert certificate.fingerprint == hashlib.sha256(der).digest()
    assert certificate.serial != Authority(AUTHORITY_PEM).verify(certificate_der(issued())).serial


def test_openssl_accepts_the_chain_for_client_and_server(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY_PEM)
    (tmp_path / "node.pem").write_bytes(issued())
    for purpose in ("sslclient", "sslserver"):
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-attime", str(NOW + 1), "-purpose", purpose]
            + ["-verify_hostname", "a1", "-CAfile", "ca.pem", "node.pem"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "node.pem: OK\n", done.stderr


def test_time_is_checked_apart() -> None:
    certificate = Authority(AUTHORITY_PEM).verify(certificate_der(issued()))
    check_time(certificate, NOW)
    check_time(certificate, NOW + DAY)
    with pytest.raises(CertificateError, match="of 'a1' is expired since 2027-01-16 08:00:00 UTC"):
        check_time(certificate, NOW + DAY + 1)
    with pytest.raises(CertificateError, match="of 'a1' is not valid before 2027-01-15 08:00:00 UTC"):
        check_time(certificate, NOW - 1)


def test_a_clock_goes_no_lower_than_certificates() -> None:
    wall = [0.0]
    clock = CertificateClock(lambda: wall[0], newest=10)
    assert clock.now() == 10
    certificate = Authority(AUTHORITY_PEM).verify(certificate_der(issued()))
    clock.saw(certificate.issued)
    clock.saw(Authority(AUTHORITY_PEM).verify(certificate_der(issued(not_before=NOW - DAY))).issued)
    assert clock.now() == clock.newest == NOW
    wall[0] = NOW + 5
    assert clock.now() == NOW + 5


def test_an_authority_of_another_key_or_name() -> None:
    der = certificate_der(issued())
    namesake, _ = make_authority("default", 365, now=NOW)
    with pytest.raises(CertificateError, match="not signed by the authority 'default'"):
        Authority(namesake).verify(der)
    other, _ = make_authority("other", 365, now=NOW)
    with pytest.raises(CertificateError, match="of another authority than 'other'"):
        Authority(other).verify(der)


def test_a_renewed_authority_is_the_same() -> None:
    renewed, key = make_authority("default", 730, now=NOW + DAY, key_pem=AUTHORITY_KEY)
    assert key == AUTHORITY_KEY
    authority = Authority(renewed)
    assert authority.fingerprint == Authority(AUTHORITY_PEM).fingerprint
    assert authority.not_after == NOW + 731 * DAY
    assert authority.verify(certificate_der(issued())).grant == GRANT


def test_every_changed_byte_is_noticed() -> None:
    der = certificate_der(issued())
    authority = Authority(AUTHORITY_PEM)
    for position in range(0, len(der), 7):
        changed = bytearray(der)
        changed[position] ^= 1
        with pytest.raises(CertificateError):
            authority.verify(bytes(changed))
    for other in (b"", der[:-1], der + b"\0", bytes(100_000)):
        with pytest.raises(CertificateError):
            authority.verify(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"not_after": NOW}, "end before it begins"),
        ({"not_after": NOW + 366 * DAY}, "outlive its authority, which ends 2028-01-15 08:00:00 UTC"),
        ({"grant": Grant("a2", NODE_KEY)}, "for node 'a2', the request of 'a1'"),
        ({"grant": Grant("a1", bytes(32))}, "another node key than its request"),
    ],
)
def test_what_is_not_issued(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CertificateError, match=message):
        issued(**changes)


def test_keys_that_are_not_the_authority_s() -> None:
    def issue_with(pem: bytes, key: bytes) -> bytes:
        return issue(pem, key, REQUEST, GRANT, not_before=NOW, not_after=NOW + DAY)

    with pytest.raises(CertificateError, match="not that of the authority 'default'"):
        issue_with(AUTHORITY_PEM, IdentityKey.generate().to_pem())
    with pytest.raises(CertificateError, match="the authority's key: not a private key in PEM"):
        issue_with(AUTHORITY_PEM, AUTHORITY_PEM)
    with pytest.raises(CertificateError, match="no CA flag"):
        issue_with(issued(), AUTHORITY_KEY)


def test_files_that_are_no_authority() -> None:
    for pem in (b"", AUTHORITY_KEY, b"nonsense"):
        with pytest.raises(CertificateError, match="not a certificate in PEM"):
            Authority(pem)
    with pytest.raises(CertificateError, match="holds 3 certificates: it must hold 2 at most"):
        Authority(AUTHORITY_PEM * 3)
    with pytest.raises(CertificateError, match="not an authority"):
        Authority(AUTHORITY_PEM + issued(not_before=NOW))
    with pytest.raises(CertificateError, match="must have 1 to 64 characters"):
        make_authority("", 1, now=NOW)
    with pytest.raises(CertificateError, match="the authority's key: not a private key"):
        make_authority("default", 1, now=NOW, key_pem=b"")
    with pytest.raises(CertificateError, match="one day or more"):
        make_authority("default", 0, now=NOW)


def test_one_authority_takes_over_from_another() -> None:
    """Both have one name; what either issued is good, and the first issues."""
    old, new = AUTHORITY_PEM, make_authority("default", 365, now=NOW)
    by_old = certificate_der(issued(not_before=NOW))
    grant = issue(new[0] + old, new[1], REQUEST, GRANT, not_before=NOW, not_after=NOW + DAY)
    by_new = certificate_der(grant)
    for both in (Authority(old + new[0]), Authority(new[0] + old)):
        assert both.verify(by_old).grant == both.verify(by_new).grant == GRANT
        assert both.fingerprints == {Authority(old).fingerprint, Authority(new[0]).fingerprint}
        for key in (AUTHORITY_KEY, new[1]):
            assert read_revocation(both, make_revocation(key, "prod", NODE_KEY)).node_key == NODE_KEY
    assert Authority(new[0] + old).fingerprint == Authority(new[0]).fingerprint
    with pytest.raises(NotIssued):
        Authority(new[0]).verify(by_old)
    with pytest.raises(CertificateError, match="not that of the authority"):
        issue(old + new[0], new[1], REQUEST, GRANT, not_before=NOW, not_after=NOW + DAY)


def test_requests() -> None:
    pem = make_request(IDENTITY, "a1", NODE_KEY)
    assert (REQUEST.node_name, REQUEST.node_key, REQUEST.identity_key) == ("a1", NODE_KEY, IDENTITY.public)
    der = x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
    forged = x509.load_der_x509_csr(der[:-1] + bytes([der[-1] ^ 1])).public_bytes(Encoding.PEM)
    with pytest.raises(CertificateError, match="signature is not its own key's"):
        read_request(forged)
    for other in (b"", AUTHORITY_PEM, pem[:100]):
        with pytest.raises(CertificateError, match="not a certificate request"):
            read_request(other)
    bare = x509.CertificateSigningRequestBuilder().subject_name(name("a1")).sign(IDENTITY.private, None)
    with pytest.raises(CertificateError, match="is missing: smegmesh did not make this"):
        read_request(bare.public_bytes(Encoding.PEM))
    spaced = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name("a 1"))
        .add_extension(x509.UnrecognizedExtension(NODE_KEY_OID, encode_node_key(NODE_KEY)), critical=False)
        .sign(IDENTITY.private, None)
    )
    with pytest.raises(CertificateError, match="node name 'a 1' is not valid"):
        read_request(spaced.public_bytes(Encoding.PEM))
    with pytest.raises(ValueError, match="node name 'a 1' is not valid"):
        make_request(IDENTITY, "a 1", NODE_KEY)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


Extension = tuple[x509.ExtensionType, bool]


def signed_by_hand(
    change: Callable[[dict[str, Extension]], object], subject: x509.Name | None = None, public: object = None
) -> bytes:
    """A certificate that the authority did sign, with something in it that it would not."""
    extensions: dict[str, Extension] = {
        "constraints": (x509.BasicConstraints(ca=False, path_length=None), True),
        "usage": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), False),
        "names": (x509.SubjectAlternativeName([x509.DNSName("a1")]), False),
        "grant": (x509.UnrecognizedExtension(GRANT_OID, encode_grant(GRANT)), False),
    }
    change(extensions)
    start = datetime.fromtimestamp(NOW, timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or name("a1"))
        .issuer_name(name("default"))
        .public_key(public or Ed25519PublicKey.from_public_bytes(IDENTITY.public))
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
    )
    for value, critical in extensions.values():
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(load_ed25519_pem(AUTHORITY_KEY), None).public_bytes(Encoding.DER)


def grant_of(text: bytes) -> Extension:
    return x509.UnrecognizedExtension(GRANT_OID, bytes([0x0C, 0x81, len(text)]) + text), False


CANONICAL = encode_grant(GRANT)[3:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.update(constraints=(x509.BasicConstraints(ca=True, path_length=0), True)), "an authority's"),
        (lambda e: e.pop("constraints"), "not a certificate of smegmesh"),
        (lambda e: e.pop("usage"), "not a certificate of smegmesh"),
        (lambda e: e.update(usage=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)), "TLS clients"),
        (lambda e: e.update(names=(x509.SubjectAlternativeName([x509.DNSName("b")]), False)), "alternative name"),
        (lambda e: e.pop("grant"), "is missing: smegmesh did not make this"),
        (lambda e: e.update(grant=grant_of(CANONICAL.replace(b"office", b"prod.x"))), "canonical form"),
        (lambda e: e.update(grant=grant_of(CANONICAL.replace(b'"prod"', b'"PROD"'))), "bad label 'PROD'"),
        (lambda e: e.update(grant=grant_of(CANONICAL.replace(b":", b": ", 1))), "canonical form"),
        (lambda e: e.update(grant=grant_of(CANONICAL.replace(b'"version":1', b'"version":2'))), "knows 1"),
        (lambda e: e.update(grant=grant_of(CANONICAL.replace(b'"version":1', b'"version":true'))), "canonical form"),
        (lambda e: e.update(grant=grant_of(CANONICAL.replace(b'{"bridges"', b'{"more":1,"bridges"'))), "not know"),
        (lambda e: e.update(grant=grant_of(CANONICAL.replace(b'["*"]', b'"*"'))), "no proper 'bridges'"),
        (lambda e: e.update(grant=grant_of(CANONICAL.replace(b'["*"]', b"[1]"))), "mesh id 1"),
        (lambda e: e.update(grant=grant_of(CANONICAL.replace(b'"::/0"', b'"::1/0"'))), "prefix '::1/0'"),
        (lambda e: e.update(grant=grant_of(CANONICAL[:-1])), "does not hold JSON"),
        (lambda e: e.update(grant=grant_of(b"[]")), "not a DER UTF8String"),
        (lambda e: e.update(grant=(x509.UnrecognizedExtension(GRANT_OID, CANONICAL), False)), "not a DER UTF8String"),
        (lambda e: e.update(grant=(x509.UnrecognizedExtension(NODE_KEY_OID, b""), False)), "is missing"),
    ],
)
def test_contents_are_read_strictly(change: Callable[[dict[str, Extension]], object], message: str) -> None:
    with pytest.raises(CertificateError, match=message):
        Authority(AUTHORITY_PEM).verify(signed_by_hand(change))


def test_subject_and_key_are_read_strictly() -> None:
    verify = Authority(AUTHORITY_PEM).verify
    assert verify(signed_by_hand(lambda _: None)).grant == GRANT
    two = x509.Name([*name("a1"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")])
    with pytest.raises(CertificateError, match="is not one common name"):
        verify(signed_by_hand(lambda _: None, subject=two))
    bad = {"names": (x509.SubjectAlternativeName([x509.DNSName("a 1")]), False)}
    with pytest.raises(CertificateError, match="node name 'a 1' is not valid"):
        verify(signed_by_hand(lambda e: e.update(bad), subject=name("a 1")))
    with pytest.raises(CertificateError, match="an Ed25519 key is needed"):
        verify(signed_by_hand(lambda _: None, public=generate_private_key(SECP256R1()).public_key()))


def test_grants_are_sets_with_questions() -> None:
    grant = Grant("a1", NODE_KEY, ["b", "a", "b"], [], ["10.0.0.0/8", "2001:DB8::/32"])
    assert grant == Grant("a1", NODE_KEY, ("a", "b"), (), ("2001:db8::/32", "10.0.0.0/8"))
    assert grant.allows_mesh("a")
    assert not grant.allows_mesh("c")
    assert Grant("a1", NODE_KEY, ("*",)).allows_mesh("c")
    assert not grant.allows_bridge("a")
    assert Grant("a1", NODE_KEY, (), ("*",)).allows_bridge("a")
    assert grant.allows_prefix("2001:db8:1::/48")
    assert grant.allows_prefix("10.1.0.0/16")
    assert not grant.allows_prefix("::/0")
    assert not grant.allows_prefix("0.0.0.0/0")
    assert not grant.allows_prefix("nonsense")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"node_name": ""}, "node name '' is not valid"),
        ({"node_name": "a" * 65}, "1 to 64 letters"),
        ({"node_key": b"short"}, "32 bytes, not 5"),
        ({"meshes": "prod"}, "must be a list, not the text 'prod'"),
        ({"meshes": ["Prod"]}, "mesh id 'Prod'"),
        ({"bridges": ["**"]}, r"mesh id '\*\*'"),
        ({"prefixes": ["2001:db8::1/32"]}, "prefix '2001:db8::1/32' is not valid"),
        ({"prefixes": [5]}, "prefix 5 is not valid"),
    ],
)
def test_what_is_no_grant(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grant(**{"node_name": "a1", "node_key": NODE_KEY, **changes})


def test_a_grant_too_long_is_refused_when_it_is_issued() -> None:
    with pytest.raises(ValueError, match=r"too long .* name fewer meshes"):
        issued(Grant("a1", NODE_KEY, [f"mesh-{number}" for number in range(9000)]))
