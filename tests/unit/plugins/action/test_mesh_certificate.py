# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From request to certificate: real keys and certificates, a host that is an object."""

from __future__ import annotations

import json
import time
import types

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret
from ansible.template import Templar
from ansible_collections.smegmesh.wireguard.plugins.action.mesh_certificate import ActionModule
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, identity, issued, takeover

SECRET = [("default", VaultSecret(b"password"))]


class Host:
    """What the module does on a host, and all that it was ever handed."""

    def __init__(self, name="a1"):
        keys = identity.load("keys")
        self.name = name
        self.identity = keys.IdentityKey.generate()
        self.node_key = keys.public_key(keys.generate_private_key())
        self.has_agent = True
        self.check_mode = False
        self.files = {"authority": "", "certificate": ""}
        self.handed = []
        self.deaf = {}
        self.shown = {}

    def follow(self):
        """What the agent answers to a reload: it goes by its files, unless it cannot read them."""
        if not self.deaf:
            authority = certificates.read_authority(self.files["authority"].encode(), "host")
            current = certificates.read_certificate(authority, self.files["certificate"])
            trusts = sorted(each.hex()[:16] for each in authority.fingerprints)
            self.shown = {"authority": "default", "trusts": trusts, "certificate": current.fingerprint.hex()[:32]}
        mesh = {"mesh": "prod", "state": "up", "problem": None, **self.shown}
        other = {"mesh": "office", "state": "up", "authority": "other", "trusts": [], "certificate": "f00"}
        return {"problems": self.deaf, "meshes": [mesh, other]}

    def install_anew(self):
        """Another disk: other keys, and nothing of what was there."""
        self.__init__(self.name)

    def module(self, options, variables, **handed):
        self.handed.append({**options, **handed})
        if handed:
            new = {"authority": handed["_authority"], "certificate": handed["_certificate"]}
            changed = new != self.files
            self.files = self.files if self.check_mode else new
            return {"changed": changed, **(self.follow() if options["reload"] else {})}
        make_request = identity.load("certificate").make_request
        request = make_request(self.identity, self.name, self.node_key).decode() if self.has_agent else None
        return {"changed": False, "request": request, **self.files}


class Site:
    """A controller with an authority on disk."""

    def __init__(self, directory):
        self.certificate, self.key = directory / "authority.pem", directory / "authority.key"
        self.loader = DataLoader()
        self.loader.set_vault_secrets(SECRET)
        self.variables = {}
        self.check_mode = False
        self.warnings = []
        self.renew(time.time())

    def renew(self, now, days=3650):
        pem, key = identity.load("certificate").make_authority("default", days, now=now)
        self.certificate.write_bytes(pem)
        self.key.write_bytes(key)

    def run(self, host, **changes):
        action = ActionModule.__new__(ActionModule)
        action._task = types.SimpleNamespace(check_mode=self.check_mode)
        action._loader = self.loader
        action._templar = Templar(loader=self.loader, variables=self.variables)
        action._module = host.module
        host.check_mode = self.check_mode
        action._display = types.SimpleNamespace(warning=self.warnings.append)
        options = {
            "authority": "default",
            "node_name": host.name,
            "node_key": None,
            "meshes": ["prod"],
            "bridges": [],
            "prefixes": [],
            "authority_certificate": str(self.certificate),
            "authority_key": str(self.key),
            "authority_key_variable": None,
            "replace_authority": False,
            "revoke_replaced": True,
            "valid_days": 730,
            "trust": "all",
            "reload": False,
            **changes,
        }
        return action._ensure(options, self.variables)

    def waiting(self):
        """(mesh, node key) of every revocation that waits, as the authority signed it."""
        authority = certificates.read_authority(self.certificate.read_bytes(), "here")
        book = issued.Book(self.loader, str(self.certificate), authority)
        return [(each.mesh, each.node_key) for each in book.waiting(["prod", "office", "lab"])]

    def files(self):
        return {path: path.read_bytes() for path in self.certificate.parent.rglob("*") if path.is_file()}


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def host():
    return Host()


def test_a_new_host_gets_a_certificate_and_keeps_it(site, host):
    first = site.run(host)
    assert (first["changed"], first["reason"]) == (True, "there is none")
    assert first["certificate"]["meshes"] == ["prod"]
    assert first["diff"]["before"] == {}
    second = site.run(host)
    assert not second["changed"]
    assert second["certificate"] == first["certificate"]


def test_the_key_is_handed_to_nobody_and_in_no_result(site, host):
    answer = site.run(host)
    secret = site.key.read_text().splitlines()[1]
    assert secret not in json.dumps([answer, host.handed])


def test_a_good_certificate_needs_no_key(site, host):
    site.run(host)
    site.key.unlink()
    assert not site.run(host)["changed"]
    with pytest.raises(certificates.CertificateProblem, match=r"needs a new certificate \(the grants changed\), but"):
        site.run(host, meshes=["prod", "office"])
    assert len(host.handed) == 4  # three looks and one installation


def test_the_key_may_be_a_vaulted_file(site, host):
    plain = site.key.read_text()
    site.key.write_bytes(VaultLib(SECRET).encrypt(plain, SECRET[0][1]))
    assert site.run(host)["changed"]
    assert "ANSIBLE_VAULT" in site.key.read_text()


def test_a_key_that_cannot_be_decrypted_is_named(site, host):
    site.key.write_bytes(VaultLib(SECRET).encrypt(site.key.read_text(), SECRET[0][1]))
    site.loader.set_vault_secrets([("default", VaultSecret(b"wrong"))])
    with pytest.raises(AnsibleVaultError, match=r"authority\.key cannot be decrypted: .*--ask-vault-pass"):
        site.run(host)


def test_the_key_may_be_a_variable(site, host):
    site.variables["my_key"] = site.key.read_text()
    site.key.unlink()
    assert site.run(host, authority_key=None, authority_key_variable="my_key")["changed"]
    with pytest.raises(certificates.CertificateProblem, match="there is no variable 'other'"):
        site.run(Host(), authority_key=None, authority_key_variable="other")


def test_an_authority_that_was_renewed_with_its_key_reaches_the_host(site, host):
    site.run(host)
    pem, _key = identity.load("certificate").make_authority(
        "default", 5000, now=time.time(), key_pem=site.key.read_bytes()
    )
    site.certificate.write_bytes(pem)
    answer = site.run(host)
    assert (answer["changed"], answer["reason"]) == (True, "the authority's certificate was renewed")
    assert host.files["authority"] == pem.decode()


def test_a_host_of_another_authority_is_left_alone_unless_it_is_meant(site, host):
    site.run(host)
    before = dict(host.files)
    site.renew(time.time())
    with pytest.raises(certificates.CertificateProblem, match="host a1 belongs to another authority 'default'"):
        site.run(host)
    assert host.files == before
    assert site.run(host, replace_authority=True)["changed"]


def test_a_missing_or_expired_authority_is_told(site, host):
    site.renew(time.time() - 11 * certificates.DAY, days=10)
    with pytest.raises(certificates.CertificateProblem, match="the authority 'default' expired"):
        site.run(host)
    site.certificate.unlink()
    with pytest.raises(certificates.CertificateProblem, match="make it with the role smegmesh_authority"):
        site.run(host)
    assert host.files["certificate"] == ""


def test_check_mode_predicts_on_a_host_and_a_controller_that_have_nothing(site, host):
    site.check_mode = True
    host.has_agent = False
    answer = site.run(host)
    assert (answer["changed"], answer["reason"]) == (True, "the host has no keys yet")
    site.certificate.unlink()
    assert site.run(host)["changed"]


def test_bad_grants_are_refused_before_the_host_is_asked(site, host):
    with pytest.raises(certificates.CertificateProblem, match="host a1: mesh id"):
        site.run(host, meshes=["Not A Mesh"])
    assert host.handed == []


def test_a_failure_on_the_host_is_passed_on(site):
    broken = types.SimpleNamespace(name="a1", module=lambda *_arguments: {"failed": True, "msg": "no agent"})
    assert site.run(broken) == {"failed": True, "msg": "no agent"}


def text(node_key):
    return identity.load("keys").encode_key(node_key)


def test_a_host_that_is_installed_anew_has_its_old_key_revoked_wherever_that_was_granted(site, host):
    old = text(host.node_key)
    site.run(host, meshes=["prod", "office"])
    site.run(host)  # office is no longer granted, but the first certificate still says so
    assert site.waiting() == []
    host.install_anew()
    answer = site.run(host)
    assert answer["replaced"] == {old: ["office", "prod"]}
    assert answer["diff"]["after"]["revokes"] == {old: ["office", "prod"]}
    assert site.waiting() == [("office", old), ("prod", old)]
    again = site.run(host)
    assert not again["changed"]
    assert site.waiting() == [("office", old), ("prod", old)]
    second = text(host.node_key)
    host.install_anew()
    assert site.run(host)["replaced"] == {second: ["prod"]}


def test_new_keys_beside_a_certificate_older_than_the_record_replace_those_in_it(site, host):
    site.run(host)
    for path in site.files():
        if path.suffix == ".json":
            path.unlink()
    old = text(host.node_key)
    host.node_key = Host().node_key
    assert site.run(host)["replaced"] == {old: ["prod"]}


def test_what_hosts_had_before_there_was_a_record_is_recorded_by_the_next_run(site, host):
    site.run(host)
    (record,) = (path for path in site.files() if path.suffix == ".json")
    before = record.read_bytes()
    record.unlink()
    site.check_mode = True
    assert not site.run(host)["changed"]
    assert not record.exists()
    site.check_mode = False
    assert not site.run(host)["changed"]
    assert record.read_bytes() == before


def test_a_certificate_of_another_host_names_no_predecessor(site, host):
    other = Host("b1")
    site.run(other)
    host.files = dict(other.files)
    assert site.run(host)["replaced"] == {}
    assert site.waiting() == []


def test_a_renewal_or_another_grant_replaces_nothing(site, host):
    site.run(host)
    assert site.run(host, meshes=["prod", "office"])["replaced"] == {}
    host.identity = Host().identity
    assert site.run(host)["replaced"] == {}
    assert site.waiting() == []


def test_who_says_no_keeps_the_old_key(site, host):
    site.run(host)
    old = Host()
    old.__dict__.update(host.__dict__)
    host.install_anew()
    assert site.run(host, revoke_replaced=False)["replaced"] == {}
    assert site.waiting() == []
    assert not site.run(host)["changed"]
    assert not site.run(old)["changed"]
    assert site.waiting() == []


def test_a_key_that_was_replaced_gets_nothing_any_more(site, host):
    site.run(host)
    old = Host()
    old.__dict__.update(host.__dict__)
    host.install_anew()
    site.run(host)
    for files in (old.files, {"authority": "", "certificate": ""}):
        old.files = files
        with pytest.raises(
            certificates.CertificateProblem, match=r"replaced and is revoked for good in: prod: give it"
        ):
            site.run(old)


def test_check_mode_predicts_what_is_revoked_and_signs_nothing(site, host):
    site.run(host)
    old = text(host.node_key)
    host.install_anew()
    before = site.files()
    site.check_mode = True
    assert site.run(host)["replaced"] == {old: ["prod"]}
    host.has_agent = False
    assert site.run(host)["diff"]["after"]["revokes"] == {old: ["prod"]}
    assert site.run(host, revoke_replaced=False)["replaced"] == {}
    assert site.files() == before


def test_what_was_granted_for_any_mesh_is_said_to_be_left(site, host):
    site.run(host, meshes=["*", "prod"])
    host.install_anew()
    site.run(host)
    assert [mesh for mesh, _key in site.waiting()] == ["prod"]
    assert "its certificate is for any mesh: revoke it in each" in site.warnings[0]


def test_authorities_in_one_directory_do_not_answer_for_one_another(site, host):
    site.run(host)
    site.certificate, site.key = site.certificate.with_name("other.pem"), site.key.with_name("other.key")
    site.renew(time.time())
    host.install_anew()
    assert site.run(host)["replaced"] == {}


def test_a_damaged_record_is_named_before_anything_is_issued(site, host):
    site.run(host)
    (record,) = (path for path in site.files() if path.suffix == ".json")
    record.write_text('{"issued": []}')
    handed = len(host.handed)
    with pytest.raises(certificates.CertificateProblem, match=r"a1\.json is damaged: restore it"):
        site.run(host)
    assert len(host.handed) == handed + 1  # it was looked at, and given nothing


def test_a_takeover_on_a_host_step_by_step(site, host):
    """A step is taken when the agent goes by it, and the last one before the controller's files are through."""
    files = takeover.Takeover(str(site.certificate), str(site.key), takeover.reader(site.loader))

    def step(name):
        files.do(name, days=365, now=time.time())

    site.run(host, reload=True)
    step("announced")
    host.deaf = {"prod": "authority.pem cannot be read"}
    with pytest.raises(
        certificates.CertificateProblem, match=r"host a1: mesh prod does not .*authority\.pem cannot be"
    ):
        site.run(host, reload=True)
    with pytest.raises(certificates.CertificateProblem, match="cannot be read"):
        site.run(host, reload=True)  # nothing is left to write, and still it is not done
    host.deaf = {}
    assert not site.run(host, reload=True)["changed"]
    step("switched")
    assert site.run(host, reload=True)["reason"] == "another authority takes over"
    alone = site.run(host, reload=True, trust="signing")
    assert alone["changed"] and len(host.shown["trusts"]) == 1
    assert alone["certificate"]["authority"] == host.shown["trusts"][0]
    assert not site.run(host, reload=True, trust="signing")["changed"]
    step("finished")
    assert host.files["authority"].encode() == site.certificate.read_bytes()
    assert not site.run(host)["changed"]


def test_an_agent_that_does_not_say_whom_it_trusts_has_not_followed(site, host):
    site.run(host)
    host.deaf, host.shown = {"other": "of another mesh"}, {}
    with pytest.raises(certificates.CertificateProblem, match="too old: upgrade it"):
        site.run(host, reload=True)


def renamed(host, name):
    """The same machine under another name."""
    other = Host(name)
    other.__dict__.update({**host.__dict__, "name": name})
    return other


def test_a_host_that_was_renamed_keeps_its_key_when_another_machine_gets_its_old_name(site, host):
    site.run(host)
    old = renamed(host, "a1-old")
    assert site.run(old)["replaced"] == {}
    assert site.run(Host())["replaced"] == {}
    assert site.waiting() == []
    assert not site.run(old)["changed"]
    key = text(old.node_key)
    old.install_anew()
    assert site.run(old)["replaced"] == {key: ["prod"]}, "it is known under its new name"


def test_two_hosts_swap_their_names(site, host):
    other = Host("b1")
    site.run(host)
    site.run(other)
    swapped = renamed(host, "b1"), renamed(other, "a1")
    for each in swapped:
        assert site.run(each)["replaced"] == {}
    assert site.waiting() == []
    assert f"so the key {text(other.node_key)} that was b1's may be in use under another name" in site.warnings[0]
    for each in swapped:
        key = text(each.node_key)
        each.install_anew()
        assert site.run(each)["replaced"] == {key: ["prod"]}


def test_a_rename_is_known_by_the_certificate_where_there_is_no_record_of_it(site, host):
    other = Host("b1")
    site.run(host)
    site.run(other)
    (record,) = (path for path in site.files() if path.name == "a1.json")
    record.unlink()
    assert site.run(renamed(host, "b1"))["replaced"] == {}


def test_a_key_that_was_replaced_gets_nothing_under_another_name(site, host):
    site.run(host)
    old = renamed(host, "a1-old")
    host.install_anew()
    site.run(host)
    with pytest.raises(certificates.CertificateProblem, match=r"host a1-old .* revoked for good in: prod: give it"):
        site.run(old)


def test_check_mode_predicts_for_the_key_that_the_host_is_to_get(site, host):
    site.run(host)
    old, new = text(host.node_key), text(Host().node_key)
    before = site.files()
    site.check_mode = True
    assert not site.run(host, node_key=old)["changed"]
    answer = site.run(host, node_key=new)
    assert (answer["changed"], answer["replaced"]) == (True, {old: ["prod"]})
    assert answer["certificate"]["node_key"] == new
    with pytest.raises(certificates.CertificateProblem, match="node_key: not a key"):
        site.run(host, node_key="nonsense")
    site.key.unlink()
    with pytest.raises(certificates.CertificateProblem, match="the key of authority 'default' is not at"):
        site.run(host, node_key=new)
    assert site.files() == {path: content for path, content in before.items() if path != site.key}


def test_a_host_with_another_key_than_it_was_to_get_is_not_certified(site, host):
    with pytest.raises(certificates.CertificateProblem, match=r"host a1 has another node key than .*agent_key first"):
        site.run(host, node_key=text(Host().node_key))
    assert host.files["certificate"] == ""


def test_the_damaged_record_of_another_host_holds_up_nobody(site, host):
    site.run(host)
    (record,) = (path for path in site.files() if path.suffix == ".json")
    record.write_text('{"issued": []}')
    assert site.run(Host("b1"))["changed"]
