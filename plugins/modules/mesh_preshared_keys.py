#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_preshared_keys
short_description: Give a host the preshared keys that it shares with other members
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - A preshared key is mixed into the WireGuard handshakes of two hosts, so that whoever records their traffic today
    cannot read it with a quantum computer of the future.
  - Each host is given its own keys alone, in a file that only its agent and root read. Keys are in no result and in
    no diff.
  - A key is used once both hosts have it and know it of each other. Until then, and when one of them loses it, they go
    on without. A key that is replaced stays in use until both have the new one.
options:
  meshes:
    description: The meshes, as for M(smegmesh.wireguard.mesh_plan).
    type: dict
    required: true
  preshared_keys_variable:
    description:
      - Name of the variable that holds the pairs by mesh id. It is not the pairs themselves, for arguments of tasks may
        be shown.
      - Each pair has C(hosts), the names of two members, and C(key), which is 32 random bytes in base64 as C(wg genpsk)
        prints them. Keep the keys in a vault.
      - These are all keys. What the host has and is not here any more is removed.
    type: str
    default: smegmesh_preshared_keys
  _keys:
    description: The host's own keys. The action plugin hands them over; a task cannot set them.
    type: dict
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.host
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - It tells which keys change, and never a key.
  idempotent:
    support: full
seealso:
  - module: smegmesh.wireguard.mesh
  - module: smegmesh.wireguard.mesh_plan
"""

EXAMPLES = r"""
- name: Two data centres share a key
  smegmesh.wireguard.mesh_preshared_keys:
    meshes: "{{ smegmesh_meshes }}"
    preshared_keys_variable: my_pairs
  vars:
    my_pairs:
      prod:
        - {hosts: [a1, b1], key: "{{ vault_prod_a1_b1 }}"}
  become: true
"""

RETURN = r"""
changes:
  description: With whom a key is new, replaced or removed.
  type: list
  elements: dict
  returned: success
  sample: [{mesh: prod, host: b1, change: new}]
reloaded:
  description: Whether a running agent took the change over.
  type: bool
  returned: success
problems:
  description: Everything that is wrong with the pairs.
  type: list
  elements: str
  returned: failure
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent


def predict(keys):
    """The answer of an agent that is not there yet."""
    changes = [
        {"mesh": mesh, "host": other, "change": "new"}
        for mesh, pairs in sorted(keys.items())
        for other in sorted(pairs)
    ]
    return {"changed": bool(changes), "changes": changes, "reloaded": False}


def diff(changes):
    """What differs, without a key."""

    def text(told, unlike):
        return "".join(
            "mesh %s, with %s: %s\n" % (each["mesh"], each["host"], told.get(each["change"], "(secret)"))
            for each in changes
            if each["change"] != unlike
        )

    return {"before": text({}, "new"), "after": text({"replaced": "(another secret)"}, "removed")}


def main():
    module = AnsibleModule(
        argument_spec={
            "meshes": {"type": "dict", "required": True},
            "preshared_keys_variable": {"type": "str", "default": "smegmesh_preshared_keys", "no_log": False},
            "_keys": {"type": "dict", "no_log": True},
        },
        supports_check_mode=True,
    )
    keys = module.params["_keys"]
    try:
        if keys is None:
            raise agent.AgentError("this module works through its action plugin only")
        if agent.installed():
            arguments = ["preshared-keys"] + (["--check"] if module.check_mode else [])
            answer = agent.smegctl(module, arguments, keys, as_agent=True)
        elif module.check_mode:
            answer = predict(keys)
        else:
            raise agent.AgentError("%s is missing: install the agent first, with the role smegmesh" % agent.SMEGCTL)
    except agent.AgentError as error:
        module.fail_json(msg=str(error))
    changed, changes = answer["changed"], answer["changes"]
    result = {"diff": diff(changes)} if module._diff and changed else {}
    module.exit_json(changed=changed, changes=changes, reloaded=answer["reloaded"], **result)


if __name__ == "__main__":
    main()
