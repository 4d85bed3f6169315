# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes and renews a certificate authority and its operators on the controller; talks to no host.

Private keys are local variables of one method each and files of mode 0600: they are in no result, diff or message.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import (
    certificates,
    controller_files,
    identity,
    operators,
    takeover,
)

SPEC = {
    "name": {"type": "str", "default": "default"},
    "certificate": {"type": "path", "required": True},
    "key": {"type": "path", "required": True},
    "valid_days": {"type": "int", "default": 3650},
    "regenerate": {"type": "str", "choices": ["never", "partial_idempotence"], "default": "partial_idempotence"},
    "operators": {"type": "list", "elements": "str", "default": []},
    "operator_days": {"type": "int", "default": 365},
    "takeover": {"type": "str", "choices": list(takeover.STEPS)},
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
        options["operators"] = list(dict.fromkeys(options["operators"]))
        try:
            for name in options["operators"]:
                operators.check_name(name)
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
        if options["takeover"]:
            files = takeover.Takeover(options["certificate"], options["key"], takeover.reader(self._loader))
            reason = files.reason(options["takeover"])
            if reason and make:
                now = time.time() - certificates.BACKDATE
                files.do(options["takeover"], days=options["valid_days"], now=now)
                pem = controller_files.read(self._loader, options["certificate"])
        answer: dict[str, t.Any] = {"changed": reason is not None}
        if reason:
            answer["reason"] = reason
        authority = certificates.read_authority(pem, options["certificate"]) if pem is not None else None
        if authority is not None:
            answer["fingerprint"] = authority.fingerprint.hex()
            answer["not_after"] = certificates.date(authority.not_after)
        if options["operators"]:
            found = [self._operator(options, authority, name, make=make) for name in options["operators"]]
            answer["operators"] = [operator for operator, _diff in found]
            answer["diff"] = [diff for _operator, diff in found if diff is not None]
            answer["changed"] = answer["changed"] or bool(answer["diff"])
        return answer

    def _operator(
        self, options: dict[str, t.Any], authority: t.Any, name: str, *, make: bool
    ) -> tuple[dict[str, t.Any], dict[str, t.Any] | None]:
        """An operator as it is then, and the diff if that is another than it was."""
        place = os.path.join(os.path.dirname(options["certificate"]), "operators", name)
        answer = {"name": name, "certificate": place + ".pem", "key": place + ".key"}
        pem = controller_files.read(self._loader, answer["certificate"])
        key = controller_files.read(self._loader, answer["key"])
        public = operators.public_key(key, answer["key"]) if key is not None else None
        current = operators.read_certificate(authority, pem) if authority is not None and pem is not None else None
        now = time.time()
        reason = operators.reason_to_issue(authority, current, pem, name, public, now)
        due = current is not None and reason is not None and reason == certificates.reason_to_renew(current, now)
        if due and not self._may_renew(options, name, current, now):
            reason = None
        before = operators.describe(authority, current) if current is not None else {}
        if reason is None:
            return {**answer, **before}, None
        after = {"name": name}
        if make:
            authority_key = controller_files.read(self._loader, options["key"])
            if authority_key is None:
                raise certificates.CertificateProblem(
                    f"operator {name!r} needs a new certificate ({reason}), but the key of authority "
                    f"{options['name']!r} is not at {options['key']}: put it there"
                )
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            if public is None and current is not None and current.name == name:
                public = current.key  # the operator has taken the key away, and keeps it
            if public is None:
                public = self._make_operator_key(answer["key"])
            pem = operators.sign(authority, authority_key, name, public, days=options["operator_days"], now=now)
            controller_files.write(answer["certificate"], pem, 0o644)
            after = operators.describe(authority, operators.read_certificate(authority, pem))
        header = f"operator {name} of authority {options['name']}"
        diff = {"before_header": header, "after_header": header, "before": before, "after": after}
        return {**answer, **after, "reason": reason}, diff

    def _may_renew(self, options: dict[str, t.Any], name: str, current: t.Any, now: float) -> bool:
        """Whether what an operator has is replaced; not if it still serves, and the authority's key is not here."""
        if options["regenerate"] == "never":
            return False
        if now > current.not_after or os.path.exists(options["key"]):
            return True
        self._display.warning(
            f"operator {name!r} ends on {certificates.date(current.not_after)} and the key of authority "
            f"{options['name']!r} is not at {options['key']}: put it there to renew the certificate"
        )
        return False

    @staticmethod
    def _make_operator_key(path: str) -> bytes:
        """Write a new private key; its public half. It is there before a certificate names it."""
        key = operators.make_key()
        controller_files.write(path, key, 0o600)
        return operators.public_key(key, path)

    def _reason(self, options: dict[str, t.Any], pem: bytes | None) -> str | None:
        """Why the authority's certificate is made, or None."""
        if pem is None:
            return "there is no certificate"
        authority = certificates.read_authority(pem, options["certificate"])
        if authority.other is not None:
            return None  # the one that takes over is new
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
