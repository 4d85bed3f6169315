# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What waits on the controller, and the members that take it; the host is an object."""

from __future__ import annotations

import time
import types

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.smegmesh.wireguard.plugins.action.mesh_revocation import ActionModule
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import (
    certificates,
    controller_files,
    identity,
    issued,
)

KEYS = [identity.load("keys").encode_key(bytes([number]) * 32) for number in (1, 2)]
OFFICE, PROD = {"mesh": "office", "node_key": KEYS[0]}, {"mesh": "prod", "node_key": KEYS[1]}


class Site:
    """A controller with an authority, and a host whose agent takes what this authority signed."""

    def __init__(self, directory):
        pem, self.key = identity.load("certificate").make_authority("default", 3650, now=time.time())
        self.certificate = directory / "authority.pem"
        self.certificate.write_bytes(pem)
        self.authority = certificates.read_authority(pem, "here")
        self.book = issued.Book(DataLoader(), str(self.certificate), self.authority)
        self.check_mode = False
        self.refusal = None
        self.alone = False
        self.known = set()
        self.handed = []
        self.warnings = []
        for each in (OFFICE, PROD):
            self.wait(self.key, **each)

    def wait(self, key, mesh, node_key):
        self.book.keep(mesh, node_key, certificates.revoke(key, mesh, node_key, "a test"))

    def module(self, each, variables):
        self.handed.append((each.mesh, each.node_key))
        identity.load("revocation").read_revocation(self.authority, each.line.encode("ascii"))
        if self.refusal:
            return self.refusal
        changed = each.node_key not in self.known
        self.known.add(each.node_key)
        return {"changed": changed, "node_key": each.node_key, "told": not self.alone}

    def run(self, *meshes):
        action = ActionModule.__new__(ActionModule)
        action._task = types.SimpleNamespace(check_mode=self.check_mode)
        action._loader = DataLoader()
        action._display = types.SimpleNamespace(warning=self.warnings.append)
        action._module = self.module
        return action._ensure(
            {"authority_certificate": str(self.certificate), "meshes": list(meshes)}, {"inventory_hostname": "a1"}
        )


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_member_takes_what_waits_for_its_meshes_and_no_other_is_asked(site):
    assert site.run("prod", "lab") == {"changed": True, "revoked": [PROD], "waiting": []}
    assert site.run("prod", "lab") == {"changed": False, "revoked": [], "waiting": []}
    assert site.handed == [("prod", KEYS[1])]
    assert site.run("office")["revoked"] == [OFFICE]


def test_what_an_agent_refuses_waits_for_another_run(site):
    site.refusal = {"failed": True, "msg": "the agent is not running"}
    assert site.run("prod") == {"changed": False, "revoked": [], "waiting": [PROD]}
    assert site.warnings == [
        f"a1 did not take the revocation of {KEYS[1]} in mesh prod, which waits for another run: "
        "the agent is not running"
    ]
    site.refusal = None
    assert site.run("prod")["revoked"] == [PROD]


def test_what_only_a_lone_host_knows_waits_till_it_has_company(site):
    site.alone = True
    assert site.run("prod") == {"changed": True, "revoked": [], "waiting": [PROD]}
    assert site.run("prod") == {"changed": False, "revoked": [], "waiting": [PROD]}
    assert site.warnings == []
    site.alone = False
    assert site.run("prod") == {"changed": False, "revoked": [PROD], "waiting": []}
    assert site.run("prod") == {"changed": False, "revoked": [], "waiting": []}


def test_a_host_that_is_lost_meanwhile_is_unreachable_and_nothing_is_lost(site):
    site.refusal = {"unreachable": True, "msg": "no route"}
    assert site.run("prod") == site.refusal
    site.refusal = None
    assert site.run("prod")["revoked"] == [PROD]


def test_what_another_fork_is_at_is_passed_over(site):
    (waiting,) = site.book.waiting(["prod"])
    with controller_files.claim(waiting.path):
        assert site.run("prod") == {"changed": False, "revoked": [], "waiting": []}
    assert site.handed == []
    assert site.run("prod")["revoked"] == [PROD]
    assert controller_files.claim(waiting.path) is None


def test_check_mode_predicts_and_asks_nobody(site):
    site.check_mode = True
    assert site.run("prod") == {"changed": True, "revoked": [PROD], "waiting": []}
    assert site.handed == []
    assert len(site.book.waiting(["prod"])) == 1


def test_without_an_authority_nothing_waits(site):
    site.certificate.unlink()
    assert not site.run("prod")["changed"]


def test_what_the_authority_did_not_sign_is_named(site):
    _pem, other = identity.load("certificate").make_authority("default", 3650, now=time.time())
    site.wait(other, **PROD)
    with pytest.raises(certificates.CertificateProblem, match=r"revocations/.*/prod-.*not signed by.*remove it"):
        site.run("prod")
