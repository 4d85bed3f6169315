#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_key
short_description: Give this host a WireGuard key that there is already
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - A host makes its keys by itself, and they never leave it. This module is for a key that is to be kept, for example
    from an older WireGuard setup or from Ansible Vault, so that the host has the same address in its meshes again.
  - The key goes to the agent's command line by its standard input, and from there into a file of mode 0600 that
    belongs to the agent. Keys are compared, shown and returned by their public halves alone.
  - Given is the key that the host is born with, from which its node key and address follow. One that was rotated later
    by M(smegmesh.wireguard.mesh_key) is still that host's.
  - Use it before M(smegmesh.wireguard.mesh_certificate), which certifies the key that the host has.
options:
  private_key:
    description: The key, as C(wg genkey) makes it. Each host needs its own.
    type: str
    required: true
  replace:
    description:
      - Whether another key of the host gives way. The host is a new node then, with another address, and needs a new
        certificate, with which M(smegmesh.wireguard.mesh_certificate) has the old key revoked.
      - The agent is stopped for it, and its interfaces are taken away. It has to be started again. If the key cannot be
        written, the host keeps the one that it had, and an agent that ran is started again.
      - What the host had is gone then, so look first whether it will get a certificate, with this module and
        M(smegmesh.wireguard.mesh_certificate) in check mode. The role does.
    type: bool
    default: false
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.host
attributes:
  check_mode:
    support: full
    details:
      - On a host without an agent keys cannot be compared. There it predicts a change if the host has no key.
  diff_mode:
    support: full
    details:
      - The public keys before and after.
  idempotent:
    support: full
seealso:
  - module: smegmesh.wireguard.agent
  - module: smegmesh.wireguard.mesh_certificate
  - module: smegmesh.wireguard.mesh_key
"""

EXAMPLES = r"""
- name: Keep the host's key
  smegmesh.wireguard.agent_key:
    private_key: "{{ vault_wireguard_key }}"
  become: true
"""

RETURN = r"""
node_key:
  description: The public half of the key.
  type: str
  returned: when there is an agent to work it out
  sample: 5bW2H5nVPXpVnp6y0E9LYY0c5mLmzQdNf3cY3sFJx3Q=
replaced:
  description: The public half of the key that gave way, or would.
  type: str
  returned: when another one did
  sample: nZc2kWq0xKDZ9GmwNJ6B5cDkbxvZQxWq0f3oCyTnYVo=
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, removal

KEY = agent.STATE + "/keys/tunnel.key"


def ensure(module):
    """Have the host hold the key; what it held, and what it holds, as public keys."""
    found = _import(module, "--check", "--replace")
    if not found["changed"]:
        return found
    if found["before"] and not module.params["replace"]:
        raise agent.AgentError(
            "%s: this host has another key already, %s, not %s: its address and certificate depend on it. "
            "Take the key out (smegmesh_private_key) to keep the host's own, or, to make it a new node, "
            "set replace (smegmesh_replace_private_key: true)" % (KEY, found["before"], found["node_key"])
        )
    if module.check_mode:
        return found
    return _replace(module) if found["before"] else _import(module)


def _replace(module):
    interfaces = removal.mesh_interfaces(module)
    running = removal.running(module)
    try:
        removal.stop(module, interfaces)
        return _import(module, "--replace")
    except agent.AgentError:
        if running:  # with the key that the host still has it makes the same interfaces again
            removal.start(module)
        raise


def _import(module, *options):
    key = module.params["private_key"].strip()
    return agent.smegctl(module, ["import-key"] + list(options), as_agent=True, text=key)


def main():
    module = AnsibleModule(
        argument_spec={
            "private_key": {"type": "str", "required": True, "no_log": True},
            "replace": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if module.check_mode and not agent.installed():
        module.exit_json(changed=not os.path.exists(KEY))
    try:
        if not agent.installed():
            raise agent.AgentError("%s is missing: install the agent first, with the role smegmesh" % agent.SMEGCTL)
        answer = ensure(module)
    except agent.AgentError as error:
        module.fail_json(msg=str(error))
    replaced = {"replaced": answer["before"]} if answer["changed"] and answer["before"] else {}
    module.exit_json(
        changed=answer["changed"],
        node_key=answer["node_key"],
        **replaced,
        diff={"before": {"node_key": answer["before"]}, "after": {"node_key": answer["node_key"]}},
    )


if __name__ == "__main__":
    main()
