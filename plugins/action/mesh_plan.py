# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this host is to be, worked out on the controller alone."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail, AnsibleUndefinedVariable
from ansible.plugins.action import ActionBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import claims, identity
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.declarations import (
    DeclarationProblems,
    Inventory,
    plan_host,
)

SPEC = {"meshes": {"type": "dict", "required": True}}


class ActionModule(ActionBase):
    """Merges the inventory into the declarations of one host; talks to no host."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _spec, arguments = self.validate_argument_spec(SPEC)
        hostvars = variables["hostvars"]
        try:
            address, keys = identity.load("address"), identity.load("keys")
            plan = plan_host(
                Inventory(
                    meshes=arguments["meshes"],
                    groups=variables["groups"],
                    host_vars=lambda host: hostvars[host],
                    check_mesh_id=address.check_mesh_id,
                    node_address=lambda mesh_id, key: str(address.node_address(mesh_id, keys.decode_key(key))),
                ),
                variables["inventory_hostname"],
            )
            choose = identity.load_alone("declaration/choose.py")
        except identity.IdentityUnavailable as error:
            raise AnsibleActionFail(str(error)) from error
        except AnsibleUndefinedVariable as error:
            raise AnsibleActionFail(
                f"a variable of a host in the inventory cannot be worked out: {error}: write it without facts, "
                "since other hosts' files are made from it too"
            ) from error
        except DeclarationProblems as error:
            count = len(error.problems)
            result.update(
                failed=True,
                problems=error.problems,
                msg=error.problems[0]
                if count == 1
                else f"{count} problems in the inventory:\n" + "\n".join(f"- {problem}" for problem in error.problems),
            )
            return result
        result.update(
            changed=False,
            declarations=plan.declarations,
            certificates=plan.certificates,
            claims=claims.claims(plan.declarations, address.mesh_prefix, choose.default_interface),
            replaced=plan.replaced,
        )
        return result
