#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_service
short_description: Tell a mesh of a service of this host
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Says in the mesh that this host offers a service. All members see it, as C(smegctl members --json) and
    M(smegmesh.wireguard.mesh_info) show it. It starts nothing and opens no port.
  - The host must be in the mesh, by the role C(smegmesh) or by M(smegmesh.wireguard.mesh). Each service has a file of
    its own beside the mesh's declaration, so several plays can name theirs; the role leaves them alone.
  - When the host leaves the mesh, its services go as well.
options:
  mesh:
    description: The id of the mesh.
    type: str
    required: true
  name:
    description: The name of the service, a DNS label of 1 to 63 characters such as V(https).
    type: str
    required: true
  value:
    description:
      - What the others shall know of it, a line of 1 to 255 bytes.
      - V(tcp/PORT) or V(udp/PORT), perhaps with words after it, is found by DNS as well, where agents answer for names;
        the words are the strings of its TXT record. To anything else the mesh gives no meaning.
      - Required with O(state=present).
    type: str
  state:
    description: Whether this host offers the service.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.host
  - smegmesh.wireguard.attributes.fragment
seealso:
  - module: smegmesh.wireguard.mesh
  - module: smegmesh.wireguard.mesh_info
  - module: smegmesh.wireguard.mesh_route
"""

EXAMPLES = r"""
- name: Say where the web server is
  smegmesh.wireguard.mesh_service:
    mesh: prod
    name: https
    value: tcp/443
  become: true

- name: Take it back
  smegmesh.wireguard.mesh_service:
    mesh: prod
    name: https
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
  sample: [/etc/smegmesh/meshes.d/prod.d/service-https.yml]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import declaring


def request(params):
    """The message for smegctl apply."""
    fragment = {"mesh": params["mesh"], "name": "service-" + params["name"], "state": params["state"]}
    if params["state"] == "present":
        fragment["services"] = {params["name"]: params["value"]}
    return {"fragments": [fragment]}


def main():
    module = AnsibleModule(
        argument_spec={
            "mesh": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "value": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["value"])],
        supports_check_mode=True,
    )
    declaring.run(module, request(module.params))


if __name__ == "__main__":
    main()
