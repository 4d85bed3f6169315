#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh
short_description: Declare the meshes of this host
version_added: 0.1.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Declares which WireGuard meshes this host is in, as what. The agent does the rest by itself.
  - Everything goes through the agent's C(smegctl apply), which validates all declarations of the host together before
    it writes any. It works while the agent is stopped, so images can be baked.
  - A declaration has one owner, and only its owner can change it. The role C(smegmesh) writes as V(role), tasks of
    yours as V(play).
options:
  mesh:
    description: The id of the mesh, a name such as V(prod) or V(prod.example.org).
    type: str
  state:
    description:
      - Whether the host is in the mesh. With V(absent) it leaves the mesh, and what
        M(smegmesh.wireguard.mesh_service) and M(smegmesh.wireguard.mesh_route) added to it goes as well.
    type: str
    choices: [present, absent]
    default: present
  role:
    description:
      - V(peer) has an endpoint that others reach, and forwards for clients.
      - V(client) is behind NAT or takes no inbound traffic; all it sends goes through its home peer.
    type: str
    choices: [peer, client]
  authority:
    description: Name of the mesh's certificate authority, as given to M(smegmesh.wireguard.mesh_certificate).
    type: str
  endpoint:
    description: Address or name by which others reach this peer, with C(:PORT) if it is not its own port.
    type: str
  endpoint_discovery:
    description:
      - Where else the endpoint of this peer comes from. With V(static) it must be declared.
      - With V(outgoing) it is the host's own address towards the others, with V(observed) what the others see of it. An
        O(endpoint) that is declared as well comes first.
      - The port is the host's own. A NAT that leads another port on to it needs V(static).
    type: str
    choices: [static, outgoing, observed]
  port:
    description: UDP port of WireGuard. Left out, the agent chooses one and keeps it.
    type: int
  interface:
    description: Name of the WireGuard interface. Left out, the agent chooses one from the mesh id.
    type: str
  bootstrap:
    description: Whom to dial first. It may name this host.
    type: list
    elements: dict
    suboptions:
      name:
        description: The node's name.
        type: str
        required: true
      address:
        description: The node's address and link port.
        type: str
        required: true
  alias:
    description: A short name of this node in the mesh.
    type: str
  description:
    description: What this node is, for people.
    type: str
  keepalive:
    description: Seconds between keepalives.
    type: int
  bridge:
    description: Whether this host forwards between this mesh and its other bridged meshes.
    type: bool
  advertise:
    description: IPv6 prefixes outside the overlay that are reached through this host.
    type: list
    elements: str
  masquerade:
    description: Whether what leaves through the prefixes of O(advertise) gets this host's address. Left out, it does.
    type: bool
  health:
    description:
      - What shows that the prefixes of O(advertise) can be reached from this host. They are withdrawn while it does not
        answer.
    type: dict
    suboptions:
      target:
        description: The IPv6 address outside the overlay that is pinged.
        type: str
        required: true
      interval:
        description: Seconds between two pings, 0.2 to 60. Left out, it is 1.
        type: float
      misses:
        description: After how many pings in a row without an answer it does not answer, 1 to 10. Left out, it is 3.
        type: int
  accept_routes:
    description: IPv6 prefixes of others that this host uses, or V(all) for every one but the default route.
    type: list
    elements: str
  accept_default:
    description: Whether this host uses an advertised default route.
    type: bool
  static_peers:
    description:
      - WireGuard peers without an agent that this host carries, such as phones and routers, by name. Each has a
        C(public_key) and may have an C(endpoint), a C(keepalive) in seconds, C(allowed_ips), which are IPv6 prefixes
        behind it that this host then advertises, and C(preshared_key), which says whether the agent makes a preshared
        key for it.
      - Their overlay addresses follow from their keys, and the host's certificate must grant each of them as a prefix.
      - What their side needs is printed by C(smegctl export-client).
    type: dict
  mtu:
    description: MTU of the interface. Left out, the agent takes it from the underlay.
    type: int
  pre_up:
    description:
      - Executable files of root, as absolute paths, that the agent runs before it makes the interface. If one fails,
        the interface is not made, and it is tried again.
      - They run as the agent's user with C(CAP_NET_ADMIN), C(CAP_NET_RAW) and C(CAP_NET_BIND_SERVICE), not as root.
        Each has 30 seconds.
    type: list
    elements: str
  post_up:
    description: As O(pre_up), once the interface that was made is up. A failure is a warning and shown in the status.
    type: list
    elements: str
  pre_down:
    description: As O(pre_up), before the interface goes because the host leaves the mesh or it gets another name.
    type: list
    elements: str
  post_down:
    description: As O(pre_up), after the interface was taken down.
    type: list
    elements: str
  declarations:
    description:
      - Several declarations at once, each with options of this module as keys. They are validated together.
      - Use it instead of O(mesh).
    type: list
    elements: dict
  purge:
    description: Whether to leave all meshes of the same O(owner) that are not in O(declarations).
    type: bool
    default: false
  owner:
    description: Who writes these declarations.
    type: str
    choices: [play, role]
    default: play
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.host
attributes:
  check_mode:
    support: full
    details:
      - On a host that has no agent yet, it predicts the declarations that would be written.
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: smegmesh.wireguard.mesh_certificate
  - module: smegmesh.wireguard.mesh_route
  - module: smegmesh.wireguard.mesh_service
"""

EXAMPLES = r"""
- name: Join a mesh as a peer
  smegmesh.wireguard.mesh:
    mesh: prod
    role: peer
    endpoint: 198.18.0.11
    bootstrap:
      - {name: a1, address: "198.18.0.11:4000"}
  become: true

- name: Leave it
  smegmesh.wireguard.mesh:
    mesh: prod
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
  sample: [/etc/smegmesh/meshes.d/prod.yml]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import declaring

SETTINGS = {
    "role": {"type": "str", "choices": ["peer", "client"]},
    "authority": {"type": "str"},
    "endpoint": {"type": "str"},
    "endpoint_discovery": {"type": "str", "choices": ["static", "outgoing", "observed"]},
    "port": {"type": "int"},
    "interface": {"type": "str"},
    "bootstrap": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, "address": {"type": "str", "required": True}},
    },
    "alias": {"type": "str"},
    "description": {"type": "str"},
    "keepalive": {"type": "int"},
    "bridge": {"type": "bool"},
    "advertise": {"type": "list", "elements": "str"},
    "masquerade": {"type": "bool"},
    "health": {
        "type": "dict",
        "options": {
            "target": {"type": "str", "required": True},
            "interval": {"type": "float"},
            "misses": {"type": "int"},
        },
    },
    "accept_routes": {"type": "list", "elements": "str"},
    "accept_default": {"type": "bool"},
    "static_peers": {"type": "dict"},
    "mtu": {"type": "int"},
    "pre_up": {"type": "list", "elements": "str"},
    "post_up": {"type": "list", "elements": "str"},
    "pre_down": {"type": "list", "elements": "str"},
    "post_down": {"type": "list", "elements": "str"},
}


def declarations(params):
    """What the task declares, in the agent's form; options that were not given are left to the agent."""
    if params["declarations"] is None:
        given = {name: as_written(name, params[name]) for name in SETTINGS if params[name] is not None}
        wanted = [dict(given, mesh=params["mesh"], state=params["state"])]
    else:
        wanted = params["declarations"]
    return [dict({"state": "present"}, **dict(item, owner=params["owner"])) for item in wanted]


def as_written(name, value):
    """An option in the form of a declaration, where Ansible makes another of it."""
    if name == "accept_routes" and value == ["all"]:
        return "all"
    if name == "health":
        return {key: item for key, item in value.items() if item is not None}
    return value


def request(params):
    """The whole message for smegctl apply."""
    message = {"declarations": declarations(params)}
    if params["purge"]:
        message["purge_owner"] = params["owner"]
    return message


def main():
    spec = dict(
        SETTINGS,
        mesh={"type": "str"},
        state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        declarations={"type": "list", "elements": "dict"},
        purge={"type": "bool", "default": False},
        owner={"type": "str", "choices": ["play", "role"], "default": "play"},
    )
    module = AnsibleModule(
        argument_spec=spec,
        supports_check_mode=True,
        mutually_exclusive=[("mesh", "declarations")] + [(name, "declarations") for name in SETTINGS],
        required_one_of=[("mesh", "declarations")],
    )
    declaring.run(module, request(module.params))


if __name__ == "__main__":
    main()
