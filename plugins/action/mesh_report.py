# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints what all hosts of the play said of their meshes."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import diagnosis, report
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.declarations import declared

SPEC = {
    "variable": {"type": "str", "required": True},
    "diagnosis": {"type": "bool", "default": False},
    "strict": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Runs on the controller alone, for all hosts of the play at once."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _spec, options = self.validate_argument_spec(SPEC)
        hostvars = variables["hostvars"]
        hosts = {host: hostvars[host].get(options["variable"]) for host in variables["ansible_play_hosts_all"]}
        tell = self._diagnosis if options["diagnosis"] else self._report
        text, wrong, told = tell(hosts, variables)
        self._display.display("\n" + text + "\n")
        result.update(changed=False, report=text.splitlines(), **told)
        if options["strict"] and wrong:
            result.update(failed=True, msg=wrong)
        return result

    def _report(self, hosts: report.Hosts, variables: dict[str, t.Any]) -> tuple[str, str, dict[str, t.Any]]:
        """The text, what is wrong (empty if nothing is), and what else is returned."""
        wanted = declared(variables["groups"], lambda host: self._meshes(variables["hostvars"], host))
        lost = report.unanswered(hosts)
        wrong = "not reached: " + ", ".join(lost) if lost else ""
        return report.report(hosts, wanted), wrong, {"lost": lost, "drift": report.drift(hosts, wanted), "errors": []}

    def _diagnosis(self, hosts: report.Hosts, _variables: dict[str, t.Any]) -> tuple[str, str, dict[str, t.Any]]:
        errors = diagnosis.errors(hosts)
        wrong = "something is wrong: " + ", ".join(errors) if errors else ""
        return diagnosis.diagnosis(hosts), wrong, {"lost": [], "drift": {}, "errors": errors}

    def _meshes(self, hostvars: t.Any, host: str) -> t.Any:
        """What the inventory declares for a host; a host whose variables are at fault is no reason to tell nothing."""
        try:
            return hostvars[host].get("smegmesh_meshes")
        except AnsibleError as error:
            self._display.warning(f"smegmesh_meshes of host {host} cannot be worked out: {error}")
            return None
