# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The private key of an authority: a file on the controller, which Vault may have encrypted, or a variable."""

from __future__ import annotations

import typing as t

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, controller_files

OPTIONS = {"authority_key": {"type": "path"}, "authority_key_variable": {"type": "str"}}
EXCLUSIVE = [("authority_key", "authority_key_variable")]


def read(loader: t.Any, templar: t.Any, options: dict[str, t.Any], variables: dict[str, t.Any], purpose: str) -> bytes:
    """The key in PEM. C(purpose): what cannot be done without it, for CertificateProblem where it is not at hand."""
    name = options["authority_key_variable"]
    if name:
        if name not in variables:
            raise certificates.CertificateProblem(f"{purpose}, but there is no variable {name!r}: define it")
        return str(templar.template(variables[name])).strip().encode("ascii", "replace") + b"\n"
    path = options["authority_key"]
    if not path:
        raise certificates.CertificateProblem(
            f"{purpose}, but neither authority_key nor authority_key_variable is given"
        )
    key = controller_files.read(loader, path)
    if key is None:
        authority = f" {options['authority']!r}" if options.get("authority") else ""
        raise certificates.CertificateProblem(
            f"{purpose}, but the key of authority{authority} is not at {path}: "
            "put it there, or name the variable that holds it"
        )
    return key
