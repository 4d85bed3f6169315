# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes and renews a certificate authority on the controller; talks to no host."""

from __future__ import annotations

import os
import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, controller_files, identity

SPEC = {
    "name": {"type": "str", "default": "default"},
    "certificate": {"type": "path", "required": True},
    "key": {"type": "path", "required": True},
    "valid_days": {"type": "int", "default": 3650},
    "regenerate": {"type": "str", "choices": ["never", "partial_idempotence"], "default": "partial_idempotence"},
}


class ActionModule(ActionBase):
    """The key is made once and never replaced; the certificate is renewed with the same key."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _spec, options = self.validate_argument_spec(SPEC)
        options["certificate"] = self._loader.path_dwim(options["certificate"])
        options["key"] = self._loader.path_dwim(options["key"])
        try:
            answer = self._ensure(options, make=False)
            # What is good needs no place that can be written to.
            if answer["changed"] and not self._task.check_mode:
                with controller_files.lock(os.path.dirname(options["key"])):
                    answer = self._ensure(options, make=True)
            result.update(answer)
        except (certificates.CertificateProblem, identity.IdentityUnavailable) as error:
            raise AnsibleActionFail(str(error)) from error
        except OSError as error:
            raise AnsibleActionFail(
                f"authority {options['name']!r}: {error}: choose a place you can write to with smegmesh_authority_dir"
            ) from error
        return result

    def _ensure(self, options: dict[str, t.Any], *, make: bool) -> dict[str, t.Any]:
        pem = controller_files.read(self._loader, options["certificate"])
        reason = self._reason(options, pem)
        if reason and make:
            pem = self._make(options)
        answer: dict[str, t.Any] = {"changed": reason is not None}
        if reason:
            answer["reason"] = reason
        if pem is not None:
            authority = certificates.read_authority(pem, options["certificate"])
            answer["fingerprint"] = authority.fingerprint.hex()
            answer["not_after"] = certificates.date(authority.not_after)
        return answer

    def _reason(self, options: dict[str, t.Any], pem: bytes | None) -> str | None:
        """Why the authority's certificate is made, or None."""
        if pem is None:
            return "there is no certificate"
        authority = certificates.read_authority(pem, options["certificate"])
        third = (authority.not_after - authority.not_before) / 3
        if options["regenerate"] == "never" or authority.not_after - time.time() >= third:
            return None
        if not os.path.exists(options["key"]):
            self._display.warning(
                f"authority {options['name']!r} ends on {certificates.date(authority.not_after)} and its key is not "
                f"at {options['key']}: put it there to renew the authority"
            )
            return None
        return "less than a third of its time is left"

    def _make(self, options: dict[str, t.Any]) -> bytes:
        """Write key (if it is new) and certificate; the key first, so that no certificate is without one."""
        certificate = identity.load("certificate")
        old_key = controller_files.read(self._loader, options["key"])
        try:
            pem, key = certificate.make_authority(
                options["name"], options["valid_days"], now=time.time() - certificates.BACKDATE, key_pem=old_key
            )
        except ValueError as error:
            raise certificates.CertificateProblem(f"authority {options['name']!r}: {error}") from error
        if old_key is None:
            controller_files.write(options["key"], key, 0o600)
        os.makedirs(os.path.dirname(options["certificate"]), mode=0o700, exist_ok=True)
        controller_files.write(options["certificate"], pem, 0o644)
        return t.cast(bytes, pem)
