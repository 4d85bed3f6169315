# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The address of a node by its name."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mesh_address
short_description: The overlay address of a member of a live mesh
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Asks an agent for the members of a mesh and returns the addresses of those with the given names.
  - A node name comes before an alias. Of several nodes with one name, as after a host was replaced, the one that is
    alive counts.
  - It is an error if nobody has the name, or several have the alias.
options:
  _terms:
    description: Node names or aliases.
    type: list
    elements: str
    required: true
  mesh:
    description: The mesh that is meant. Left out, it is the only one that the agent is in.
extends_documentation_fragment:
  - smegmesh.wireguard.connection
seealso:
  - plugin: smegmesh.wireguard.node_address
    plugin_type: filter
  - plugin: smegmesh.wireguard.mesh_query
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Where the database is reached over the mesh
  ansible.builtin.debug:
    msg: "{{ lookup('smegmesh.wireguard.mesh_address', 'db1', mesh='prod') }}"
"""

RETURN = r"""
_raw:
  description: The addresses, in the order of the names.
  type: list
  elements: str
"""

import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import api, members


class LookupModule(LookupBase):
    """Asks once for all names of a call."""

    def run(self, terms: list[str], variables: dict[str, t.Any] | None = None, **kwargs: t.Any) -> list[str]:
        self.set_options(var_options=api.variables(variables, self._templar), direct=kwargs)
        try:
            with api.Client(api.Connection.from_options(self.get_option)) as client:
                mesh = client.choose(self.get_option("mesh"))
                found = members.sound(client.members(mesh))[0]
        except api.ApiError as error:
            raise AnsibleLookupError(f"mesh_address: {error}") from error
        try:
            return [members.address(found, term) for term in terms]
        except members.NoSuchMember as error:
            raise AnsibleLookupError(f"mesh_address: mesh {mesh}: {error}") from error
