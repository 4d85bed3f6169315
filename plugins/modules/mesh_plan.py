# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module is a placeholder: all the work is done in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_plan
short_description: Work out what a host is in which meshes
version_added: 0.1.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Merges C(smegmesh_meshes), the groups of the inventory and the host's C(smegmesh_overrides) into the declarations
    of the host, and into the grants that its certificates need.
  - The order is the O(meshes) entry's C(settings), then its matching C(groups) in the order written, then the host's
    overrides. A later scalar wins, lists unite.
  - Only inventory variables are looked at, never facts, and never which hosts are in the play. So C(--limit) changes
    nothing, and a new host at the end of the inventory changes nobody else's declarations.
  - All problems are reported at once, each with its place and what to do about it.
options:
  meshes:
    description:
      - The meshes by mesh id, each with C(groups) (inventory group to settings) and optionally C(settings).
    type: dict
    required: true
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.info_module
  - smegmesh.wireguard.attributes.controller
seealso:
  - module: smegmesh.wireguard.mesh
  - module: smegmesh.wireguard.mesh_certificate
"""

EXAMPLES = r"""
- name: Work out what this host is
  smegmesh.wireguard.mesh_plan:
    meshes:
      prod:
        groups:
          prod_peers: {role: peer}
          prod_clients: {role: client}
  register: plan

- name: Show it
  ansible.builtin.debug:
    var: plan.declarations
"""

RETURN = r"""
declarations:
  description: The declarations of this host, as M(smegmesh.wireguard.mesh) takes them.
  type: list
  elements: dict
  returned: success
  sample:
    - mesh: prod
      authority: default
      role: peer
      endpoint: 198.18.0.11
      bootstrap: [{name: a1, address: "198.18.0.11:4000"}]
certificates:
  description: One entry for each authority, with the grants that the host's certificate needs.
  type: list
  elements: dict
  returned: success
  sample: [{authority: default, meshes: [prod], bridges: [], prefixes: []}]
claims:
  description: What these meshes take of the host, as M(smegmesh.wireguard.agent_info) takes it.
  type: list
  elements: dict
  returned: success
  sample:
    - mesh: prod
      interface: smeg-prod
      port: null
      prefix: "fd94:2a49:680b:debe::/64"
      routes: []
replaced:
  description: Which settings gave way to a later one, and where each was written.
  type: list
  elements: str
  returned: success
problems:
  description: Everything that is wrong with the inventory.
  type: list
  elements: str
  returned: failure
"""
