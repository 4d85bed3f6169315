# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the private key of an authority is, for whatever signs with it."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that plugin_utils/authority_key.py reads."""

    DOCUMENTATION = r"""
options:
  authority_key:
    description: Path of the authority's private key, on the controller. Ansible Vault may have encrypted the file.
    type: path
  authority_key_variable:
    description: Name of the variable that holds the authority's private key in PEM, instead of O(authority_key).
    type: str
"""
