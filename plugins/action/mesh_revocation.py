# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hands the revocations that wait on the controller to the agent of a host, which is not asked where none waits."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import (
    certificates,
    controller_files,
    identity,
    issued,
)

SPEC = {
    "authority_certificate": {"type": "path", "required": True},
    "meshes": {"type": "list", "elements": "str", "required": True},
}


class ActionModule(ActionBase):
    """One host is enough for a revocation: Ansible's forks pass over what another one is at."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _spec, options = self.validate_argument_spec(SPEC)
        try:
            result.update(self._ensure(options, task_vars or {}))
        except (certificates.CertificateProblem, identity.IdentityUnavailable) as error:
            raise AnsibleActionFail(str(error)) from error
        except OSError as error:
            raise AnsibleActionFail(f"the revocations that wait on the controller: {error}") from error
        return result

    def _ensure(self, options: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        path = options["authority_certificate"]
        pem = controller_files.read(self._loader, path)
        if pem is None:
            return _answer(False, [], [])
        book = issued.Book(self._loader, path, certificates.read_authority(pem, path))
        waiting = book.waiting(options["meshes"])
        if self._task.check_mode or not waiting:
            return _answer(bool(waiting), waiting, [])
        taken, left, changed = [], [], False
        for each in waiting:
            claimed = controller_files.claim(each.path)
            if claimed is None:
                continue
            with claimed:
                done = self._module(each, variables)
                if done.get("unreachable"):
                    return done
                if done.get("failed"):
                    self._display.warning(
                        f"{variables['inventory_hostname']} did not take the revocation of {each.node_key} in mesh "
                        f"{each.mesh}, which waits for another run: {done['msg']}"
                    )
                elif done["told"]:
                    book.discard(each)
            (taken if done.get("told") else left).append(each)
            changed = changed or bool(done.get("changed"))
        return _answer(changed, taken, left)

    def _module(self, each: issued.Waiting, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        return t.cast(
            "dict[str, t.Any]",
            self._execute_module(
                module_name="smegmesh.wireguard.mesh_member",
                module_args={"mesh": each.mesh, "member": each.node_key, "_revocation": each.line},
                task_vars=variables,
            ),
        )


def _answer(changed: bool, taken: list[issued.Waiting], left: list[issued.Waiting]) -> dict[str, t.Any]:
    described = [[{"mesh": each.mesh, "node_key": each.node_key} for each in part] for part in (taken, left)]
    return {"changed": changed, "revoked": described[0], "waiting": described[1]}
