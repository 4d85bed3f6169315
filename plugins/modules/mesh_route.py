#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_route
short_description: Advertise prefixes that are reached through this host
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Advertises IPv6 prefixes outside the overlay in a mesh, in addition to those that the mesh's declaration says. Hosts
    that accept them send there through this host.
  - The host's certificate must allow them. It allows what the inventory's C(advertise) says and parts of that, or what
    M(smegmesh.wireguard.mesh_certificate) was given; anything else is refused, also in check mode.
  - The host must be in the mesh, by the role C(smegmesh) or by M(smegmesh.wireguard.mesh). Each O(name) has a file of
    its own beside the mesh's declaration, so several plays can advertise theirs; the role leaves them alone.
  - When the host leaves the mesh, what was added goes as well.
options:
  mesh:
    description: The id of the mesh.
    type: str
    required: true
  name:
    description: What these prefixes are called on this host, such as V(lab); a-z, 0-9, C(.), C(_) and C(-).
    type: str
    required: true
  advertise:
    description:
      - The IPv6 prefixes. They take the place of those that O(name) had before.
      - A prefix may be under several names; it is advertised as long as it is under one.
      - Required with O(state=present).
    type: list
    elements: str
  state:
    description: Whether the prefixes of this O(name) are advertised.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.host
  - smegmesh.wireguard.attributes.fragment
seealso:
  - module: smegmesh.wireguard.mesh
  - module: smegmesh.wireguard.mesh_certificate
  - module: smegmesh.wireguard.mesh_service
"""

EXAMPLES = r"""
- name: Advertise a network of the lab
  smegmesh.wireguard.mesh_route:
    mesh: prod
    name: lab
    advertise: ["2001:db8:10:1::/64"]
  become: true

- name: Withdraw it
  smegmesh.wireguard.mesh_route:
    mesh: prod
    name: lab
    state: absent
  become: true
"""

RETURN = r"""
reloaded:
  description: Whether a running agent took the change over.
  type: bool
  returned: success
changes:
  description: The files that changed, or would.
  type: list
  elements: str
  returned: success
  sample: [/etc/smegmesh/meshes.d/prod.d/route-lab.yml]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import declaring


def request(params):
    """The message for smegctl apply."""
    fragment = {"mesh": params["mesh"], "name": "route-" + params["name"], "state": params["state"]}
    if params["state"] == "present":
        fragment["advertise"] = params["advertise"]
    return {"fragments": [fragment]}


def main():
    module = AnsibleModule(
        argument_spec={
            "mesh": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "advertise": {"type": "list", "elements": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["advertise"])],
        supports_check_mode=True,
    )
    declaring.run(module, request(module.params))


if __name__ == "__main__":
    main()
