# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings the agent to a host: builds what is missing on the controller, and only then copies it."""

from __future__ import annotations

import os
import pathlib
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import bundle, wheelhouse

SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "python": {"type": "str"},
    "method": {"type": "str", "choices": ["wheelhouse", "index"], "default": "wheelhouse"},
    "wheelhouse": {"type": "path"},
    "cache": {"type": "path"},
    "keep": {"type": "int", "default": 1},
    "version": {"type": "str"},
}


class ActionModule(ActionBase):
    """Asks the host what it has, and sends a bundle only if that is not this version."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _spec, options = self.validate_argument_spec(SPEC)
        try:
            result.update(self._ensure(options, variables))
        except (wheelhouse.WheelhouseError, ValueError, OSError) as error:
            raise AnsibleActionFail(f"the agent cannot be built on the controller: {error}") from error
        return result

    def _ensure(self, options: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        handed = {}
        if options["state"] == "present":
            handed["_version"] = options["version"] or bundle.agent_version()
        answer = self._module(options, variables, **handed)
        wanted = answer.pop("needs_bundle", None)
        if not wanted:
            return answer
        platform = wheelhouse.Platform(**wanted) if options["method"] == "wheelhouse" else None
        cache, tell = _cache(options["cache"]), self._display.display
        path = bundle.make_bundle(cache, handed["_version"], platform, options["wheelhouse"], tell)
        return self._module(options, variables, _bundle=self._send(path), **handed)

    def _send(self, path: pathlib.Path) -> str:
        """Copy a file into the task's temporary directory on the host, where become's user can read it."""
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, path.name)
        self._transfer_file(str(path), remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return t.cast(str, remote)

    def _module(self, options: dict[str, t.Any], variables: dict[str, t.Any], **handed: str) -> dict[str, t.Any]:
        return t.cast(
            "dict[str, t.Any]",
            self._execute_module(
                module_name="smegmesh.wireguard.agent", module_args={**options, **handed}, task_vars=variables
            ),
        )


def _cache(path: str | None) -> pathlib.Path:
    """Where the controller keeps what it built, private to its user."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = pathlib.Path(path) if path else pathlib.Path(home) / "smegmesh"
    cache.mkdir(parents=True, mode=0o700, exist_ok=True)
    return cache
