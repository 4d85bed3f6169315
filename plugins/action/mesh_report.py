# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints what all hosts of the play said of their meshes."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.report import report, unanswered

SPEC = {"variable": {"type": "str", "required": True}, "strict": {"type": "bool", "default": False}}


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
        text = report(hosts)
        self._display.display("\n" + text + "\n")
        lost = unanswered(hosts)
        result.update(changed=False, report=text.splitlines(), lost=lost)
        if options["strict"] and lost:
            result.update(failed=True, msg="not reached: " + ", ".join(lost))
        return result
