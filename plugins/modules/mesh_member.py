#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_member
short_description: Take a member out of a mesh
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Takes a node out of a mesh through the agent of any other member. That one tells all the rest.
  - To revoke a node is for good. Its key never comes back into the mesh, whatever certificate it has. The revocation is
    signed by the mesh's authority, in the controller's process.
  - To forget a node is for one that died. It needs no key, only a member that is down can be forgotten, and it is back
    as soon as it runs again. After 72 hours the others forget it by themselves.
  - The agent that is asked says which key a name stands for. If you do not trust the host, give the node key.
options:
  mesh:
    description: The id of the mesh.
    type: str
    required: true
  member:
    description:
      - The node's name, its alias, or its node key.
      - Who is no member any more can be named by its node key only.
    type: str
    required: true
  state:
    description: What becomes of it.
    type: str
    choices: [revoked, forgotten]
    default: revoked
  _revocation:
    description: The signed revocation. The action plugin hands it over; a task cannot set it.
    type: str
extends_documentation_fragment:
  - smegmesh.wireguard.authority_key
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.host
attributes:
  check_mode:
    support: partial
    details:
      - Whether a key that is no member's is revoked already is not known before; it is predicted as a change.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - A node that was revoked is no member any more, and only its node key still says which it was.
seealso:
  - module: smegmesh.wireguard.mesh
  - module: smegmesh.wireguard.mesh_certificate
"""

EXAMPLES = r"""
- name: A laptop was stolen
  smegmesh.wireguard.mesh_member:
    mesh: prod
    member: laptop
    authority_key: authorities/default/authority.key
  become: true

- name: A host burnt down last week
  smegmesh.wireguard.mesh_member:
    mesh: prod
    member: a7
    state: forgotten
  become: true
"""

RETURN = r"""
node_key:
  description: The key of the node. It is what was taken out, whatever the name is given to next.
  type: str
  returned: success
  sample: 5bW2H5nVPXpVnp6y0E9LYY0c5mLmzQdNf3cY3sFJx3Q=
revocation:
  description:
    - What the authority signed, one line of text. It is no secret.
    - Any member takes it with C(smegctl revoke), so it can be kept for meshes that are cut off now.
  type: str
  returned: when a node was revoked
told:
  description: Whether another member lives as the host sees it, which then knows the revocation, too.
  type: bool
  returned: when a node was revoked
  version_added: 0.2.0
"""

import base64
import binascii

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent

KEY_BYTES = 32


def find(members, name):
    """The member of a node key, a name or an alias, in this order: an alias is what a node says of itself.

    None if there is none; AgentError if there are several.
    """
    for field in ("node_key", "name", "alias"):
        found = [member for member in members if member.get(field) == name]
        if len(found) > 1:
            keys = ", ".join(sorted(member["node_key"] for member in found))
            raise agent.AgentError("%d members are called %s: give a node key of these: %s" % (len(found), name, keys))
        if found:
            return found[0]
    return None


def is_key(text):
    """Whether this is a node key as people write it."""
    try:
        return len(base64.b64decode(text.encode("ascii"), validate=True)) == KEY_BYTES
    except (ValueError, binascii.Error):
        return False


def node_key(module):
    """The key of the node that is meant; None if it is gone and need not be known."""
    mesh, name = module.params["mesh"], module.params["member"]
    member = find(agent.smegctl(module, ["members", mesh])[mesh], name)
    if member is not None:
        if member.get("own"):
            raise agent.AgentError(
                "%s is this host itself: ask through another member, or let it leave with the module mesh" % name
            )
        if module.params["state"] == "forgotten" and member["liveness"] != "down":
            raise agent.AgentError("%s is %s: only a member that is down can be forgotten" % (name, member["liveness"]))
        return member["node_key"]
    if module.params["state"] == "forgotten":
        return None
    if is_key(name):
        return name
    raise agent.AgentError(
        "no member of mesh %s is called %s: if it was pruned, or is revoked already, give its node key" % (mesh, name)
    )


def hears(module, mesh):
    """Whether another member lives as this host sees it: then a revocation is no longer this host's alone."""
    members = agent.smegctl(module, ["members", mesh])[mesh]
    return any(member["liveness"] == "alive" for member in members if not member.get("own"))


def main():
    module = AnsibleModule(
        argument_spec={
            "mesh": {"type": "str", "required": True},
            "member": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["revoked", "forgotten"], "default": "revoked"},
            "authority_key": {"type": "path", "no_log": False},
            "authority_key_variable": {"type": "str", "no_log": False},
            "_revocation": {"type": "str"},
        },
        mutually_exclusive=[("authority_key", "authority_key_variable")],
        supports_check_mode=True,
    )
    mesh, revocation = module.params["mesh"], module.params["_revocation"]
    try:
        if not agent.installed():
            raise agent.AgentError("%s is missing: the host has no agent" % agent.SMEGCTL)
        if revocation is not None:
            answer = agent.smegctl(module, ["revoke"], text=revocation)
            module.exit_json(
                changed=answer["changed"], node_key=answer["node_key"], revocation=revocation, told=hears(module, mesh)
            )
        key = node_key(module)
        if key is not None and module.params["state"] == "forgotten" and not module.check_mode:
            agent.smegctl(module, ["forget", mesh, key])
    except agent.AgentError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=key is not None, node_key=key)


if __name__ == "__main__":
    main()
