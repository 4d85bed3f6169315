# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a certificate is issued again, and what becomes of bad input."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, identity

NOW = 1_800_000_000
DAY = certificates.DAY
WANTED = certificates.Wanted("a1", ("prod",), (), ("2001:db8:10::/48",))


class Authority:
    """An authority with its key, and a host's request to it."""

    def __init__(self, name="default", days=3650, now=NOW):
        self.pem, self.key = identity.load("certificate").make_authority(name, days, now=now)
        self.read = certificates.read_authority(self.pem, "authority.pem")

    def issue(self, request, wanted=WANTED, days=730, now=NOW):
        return certificates.sign(self.read, self.key, request, wanted, days=days, now=now)


class Host:
    """A host's keys and its request."""

    def __init__(self, name="a1"):
        keys = identity.load("keys")
        self.identity = keys.IdentityKey.generate()
        self.node_key = keys.public_key(keys.generate_private_key())
        self.csr = identity.load("certificate").make_request(self.identity, name, self.node_key).decode()

    def request(self, wanted=WANTED):
        return certificates.read_request(self.csr, wanted)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def host():
    return Host()


def reason(authority, pem, request, wanted=WANTED, now=NOW):
    current = certificates.read_certificate(authority.read, pem)
    return certificates.reason_to_issue(authority.read, current, pem, request, wanted, now)


def test_a_host_that_an_enroller_let_in_is_certified_by_the_authority(authority, host):
    enroller = identity.load("enroller")
    peer = identity.load("keys").IdentityKey.generate()
    request = identity.load("certificate").read_request(
        identity.load("certificate").make_request(peer, "a2", bytes(32))
    )
    appointed = enroller.issue_enroller(
        authority.pem, authority.key, request, ["prod"], not_before=NOW, not_after=NOW + DAY
    )
    der = identity.load("fields").certificate_der(appointed)
    read = authority.read.read(der, identity.load("enrolled").read_enroller)
    join = identity.load("joining").read_join("prod", host.csr.encode())
    pem = enroller.enroll(read, peer, join, now=NOW).decode()
    assert reason(authority, pem, host.request()) == "it is damaged or of another authority"


def test_a_good_certificate_is_left_alone(authority, host):
    pem = authority.issue(host.request())
    assert reason(authority, pem, host.request()) is None
    assert reason(authority, pem, host.request(), now=NOW + 480 * DAY) is None


def test_the_certificate_says_what_the_inventory_grants(authority, host):
    pem = authority.issue(host.request())
    said = certificates.describe(authority.read, certificates.read_certificate(authority.read, pem))
    assert said["node_name"] == "a1"
    assert (said["meshes"], said["bridges"], said["prefixes"]) == (["prod"], [], ["2001:db8:10::/48"])
    assert said["not_after"] == certificates.date(NOW + 730 * DAY)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"meshes": ("prod", "office")}, "the grants changed"),
        ({"bridges": ("prod",)}, "the grants changed"),
        ({"prefixes": ()}, "the grants changed"),
    ],
)
def test_other_grants_take_another_certificate(authority, host, change, expected):
    pem = authority.issue(host.request())
    assert reason(authority, pem, host.request(), dataclasses.replace(WANTED, **change)) == expected


def test_the_order_of_grants_does_not_matter(authority, host):
    wanted = dataclasses.replace(WANTED, meshes=("prod", "office"))
    pem = authority.issue(host.request(), wanted)
    assert reason(authority, pem, host.request(), dataclasses.replace(WANTED, meshes=("office", "prod"))) is None


def test_missing_damaged_or_of_another_authority(authority, host):
    assert reason(authority, "", host.request()) == "there is none"
    assert reason(authority, "garbage", host.request()) == "it is damaged or of another authority"
    pem = authority.issue(host.request())
    assert reason(authority, pem[: len(pem) // 2], host.request()) == "it is damaged or of another authority"
    other = Authority().issue(host.request())
    assert reason(authority, other, host.request()) == "it is damaged or of another authority"


def test_new_keys_on_the_host(authority, host):
    pem = authority.issue(host.request())
    assert reason(authority, pem, Host().request()) == "the host's identity key changed"
    moved = dataclasses.replace(host.request(), node_key=bytes(range(32)))
    assert reason(authority, pem, moved) == "the host's node key changed"


def test_it_is_renewed_in_its_last_third_and_when_expired(authority, host):
    pem = authority.issue(host.request())
    assert reason(authority, pem, host.request(), now=NOW + 490 * DAY) == "less than a third of its time is left"
    assert reason(authority, pem, host.request(), now=NOW + 731 * DAY) == "it is expired"


def test_a_certificate_ends_with_its_authority_and_does_not_renew_for_ever(host):
    short = Authority(days=100)
    pem = short.issue(host.request())
    assert reason(short, pem, host.request(), now=NOW + DAY) is None


def test_an_expired_authority_signs_nothing(host):
    old = Authority(days=10)
    with pytest.raises(certificates.CertificateProblem, match=r"the authority 'default' expired on .*: renew it"):
        old.issue(host.request(), now=NOW + 11 * DAY)


def test_the_key_of_another_authority_is_refused_without_showing_it(authority, host):
    with pytest.raises(certificates.CertificateProblem, match="host a1: the key is not that of the authority"):
        certificates.sign(authority.read, Authority().key, host.request(), WANTED, days=1, now=NOW)
    with pytest.raises(certificates.CertificateProblem) as caught:
        certificates.sign(authority.read, b"secret words", host.request(), WANTED, days=1, now=NOW)
    assert "secret" not in str(caught.value)


def test_a_request_for_another_name_or_with_a_bad_signature(authority):
    with pytest.raises(certificates.CertificateProblem, match="is for node 'b1'"):
        certificates.read_request(Host("b1").csr, WANTED)
    with pytest.raises(certificates.CertificateProblem, match="the request of host a1"):
        certificates.read_request("nonsense", WANTED)


def test_an_authority_that_is_none(host):
    with pytest.raises(certificates.CertificateProblem, match=r"ca\.pem: not a certificate"):
        certificates.read_authority(b"nonsense", "ca.pem")


def test_grants_that_are_none():
    with pytest.raises(certificates.CertificateProblem, match="host a1: mesh id 'Prod' has the bad label"):
        dataclasses.replace(WANTED, meshes=("Prod",)).grant(bytes(32))
    with pytest.raises(certificates.CertificateProblem, match="prefix 'x' is not valid"):
        dataclasses.replace(WANTED, prefixes=("x",)).grant(bytes(32))


def test_serials_are_random(authority, host):
    issued = {
        certificates.read_certificate(authority.read, authority.issue(host.request())).serial for _again in range(20)
    }
    assert len(issued) == 20
