# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Picks a host's preshared keys out of the inventory's, so that no host is told those of others."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import identity
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.declarations import DeclarationProblems
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.preshared import keys_of

SPEC = {
    "meshes": {"type": "dict", "required": True},
    "preshared_keys_variable": {"type": "str", "default": "smegmesh_preshared_keys"},
}


class ActionModule(ActionBase):
    """The choice here, the rest on the host."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _spec, options = self.validate_argument_spec(SPEC)
        try:
            keys = keys_of(
                self._preshared(options["preshared_keys_variable"], variables),
                options["meshes"],
                variables["groups"],
                variables["inventory_hostname"],
                identity.load("keys").decode_key,
            )
        except identity.IdentityUnavailable as error:
            raise AnsibleActionFail(str(error)) from error
        except DeclarationProblems as error:
            result.update(failed=True, problems=error.problems, msg="\n".join(error.problems))
            return result
        result.update(
            self._execute_module(
                module_name="smegmesh.wireguard.mesh_preshared_keys",
                module_args={**options, "_keys": keys},
                task_vars=variables,
            )
        )
        return result

    def _preshared(self, name: str, variables: dict[str, t.Any]) -> t.Any:
        """The variable's value. It is read here, for what is an argument of a task may be shown."""
        if name not in variables:
            raise AnsibleActionFail(f"there is no variable {name!r}: define it, with {{}} for no keys")
        preshared = self._templar.template(variables[name])
        if not isinstance(preshared, Mapping):
            raise AnsibleActionFail(f"{name}: must map mesh ids to lists of pairs")
        return preshared
