# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module is a placeholder: all the work is done in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_report
short_description: Print what all hosts say of their meshes
version_added: 0.1.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Prints a table for each mesh, and who reaches whom over it, from what M(smegmesh.wireguard.mesh_info) returned on
    the hosts of the play. It runs on the controller alone.
  - Where the members were asked for too, a column C(DRIFT) names who is not as the inventory says. Hosts that
    C(smegmesh_meshes) puts into a mesh are V(absent), V(down) or V(mute) if no other host sees them alive. Members that
    are alive or mute, and that the inventory does not put there, are V(undeclared).
  - The whole inventory counts, whatever hosts the play is limited to. One without C(smegmesh_meshes) says nothing.
  - With O(diagnosis) it prints one table of all that is wrong, and how to mend it, from what
    M(smegmesh.wireguard.mesh_doctor) returned.
options:
  variable:
    description:
      - The variable in which each host's result of M(smegmesh.wireguard.mesh_info) or M(smegmesh.wireguard.mesh_doctor)
        was registered.
    type: str
    required: true
  diagnosis:
    description: Whether that was M(smegmesh.wireguard.mesh_doctor).
    type: bool
    default: false
    version_added: 0.2.0
  strict:
    description: Whether an unanswered ping, an error that was found, or a host without a diagnosis is a failure.
    type: bool
    default: false
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.info_module
  - smegmesh.wireguard.attributes.controller
seealso:
  - module: smegmesh.wireguard.mesh_info
  - module: smegmesh.wireguard.mesh_doctor
"""

EXAMPLES = r"""
- name: Ask every host
  smegmesh.wireguard.mesh_info:
    ping: true
  become: true
  register: seen

- name: Print what they said
  smegmesh.wireguard.mesh_report:
    variable: seen
  run_once: true
"""

RETURN = r"""
report:
  description: The lines that were printed.
  type: list
  elements: str
  returned: always
lost:
  description: The pings that were not answered.
  type: list
  elements: str
  returned: always
  sample: ["prod: a1 -> laptop"]
drift:
  description: By mesh id and name, who is not as the inventory says, and how.
  type: dict
  returned: always
  sample: {prod: {a3: down, laptop: undeclared}}
errors:
  description: The errors that M(smegmesh.wireguard.mesh_doctor) found, and the hosts that it could not be asked on.
  type: list
  elements: str
  returned: always
  sample: ["a1: port.udp-blocked"]
"""
