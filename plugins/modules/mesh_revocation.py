# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module is a placeholder: all the work is done in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_revocation
short_description: Hand revocations that wait on the controller to a member
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - When M(smegmesh.wireguard.mesh_certificate) replaces a node key, the old one's revocation waits in C(revocations)
    beside the authority's certificate. This hands what waits to the agent of the host, which tells all other members.
  - One member that takes a revocation is enough, if it sees another one alive. Till then it waits, and is handed over
    again in the next run. So does what an agent refuses, with a warning.
  - Where nothing waits, the host is not contacted.
options:
  authority_certificate:
    description: Path of the authority's certificate, on the controller.
    type: path
    required: true
  meshes:
    description: Ids of the meshes that this host is in, by this authority.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.host
attributes:
  check_mode:
    support: partial
    details:
      - It predicts a change for what waits now, even if the agent may know it already. What
        M(smegmesh.wireguard.mesh_certificate) only predicts does not wait.
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: smegmesh.wireguard.mesh_certificate
  - module: smegmesh.wireguard.mesh_member
"""

EXAMPLES = r"""
- name: Tell the mesh which keys were replaced
  smegmesh.wireguard.mesh_revocation:
    authority_certificate: authorities/default/authority.pem
    meshes: [prod]
  become: true
"""

RETURN = r"""
revoked:
  description: What the agent took, and the mesh knows.
  type: list
  elements: dict
  returned: success
  sample: [{mesh: prod, node_key: 5bW2H5nVPXpVnp6y0E9LYY0c5mLmzQdNf3cY3sFJx3Q=}]
waiting:
  description: What waits for the next run, since the agent refused it, or sees nobody else alive.
  type: list
  elements: dict
  returned: success
  sample: []
"""
