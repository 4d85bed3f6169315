# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operators of an authority on the controller: real keys, certificates and files."""

from __future__ import annotations

import json
import stat
import time
import types

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible_collections.smegmesh.wireguard.plugins.action import mesh_authority
from ansible_collections.smegmesh.wireguard.plugins.action.mesh_authority import ActionModule
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, operators


class Site:
    """A controller, its clock, and what it warns of."""

    def __init__(self, directory):
        self.directory = directory / "ca"
        self.key = self.directory / "authority.key"
        self.alice = self.directory / "operators" / "alice.pem"
        self.alice_key = self.directory / "operators" / "alice.key"
        self.check_mode = False
        self.warnings = []
        self.now = time.time()

    def run(self, **options):
        action = ActionModule.__new__(ActionModule)
        arguments = {"certificate": str(self.directory / "authority.pem"), "key": str(self.key), **options}
        action._task = types.SimpleNamespace(
            check_mode=self.check_mode, args=arguments, async_val=0, environment=None, action="mesh_authority"
        )
        action._loader = DataLoader()
        action._display = types.SimpleNamespace(warning=self.warnings.append)
        action._connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None))
        action._supports_async = False
        return action.run(task_vars={})


@pytest.fixture
def site(tmp_path, monkeypatch):
    made = Site(tmp_path)
    monkeypatch.setattr(mesh_authority, "time", types.SimpleNamespace(time=lambda: made.now))
    return made


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_an_operator_gets_key_and_certificate_and_keeps_them(site):
    first = site.run(operators=["alice", "alice"])
    assert first["changed"]
    (alice,) = first["operators"]
    assert (alice["name"], alice["reason"], alice["certificate"]) == ("alice", "there is none", str(site.alice))
    assert [(each["before"], each["after"]["name"]) for each in first["diff"]] == [({}, "alice")]
    assert (mode(site.alice), mode(site.alice_key), mode(site.alice.parent)) == (0o644, 0o600, 0o700)
    second = site.run(operators=["alice"])
    assert not second["changed"]
    assert second["operators"][0]["fingerprint"] == alice["fingerprint"]


def test_the_key_is_in_no_result(site):
    answer = json.dumps(site.run(operators=["alice"]))
    for key in (site.key, site.alice_key):
        assert key.read_text().splitlines()[1] not in answer


def test_check_mode_predicts_and_writes_nothing(site):
    site.check_mode = True
    answer = site.run(operators=["alice"])
    assert answer["changed"]
    assert answer["diff"][0]["after"] == {"name": "alice"}
    assert not site.directory.exists()
    site.check_mode = False
    site.run()
    site.check_mode = True
    assert site.run(operators=["alice"])["changed"]
    assert not site.alice.exists()


def test_it_is_renewed_in_its_last_third_with_the_same_key_even_if_that_was_taken_away(site):
    first = site.run(operators=["alice"])
    before = site.alice_key.read_bytes()
    site.now += 250 * certificates.DAY
    renewed = site.run(operators=["alice"])
    assert renewed["operators"][0]["reason"] == "less than a third of its time is left"
    assert renewed["operators"][0]["not_after"] > first["operators"][0]["not_after"]
    assert renewed["diff"][0]["before"]["not_after"] == first["operators"][0]["not_after"]
    assert site.alice_key.read_bytes() == before
    site.alice_key.unlink()
    assert not site.run(operators=["alice"])["changed"]
    site.now += 250 * certificates.DAY
    assert site.run(operators=["alice"])["changed"]
    assert not site.alice_key.exists()
    site.alice_key.write_bytes(before)
    assert not site.run(operators=["alice"])["changed"]


def test_a_new_key_takes_a_new_certificate(site):
    site.run(operators=["alice"])
    site.alice_key.write_bytes(operators.make_key())
    assert site.run(operators=["alice"])["operators"][0]["reason"] == "the operator's key changed"
    site.alice.unlink()
    site.alice_key.unlink()
    assert site.run(operators=["alice"])["operators"][0]["reason"] == "there is none"
    assert site.alice_key.exists()


def test_without_the_authority_s_key(site):
    site.run(operators=["alice"])
    site.key.rename(site.key.with_suffix(".away"))
    assert not site.run(operators=["alice"])["changed"]
    with pytest.raises(
        AnsibleActionFail, match=r"operator 'bob' needs a new certificate \(there is none\), but the key"
    ):
        site.run(operators=["alice", "bob"])
    site.now += 250 * certificates.DAY
    assert not site.run(operators=["alice"])["changed"]
    assert "operator 'alice' ends on" in site.warnings[-1]
    site.now += 150 * certificates.DAY
    with pytest.raises(AnsibleActionFail, match=r"needs a new certificate \(it is expired\)"):
        site.run(operators=["alice"])


def test_never_makes_what_is_missing_only(site):
    site.run(operators=["alice"], regenerate="never")
    site.now += 250 * certificates.DAY
    assert not site.run(operators=["alice"], regenerate="never")["changed"]
    assert site.run(operators=["alice", "bob"], regenerate="never")["operators"][1]["reason"] == "there is none"


def test_a_bad_name_is_told_before_anything_is_made(site):
    with pytest.raises(AnsibleActionFail, match=r"operator name '\.\./x' is not valid"):
        site.run(operators=["alice", "../x"])
    assert not site.directory.exists()
