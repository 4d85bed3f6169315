# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When an operator's certificate is issued again, and what becomes of bad input."""

from __future__ import annotations

import pytest
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, identity, operators

NOW = 1_800_000_000
DAY = certificates.DAY


class Authority:
    """An authority with its key."""

    def __init__(self, days=3650):
        self.pem, self.key = identity.load("certificate").make_authority("default", days, now=NOW)
        self.read = certificates.read_authority(self.pem, "authority.pem")

    def issue(self, public, name="alice", days=365, now=NOW):
        return operators.sign(self.read, self.key, name, public, days=days, now=now)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def public():
    return operators.public_key(operators.make_key(), "alice.key")


def reason(authority, pem, key=None, name="alice", now=NOW):
    current = operators.read_certificate(authority.read, pem) if pem else None
    return operators.reason_to_issue(authority.read, current, pem, name, key, now)


def test_a_good_certificate_is_left_alone_with_its_key_at_hand_or_not(authority, public):
    pem = authority.issue(public)
    assert reason(authority, pem, public) is None
    assert reason(authority, pem) is None
    said = operators.describe(authority.read, operators.read_certificate(authority.read, pem))
    assert (said["name"], said["not_after"]) == ("alice", certificates.date(NOW + 365 * DAY))


def test_why_another_is_issued(authority, public):
    pem = authority.issue(public)
    assert reason(authority, None) == "there is none"
    assert reason(authority, b"garbage") == "it is damaged or of another authority"
    assert reason(authority, Authority().issue(public)) == "it is damaged or of another authority"
    assert reason(authority, authority.pem) == "it is damaged or of another authority"
    assert reason(authority, pem, name="bob") == "it is of another name"
    assert reason(authority, pem, bytes(32)) == "the operator's key changed"
    assert reason(authority, pem, now=NOW + 240 * DAY) is None
    assert reason(authority, pem, now=NOW + 250 * DAY) == "less than a third of its time is left"
    assert reason(authority, pem, now=NOW + 366 * DAY) == "it is expired"


def test_it_ends_with_its_authority_and_an_expired_one_signs_nothing(public):
    short = Authority(days=100)
    said = operators.describe(short.read, operators.read_certificate(short.read, short.issue(public)))
    assert said["not_after"] == certificates.date(NOW + 100 * DAY)
    with pytest.raises(certificates.CertificateProblem, match=r"the authority 'default' expired on .*: renew it"):
        short.issue(public, now=NOW + 101 * DAY)


def test_bad_names_and_keys_are_told_without_showing_the_key(authority, public):
    for name in ("../alice", "", "a b", "x" * 65):
        with pytest.raises(certificates.CertificateProblem, match=r"operator name .* is not valid"):
            operators.check_name(name)
    with pytest.raises(certificates.CertificateProblem, match=r"alice\.key: .*: remove it") as caught:
        operators.public_key(b"secret words", "alice.key")
    assert "secret" not in str(caught.value)
    with pytest.raises(certificates.CertificateProblem, match="operator 'alice': the key is not that of the authority"):
        operators.sign(authority.read, Authority().key, "alice", public, days=1, now=NOW)
