# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signs a host's certificate in the controller's process.

The authority's key is a local variable of one method: it is in no task argument, no
temporary file, no result and no message.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import (
    authority_key,
    certificates,
    controller_files,
    identity,
    issued,
)

SPEC = {
    "authority": {"type": "str", "default": "default"},
    "node_name": {"type": "str"},
    "node_key": {"type": "str"},
    "meshes": {"type": "list", "elements": "str", "required": True},
    "bridges": {"type": "list", "elements": "str", "default": []},
    "prefixes": {"type": "list", "elements": "str", "default": []},
    "authority_certificate": {"type": "path", "required": True},
    **authority_key.OPTIONS,
    "replace_authority": {"type": "bool", "default": False},
    "revoke_replaced": {"type": "bool", "default": True},
    "valid_days": {"type": "int", "default": 730},
    "trust": {"type": "str", "choices": ["all", "signing"], "default": "all"},
    "reload": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Request from the host, decision and signature here, certificate to the host."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _spec, options = self.validate_argument_spec(SPEC, mutually_exclusive=authority_key.EXCLUSIVE)
        options["node_name"] = options["node_name"] or variables["inventory_hostname"]
        try:
            result.update(self._ensure(options, variables))
        except (certificates.CertificateProblem, identity.IdentityUnavailable) as error:
            raise AnsibleActionFail(str(error)) from error
        except OSError as error:
            raise AnsibleActionFail(
                f"host {options['node_name']}: what is issued is recorded beside {options['authority_certificate']}, "
                f"and that fails: {error}: make the directory one you can write to"
            ) from error
        return result

    def _ensure(self, options: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        wanted = certificates.Wanted(
            options["node_name"], tuple(options["meshes"]), tuple(options["bridges"]), tuple(options["prefixes"])
        )
        wanted.grant(bytes(32))  # what the inventory grants is checked before the host is asked
        found = self._module(options, variables)
        if found.get("failed") or found.get("unreachable"):
            return found
        authority = self._authority(options, found.get("authority", ""))
        if authority is None:
            return self._predicted(wanted, "the authority is not made yet", {})
        book = issued.Book(self._loader, options["authority_certificate"], authority)
        record = book.read(wanted.node_name)
        if found["request"] is None:
            replaced = record.predecessors(None) if options["revoke_replaced"] else {}
            return self._predicted(wanted, "the host has no keys yet", replaced)
        request = self._request(found["request"], wanted, options["node_key"])
        current = certificates.read_certificate(authority, found["certificate"])
        now = time.time()
        reason = certificates.reason_to_issue(authority, current, found["certificate"], request, wanted, now)
        pem, replaced = found["certificate"], {}
        if reason:
            purpose = f"host {wanted.node_name} needs a new certificate ({reason})"
            key = authority_key.read(self._loader, self._templar, options, variables, purpose)
            pem = certificates.sign(authority, key, request, wanted, days=options["valid_days"], now=now)
            with contextlib.nullcontext() if self._task.check_mode else book.alone():
                replaced = self._grant(book, key, wanted, request.node_key, current, revoke=options["revoke_replaced"])
        else:
            issued.check(record, wanted.node_name, request.node_key)
            self._note(book, wanted.node_name, record, record.granted_by(current, wanted.node_name))
        same = not reason and found["authority"].encode("ascii") == authority.pem
        if same and not options["reload"]:
            return {"changed": False, "certificate": certificates.describe(authority, current)}
        installed = self._module(options, variables, _certificate=pem, _authority=authority.pem.decode("ascii"))
        if installed.get("failed") or installed.get("unreachable"):
            return installed
        after = certificates.describe(authority, certificates.read_certificate(authority, pem))
        if "meshes" in installed:
            self._check_followed(installed, options, authority, after["fingerprint"])
        if same:
            return {"changed": False, "certificate": after}
        before = certificates.describe(authority, current) if current else {}
        return {
            "changed": installed["changed"],
            "reason": reason or "the authority's certificate was renewed",
            "certificate": after,
            "replaced": replaced,
            "diff": self._diff(options["authority"], before, {**after, **_revokes(replaced)}),
        }

    @staticmethod
    def _check_followed(installed: dict[str, t.Any], options: dict[str, t.Any], authority: t.Any, shown: str) -> None:
        """CertificateProblem unless all meshes of this authority go by what the host was handed."""
        wanted = options["authority"], sorted(each.hex()[:16] for each in authority.fingerprints), shown
        for mesh in installed["meshes"]:
            name = mesh["mesh"]
            # A mesh that failed says none, and an agent that is too old for this says none of any mesh.
            by = mesh.get("authority") or (wanted[0] if name in options["meshes"] else None)
            if by == wanted[0] and (mesh.get("authority"), mesh.get("trusts"), mesh.get("certificate")) != wanted:
                why = installed["problems"].get(name) or mesh.get("problem") or "its agent is too old: upgrade it"
                raise certificates.CertificateProblem(
                    f"host {options['node_name']}: mesh {name} does not go by the certificates that it has now: {why}"
                )

    def _request(self, pem: str, wanted: certificates.Wanted, node_key: str | None) -> t.Any:
        """The host's request; in check mode for the key that it is to have by then."""
        request = certificates.read_request(pem, wanted)
        expected = certificates.read_node_key(node_key) if node_key else request.node_key
        if expected == request.node_key:
            return request
        if self._task.check_mode:
            return dataclasses.replace(request, node_key=expected)
        raise certificates.CertificateProblem(
            f"host {wanted.node_name} has another node key than {node_key}: "
            "give it that with the module agent_key first"
        )

    def _grant(
        self,
        book: issued.Book,
        key: bytes,
        wanted: certificates.Wanted,
        node_key: bytes,
        current: t.Any,
        *,
        revoke: bool,
    ) -> issued.Keys:
        """Record what is granted, before the host has it; the keys whose place this one takes, revoked."""
        name = wanted.node_name
        record = book.read(name)
        others = {} if record.names(node_key) else book.others(name, node_key)
        for each in (record, *others.values()):
            issued.check(each, name, node_key)
        known = record.granted_by(current, name)
        before = {other: held for other, held in others.items() if held.names(node_key)}
        replaced = known.predecessors(node_key) if revoke else {}
        if replaced and (before or _renamed(current, name, node_key)):
            self._display.warning(
                f"host {name} had another name before, so the key {', '.join(replaced)} that was {name}'s may be in "
                "use under another name, too, and is not revoked: if it is not, revoke it with the playbook revoke"
            )
            replaced = {}
        self._revoke(book, key, name, replaced)
        if not self._task.check_mode:
            # A run that ends between the two finds the old name in the host's certificate.
            for other, held in before.items():
                book.write(other, held.moved(node_key))
            book.write(name, known.without(replaced).granted(node_key, wanted.meshes))
        return replaced

    def _revoke(self, book: issued.Book, key: bytes, node_name: str, replaced: issued.Keys) -> None:
        """Sign away the keys that are replaced, and have that wait for a member, before there is a successor."""
        for node_key, meshes in replaced.items():
            purpose = f"the key {node_key} that host {node_name} had before is to be revoked"
            for mesh in meshes:
                if mesh == issued.ANY_MESH:
                    self._display.warning(
                        f"{purpose}, and its certificate is for any mesh: revoke it in each with the playbook revoke"
                    )
                    continue
                line = certificates.revoke(key, mesh, node_key, f"{purpose} in mesh {mesh}")
                if not self._task.check_mode:
                    book.keep(mesh, node_key, line)

    def _note(self, book: issued.Book, node_name: str, before: issued.Record, after: issued.Record) -> None:
        """Write down what a host has had all along, where that can be written."""
        if after == before or self._task.check_mode:
            return
        try:
            book.write(node_name, after)
        except OSError as error:
            self._display.warning(
                f"what host {node_name} has is not recorded, so its key is not revoked when it gets another: {error}"
            )

    def _module(self, options: dict[str, t.Any], variables: dict[str, t.Any], **handed: str) -> dict[str, t.Any]:
        return t.cast(
            "dict[str, t.Any]",
            self._execute_module(
                module_name="smegmesh.wireguard.mesh_certificate",
                module_args={**options, **handed},
                task_vars=variables,
            ),
        )

    def _authority(self, options: dict[str, t.Any], on_host: str) -> t.Any:
        """The controller's authority, once the host is known to belong to no other; check mode may miss it."""
        path = options["authority_certificate"]
        pem = controller_files.read(self._loader, path)
        if pem is None:
            if self._task.check_mode:
                return None
            raise certificates.CertificateProblem(
                f"authority {options['authority']!r} has no certificate at {path} on the controller: "
                "make it with the role smegmesh_authority, or say where it is with smegmesh_authorities"
            )
        authority = certificates.read_authority(pem, path)
        if options["trust"] == "signing":
            authority = certificates.read_authority(certificates.split_authorities(pem)[0], path)
        if on_host and not options["replace_authority"]:
            where = f"authority.pem of host {options['node_name']}"
            other = certificates.read_authority(on_host.encode("ascii"), where)
            if not other.fingerprints & authority.fingerprints:
                raise certificates.CertificateProblem(
                    f"host {options['node_name']} belongs to another authority {options['authority']!r} "
                    f"({other.fingerprint.hex()[:16]}) than {path} ({authority.fingerprint.hex()[:16]}): "
                    "restore the authority's files, or set smegmesh_replace_authority: true to move the host over"
                )
        return authority

    def _predicted(self, wanted: certificates.Wanted, reason: str, replaced: issued.Keys) -> dict[str, t.Any]:
        after = {
            "node_name": wanted.node_name,
            "meshes": list(wanted.meshes),
            "bridges": list(wanted.bridges),
            "prefixes": list(wanted.prefixes),
            **_revokes(replaced),
        }
        return {"changed": True, "reason": reason, "replaced": replaced, "diff": self._diff("", {}, after)}

    @staticmethod
    def _diff(authority: str, before: dict[str, t.Any], after: dict[str, t.Any]) -> dict[str, t.Any]:
        header = f"certificate of authority {authority}" if authority else "certificate"
        return {"before_header": header, "after_header": header, "before": before, "after": after}


def _renamed(current: t.Any, node_name: str, node_key: bytes) -> bool:
    """Whether the certificate that a host has is for the same key under another name."""
    return current is not None and current.grant.node_key == node_key and current.grant.node_name != node_name


def _revokes(replaced: issued.Keys) -> dict[str, t.Any]:
    """What a diff says of keys that are replaced; nothing where none is."""
    return {"revokes": replaced} if replaced else {}
