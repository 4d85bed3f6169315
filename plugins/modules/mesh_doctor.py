#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_doctor
short_description: Find what is wrong with this host and its meshes
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Runs C(smegctl doctor) on the host. It looks at the tunnels, ports, packet sizes, certificates, clock, firewall and
    interfaces, and returns what is wrong with each of them and how to mend it. It changes nothing, and takes 15 seconds
    at most.
  - That something is wrong is no failure of the module. Have M(smegmesh.wireguard.mesh_report) fail for it.
  - The firewall can be read by root alone.
options:
  mesh:
    description: The mesh to look at. Left out, it is all of the host's.
    type: str
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.info_module
  - smegmesh.wireguard.attributes.host
seealso:
  - module: smegmesh.wireguard.mesh_info
  - module: smegmesh.wireguard.mesh_report
"""

EXAMPLES = r"""
- name: Look for what is wrong
  smegmesh.wireguard.mesh_doctor:
  become: true
  register: diagnosis

- name: Go on only if the MTU is right
  ansible.builtin.assert:
    that: "'mtu.too-large' not in diagnosis.findings | map(attribute='id')"
"""

RETURN = r"""
healthy:
  description: Whether nothing is an error. There may be warnings.
  type: bool
  returned: success
node:
  description: The name of the host in its meshes, empty if its agent does not run.
  type: str
  returned: success
findings:
  description: What is wrong, errors first.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: What kind of fault it is, the same in all versions. docs/troubleshooting.md lists them.
      type: str
    severity:
      description: V(error) for what is in the way now, V(warning) for what will be or may be meant.
      type: str
    mesh:
      description: The mesh that it is about, null for the host as a whole.
      type: str
    peer:
      description: The member that it is about, null for none.
      type: str
    what:
      description: What is wrong, in one line.
      type: str
    fix:
      description: How to mend it, in one line.
      type: str
  sample:
    - id: port.link-blocked
      severity: error
      mesh: prod
      peer: a2
      what: "no connection to 198.18.0.12:4000 (TCP): timed out"
      fix: open that port on a2 and on the way; nobody but its smegd may listen there
skipped:
  description: What could not be looked at, as C(check), and C(why).
  type: list
  elements: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent

FOUND = 1  # the exit status where something is wrong


def main():
    module = AnsibleModule(argument_spec={"mesh": {"type": "str"}}, supports_check_mode=True)
    command = ["doctor"] + (["--mesh", module.params["mesh"]] if module.params["mesh"] else [])
    try:
        if not agent.installed():
            raise agent.AgentError("%s is missing: the host has no agent" % agent.SMEGCTL)
        said = agent.smegctl(module, command, statuses=(0, FOUND))
    except agent.AgentError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **said)


if __name__ == "__main__":
    main()
