# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signs a revocation in the controller's process, for a member that an agent on a host names."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import authority_key, certificates, identity

SPEC = {
    "mesh": {"type": "str", "required": True},
    "member": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["revoked", "forgotten"], "default": "revoked"},
    **authority_key.OPTIONS,
}


class ActionModule(ActionBase):
    """The node key from the host, the signature here, and the revocation to the host."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _spec, options = self.validate_argument_spec(SPEC, mutually_exclusive=authority_key.EXCLUSIVE)
        try:
            result.update(self._ensure(options, variables))
        except (certificates.CertificateProblem, identity.IdentityUnavailable) as error:
            raise AnsibleActionFail(str(error)) from error
        return result

    def _ensure(self, options: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        found = self._module(options, variables)
        if options["state"] == "forgotten" or found.get("failed") or found.get("unreachable") or self._task.check_mode:
            return found
        purpose = f"{options['member']} is to be revoked in mesh {options['mesh']}"
        key = authority_key.read(self._loader, self._templar, options, variables, purpose)
        line = certificates.revoke(key, options["mesh"], found["node_key"], purpose)
        done = self._module(options, variables, _revocation=line.decode("ascii"))
        if not done.get("failed") and not done.get("unreachable") and done.get("node_key") != found["node_key"]:
            raise certificates.CertificateProblem(f"{purpose}: the host answers for another node than it named")
        return done

    def _module(self, options: dict[str, t.Any], variables: dict[str, t.Any], **handed: str) -> dict[str, t.Any]:
        # What is None was not given: the module would take it for given, and find two that exclude each other.
        arguments = {name: value for name, value in {**options, **handed}.items() if value is not None}
        return t.cast(
            "dict[str, t.Any]",
            self._execute_module(
                module_name="smegmesh.wireguard.mesh_member", module_args=arguments, task_vars=variables
            ),
        )
