#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_info
short_description: See what the agent needs of this host, what it has, and what is in its way
version_added: 0.1.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - The few facts that the role C(smegmesh) needs, in one look at the host.
options:
  python:
    description: The interpreter for the agent. Left out, the first one that is new enough.
    type: str
  plane:
    description: Which WireGuard the agent is to use.
    type: str
    choices: [auto, kernel, userspace]
    default: auto
  claims:
    description:
      - What the host's meshes will take of it, as M(smegmesh.wireguard.mesh_plan) works it out. What of that something
        else has is in RV(conflicts).
    version_added: 0.2.0
    type: list
    elements: dict
    default: []
    suboptions:
      mesh:
        description: The id of the mesh.
        type: str
        required: true
      interface:
        description: The name of its interface.
        type: str
        required: true
      port:
        description: The UDP port of WireGuard. Left out, the agent chooses one.
        type: int
      prefix:
        description: The mesh's own prefix.
        type: str
        required: true
      routes:
        description: Prefixes that this host takes from the others, static peers among them.
        type: list
        elements: str
        default: []
  listeners:
    description: What the agent itself will listen on. What of that something else has is in RV(conflicts).
    version_added: 0.2.0
    type: list
    elements: dict
    default: []
    suboptions:
      setting:
        description: What to change if it is taken.
        type: str
        required: true
      port:
        description: The TCP port.
        type: int
        required: true
      address:
        description: The IP address.
        type: str
        default: "::"
  firewall_chains:
    description:
      - Chains of the host's own firewall in which the ports of O(claims) and O(listeners) are to be opened, as
        V(inet filter input). Why they cannot be is in RV(conflicts).
    version_added: 0.2.0
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.info_module
  - smegmesh.wireguard.attributes.host
"""

EXAMPLES = r"""
- name: See what the host has
  smegmesh.wireguard.agent_info:
  register: host
"""

RETURN = r"""
os_family:
  description: Which package manager's names apply.
  type: str
  returned: always
  sample: debian
missing:
  description: What has to be installed first, of V(python), V(venv), V(nftables) and V(wireguard-go).
  type: list
  elements: str
  returned: always
  sample: [wireguard-go]
version:
  description: The installed version, empty if there is none.
  type: str
  returned: always
  sample: 0.1.0+5f2c11d0a9b3
running:
  description: Whether the agent runs.
  type: bool
  returned: always
stale:
  description: Whether the agent runs with an older version, unit or agent.yml than what is on the disk.
  type: bool
  returned: always
conflicts:
  description:
    - What the agent would take and something else has, and why ports cannot be opened, each with what to do about it.
  type: list
  elements: str
  returned: always
  sample:
    - >-
      interface smeg-prod of mesh prod is made by wg-quick (/etc/wireguard/smeg-prod.conf): declare another `interface`
      for mesh prod, or remove that
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, conflicts, firewall, host

# A change of any of these takes a restart.
STARTED_FROM = (agent.CURRENT, agent.CONFIGURATION + "/agent.yml", "/etc/systemd/system/smegd.service")
CLAIM = {
    "mesh": {"type": "str", "required": True},
    "interface": {"type": "str", "required": True},
    "port": {"type": "int"},
    "prefix": {"type": "str", "required": True},
    "routes": {"type": "list", "elements": "str", "default": []},
}
LISTENER = {
    "setting": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "address": {"type": "str", "default": "::"},
}


def started(module):
    """When the running agent started, in seconds since the epoch; None if it does not run."""
    shown = ["ActiveState", "ExecMainStartTimestampMonotonic"]
    code, out, _err = module.run_command(["systemctl", "show", "--property=" + ",".join(shown), agent.SERVICE])
    values = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    if code != 0 or values.get("ActiveState") not in ("active", "reloading"):
        return None
    return time.time() - time.monotonic() + int(values["ExecMainStartTimestampMonotonic"]) / 1e6


def changed_since(moment):
    """Whether something that takes a restart is younger than the process."""
    return any(os.path.lexists(path) and os.lstat(path).st_mtime > moment for path in STARTED_FROM)


def ports(module):
    """What has to be open, for people; a port that the agent chooses is not known here."""
    udp = [str(claim["port"] or "WIREGUARD-PORT") for claim in module.params["claims"]]
    return ["tcp %d" % item["port"] for item in module.params["listeners"]] + ["udp " + port for port in udp]


def main():
    module = AnsibleModule(
        argument_spec={
            "python": {"type": "str"},
            "plane": {"type": "str", "choices": ["auto", "kernel", "userspace"], "default": "auto"},
            "claims": {"type": "list", "elements": "dict", "default": [], "options": CLAIM},
            "listeners": {"type": "list", "elements": "dict", "default": [], "options": LISTENER},
            "firewall_chains": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    python = host.find_python(module, module.params["python"])
    moment = started(module)
    try:
        found = conflicts.find(module, module.params["claims"], module.params["listeners"])
        found += firewall.problems(module, module.params["firewall_chains"], ports(module))
    except ValueError as error:
        module.fail_json(msg="claims or listeners: %s" % error)
    module.exit_json(
        changed=False,
        os_family=host.os_family(),
        missing=host.missing(module, python, module.params["plane"]),
        version=os.path.basename(os.readlink(agent.CURRENT)) if os.path.islink(agent.CURRENT) else "",
        running=moment is not None,
        stale=moment is not None and changed_since(moment),
        conflicts=found,
    )


if __name__ == "__main__":
    main()
