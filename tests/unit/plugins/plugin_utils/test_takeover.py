# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Step by step from one authority to another, whatever is repeated, interrupted or lost."""

from __future__ import annotations

import os

import pytest
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, controller_files, identity
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.takeover import STEPS, Takeover

NOW = 1_800_000_000


class Site:
    """The files of an authority."""

    def __init__(self, directory):
        self.certificate, self.key = directory / "authority.pem", directory / "authority.key"
        pem, key = identity.load("certificate").make_authority("default", 365, now=NOW)
        self.certificate.write_bytes(pem)
        self.key.write_bytes(key)
        self.old = self.public()

    def files(self):
        return Takeover(str(self.certificate), str(self.key), self.read)

    @staticmethod
    def read(path):
        return open(path, "rb").read() if os.path.exists(path) else None

    def take(self, step):
        files = self.files()
        reason = files.reason(step)
        if reason:
            files.do(step, days=365, now=NOW)
        return reason

    def public(self):
        return identity.load("keys").IdentityKey.from_pem(self.key.read_bytes()).public

    def trusted(self):
        """Public keys of the certificates, the one that signs first; all that there is fits together."""
        authority = certificates.read_authority(self.certificate.read_bytes(), "authority.pem")
        if self.key.exists():
            assert authority.public == self.public(), "the key does not sign for the first certificate"
        return [authority.public] + ([authority.other.public] if authority.other else [])


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_the_steps(site):
    assert site.take("announced") and not site.take("announced")
    old, new = site.trusted()
    assert old == site.old != new
    assert site.take("switched") and not site.take("switched") and not site.take("announced")
    assert site.trusted() == [new, old]
    assert site.take("finished") and not site.take("finished")
    assert site.trusted() == [new]
    assert sorted(path.name for path in site.key.parent.iterdir()) == ["authority.key", "authority.pem"]
    assert site.key.stat().st_mode & 0o777 == 0o600


def test_none_is_left_out(site):
    assert site.files().reason("switched") is None
    site.take("announced")
    with pytest.raises(certificates.CertificateProblem, match="switch"):
        site.take("finished")


@pytest.mark.parametrize("step", STEPS)
def test_what_was_interrupted_is_done_by_the_next_run(site, step, monkeypatch):
    for each in STEPS[: STEPS.index(step)]:
        site.take(each)

    def crash(path, content, mode):
        if path == str(site.certificate):
            raise OSError(28, "No space left on device")
        before(path, content, mode)

    before = controller_files.write
    monkeypatch.setattr(controller_files, "write", crash)
    with pytest.raises(OSError, match="No space"):
        site.take(step)
    monkeypatch.undo()
    assert site.take(step)
    for each in STEPS:
        site.take(each) if STEPS.index(each) > STEPS.index(step) else None
    assert len(site.trusted()) == 1 and site.trusted() != [site.old]


def test_a_key_that_is_lost_is_no_hindrance(site):
    site.key.unlink()
    for step in STEPS:
        assert site.take(step)
    assert site.trusted() == [site.public()]


def test_what_vault_encrypted_is_moved_as_it_is(site):
    secret = site.key.read_bytes()
    site.key.write_bytes(b"$ANSIBLE_VAULT;1.1;AES256\n00\n")
    real = site.read
    site.read = lambda path: secret if path == str(site.key) and b"VAULT" in real(path) else real(path)
    site.take("announced")
    site.take("switched")
    assert site.key.with_name("authority.key.former").read_bytes().startswith(b"$ANSIBLE_VAULT")
