# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A revocation: the key from the host, the signature here; the host is an object."""

from __future__ import annotations

import base64
import json
import time
import types

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.smegmesh.wireguard.plugins.action.mesh_member import ActionModule
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, identity

NODE_KEY = base64.b64encode(bytes(range(32))).decode("ascii")


class Site:
    """A controller with an authority, and a host whose agent takes what the authority signed."""

    def __init__(self, directory):
        self.pem, key = identity.load("certificate").make_authority("default", 3650, now=time.time())
        self.key = directory / "authority.key"
        self.key.write_bytes(key)
        self.variables = {"vault_key": key.decode("ascii")}
        self.check_mode = False
        self.answer = {"changed": True, "node_key": NODE_KEY}
        self.handed = []

    def module(self, options, variables, **handed):
        self.handed.append({**options, **handed})
        if not handed:
            return self.answer
        revocation = identity.load("revocation").read_revocation(
            certificates.read_authority(self.pem, "here"), handed["_revocation"].encode("ascii")
        )
        return {"changed": True, "node_key": base64.b64encode(revocation.node_key).decode("ascii")}

    def run(self, **changes):
        action = ActionModule.__new__(ActionModule)
        action._task = types.SimpleNamespace(check_mode=self.check_mode)
        action._loader = DataLoader()
        action._templar = Templar(loader=action._loader, variables=self.variables)
        action._module = self.module
        options = {
            "mesh": "prod",
            "member": "laptop",
            "state": "revoked",
            "authority_key": str(self.key),
            "authority_key_variable": None,
            **changes,
        }
        return action._ensure(options, self.variables)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.mark.parametrize("place", [{}, {"authority_key": None, "authority_key_variable": "vault_key"}])
def test_the_node_that_the_host_names_is_revoked_and_the_key_stays_here(site, place):
    assert site.run(**place) == {"changed": True, "node_key": NODE_KEY}
    assert site.handed[1]["_revocation"].startswith("smegmesh-revocation-1 prod ")
    assert len(site.handed) == 2
    assert "PRIVATE" not in json.dumps(site.handed)


def test_check_mode_signs_nothing(site):
    site.check_mode = True
    site.key.unlink()
    assert site.run()["changed"]
    assert len(site.handed) == 1


def test_to_forget_takes_no_key(site):
    site.key.unlink()
    assert site.run(state="forgotten") == site.answer
    assert len(site.handed) == 1


def test_a_key_that_is_not_there_is_named(site):
    site.key.unlink()
    with pytest.raises(certificates.CertificateProblem, match="laptop is to be revoked in mesh prod, but the key"):
        site.run()


def test_the_module_is_given_what_was_given_only(site):
    action, seen = ActionModule.__new__(ActionModule), []
    action._execute_module = lambda **call: seen.append(call["module_args"]) or {}
    action._module({"mesh": "prod", "authority_key": "a", "authority_key_variable": None}, {}, _revocation="r")
    assert seen == [{"mesh": "prod", "authority_key": "a", "_revocation": "r"}]


def test_no_key_given_at_all_is_an_error(site):
    with pytest.raises(certificates.CertificateProblem, match="neither authority_key nor authority_key_variable"):
        site.run(authority_key=None)


def test_what_the_host_refuses_is_the_answer(site):
    site.answer = {"failed": True, "msg": "no member of mesh prod is called laptop"}
    assert site.run() == site.answer
    assert len(site.handed) == 1
