#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_key
short_description: Replace the WireGuard key of this host
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Has the agent make another tunnel key, the one that WireGuard uses, take it in all meshes, and tell the other
    members. The one before is gone from the host.
  - Who the host is stays the same. The node key is the first tunnel key that it ever had, and its addresses, its
    certificates and what others declared of it follow from that.
  - No packet is lost. What the host sends is held back by WireGuard until the others have heard of the new key, for
    some tenths of a second.
  - It is refused while a member's agent does not answer though its host does, because that one would not learn of it,
    and on a host with static peers, whose configuration has the key. So it is in check mode.
options:
  older_than:
    description:
      - Replace the key only if it is older than this many days. With V(0) it is replaced in any case.
    type: int
    default: 0
  force:
    description: Replace it even if members would not learn of it at once, and be cut off from them until they do.
    type: bool
    default: false
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.host
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Public keys, before and after. The one that is still to be made is shown as C((generated)).
  idempotent:
    support: partial
    details:
      - With O(older_than), which a new key is not.
seealso:
  - module: smegmesh.wireguard.mesh_wait
"""

EXAMPLES = r"""
- name: Replace keys that are older than a year
  smegmesh.wireguard.mesh_key:
    older_than: 365
  become: true
  throttle: 1
"""

RETURN = r"""
node_key:
  description: The node key, which stays.
  type: str
  returned: success
  sample: 5bW2H5nVPXpVnp6y0E9LYY0c5mLmzQdNf3cY3sFJx3Q=
tunnel_key:
  description: The public half of the tunnel key that is used now. In check mode it is that of the one that would go.
  type: str
  returned: success
  sample: mZkRQ7P0KPOuxsTVvFh0uE9p5QKqjIBK8a0Yv1s0a3w=
age:
  description: Age in days of the key that was found.
  type: float
  returned: success
  sample: 412.5
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent

KEY = agent.STATE + "/keys/tunnel.key"
DAY = 86400.0


def age():
    """Days since the tunnel key was made; AgentError if there is none."""
    try:
        return round((time.time() - os.lstat(KEY).st_mtime) / DAY, 1)
    except OSError as error:
        raise agent.AgentError("%s: %s: run the role smegmesh first" % (KEY, error.strerror)) from error


def ensure(module):
    """Replace the key if it is to be; the module's result."""
    if not agent.installed():
        raise agent.AgentError("%s is missing: install the agent first, with the role smegmesh" % agent.SMEGCTL)
    status = agent.smegctl(module, ["status"])
    found = {"age": age(), "node_key": status["node_key"], "tunnel_key": status["tunnel_key"]}
    if found["age"] < module.params["older_than"]:
        return dict(found, changed=False)
    options = (["--force"] if module.params["force"] else []) + (["--check"] if module.check_mode else [])
    answer = agent.smegctl(module, ["rotate"] + options)
    after = "(generated)" if module.check_mode else answer["tunnel_key"]
    diff = {"before": {"tunnel_key": found["tunnel_key"]}, "after": {"tunnel_key": after}}
    return dict(found, changed=True, diff=diff, tunnel_key=answer["tunnel_key"])


def main():
    module = AnsibleModule(
        argument_spec={
            "older_than": {"type": "int", "default": 0},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if module.params["older_than"] < 0:
        module.fail_json(msg="older_than is %d: use 0 or more days" % module.params["older_than"])
    try:
        result = ensure(module)
    except agent.AgentError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
