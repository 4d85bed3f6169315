#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: agent
short_description: Install the agent on this host, or remove it
version_added: 0.1.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Does what a distribution's package would do. It makes the system user, the directories, a virtual environment
    for each version under C(/opt/smegmesh/versions), the link C(current) to one of them, and the systemd units.
  - The version is the package's own and a hash over all that is installed, so the same files are never installed twice
    and nothing is copied to a host that has them.
  - The agent is neither started nor restarted.
options:
  state:
    description: V(absent) leaves all meshes, and removes the agent with its keys and all that it made.
    type: str
    choices: [present, absent]
    default: present
  python:
    description: The interpreter for the agent. Left out, the first one that is new enough.
    type: str
  method:
    description:
      - V(wheelhouse) collects the dependencies on the controller and copies them.
      - V(index) lets the host fetch them from its own package index, held to the same hashes.
    type: str
    choices: [wheelhouse, index]
    default: wheelhouse
  wheelhouse:
    description: Directory on the controller with the dependencies' wheels, instead of a package index.
    type: path
  cache:
    description: Directory on the controller for what is built. Left out, C(smegmesh) in the user's cache directory.
    type: path
  keep:
    description: How many other versions stay beside the current one, first of all the one that was current before.
    type: int
    default: 1
  version:
    description:
      - A version that the host still has, to go back to it, as M(smegmesh.wireguard.agent_info) returned it.
      - Left out, the version that comes with the collection, which is installed where it is missing.
    type: str
    version_added: 0.2.0
  _version:
    description: The version to install. The action plugin hands it over; a task cannot set it.
    type: str
  _bundle:
    description: Where the bundle is on the host. The action plugin hands it over; a task cannot set it.
    type: path
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.host
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: smegmesh.wireguard.agent_info
  - module: smegmesh.wireguard.mesh
"""

EXAMPLES = r"""
- name: Install the agent
  smegmesh.wireguard.agent:
  become: true

- name: Go back to the version before
  smegmesh.wireguard.agent:
    version: 0.1.0+5f2c11d0a9b3
  become: true

- name: Remove it with all it made
  smegmesh.wireguard.agent:
    state: absent
  become: true
"""

RETURN = r"""
version:
  description: The version that is current now, or would be.
  type: str
  returned: when state is present
  sample: 0.1.0+5f2c11d0a9b3
changes:
  description: What was done, or would be.
  type: list
  elements: str
  returned: success
  sample: [install version 0.1.0+5f2c11d0a9b3]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, host, installation, removal


def present(module, changes):
    """Install the version; returns what the action plugin has to send first, if anything."""
    version, bundle = module.params["_version"], module.params["_bundle"]
    installation.check_unit()
    there = installation.has_version(module, version)
    if module.params["version"] and not (there and version in installation.versions()):
        kept = ", ".join(installation.versions()) or "none"
        raise agent.AgentError("version %s is not on this host, it has: %s" % (version, kept))
    if not there:
        if module.check_mode:
            changes.append("install version %s" % version)
            return None
        python = host.find_python(module, module.params["python"])
        if python is None:
            raise agent.AgentError(
                "there is no Python %d.%d or newer: install one, or name it with smegmesh_python" % host.OLDEST
            )
        if bundle is None:
            return host.platform(python)
    changes.extend(installation.apply_layout(module))
    if not there:
        installation.install_version(module, version, bundle, python["path"], module.params["method"] == "index")
        changes.append("install version %s" % version)
    changes.extend(installation.apply_units(module, version))
    before = installation.current_version()
    changes.extend(installation.make_current(module, version))
    changes.extend(installation.apply_completion(module, version))
    changes.extend(installation.remove_old(module, version, before, module.params["keep"]))
    return None


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "python": {"type": "str"},
            "method": {"type": "str", "choices": ["wheelhouse", "index"], "default": "wheelhouse"},
            "wheelhouse": {"type": "path"},
            "cache": {"type": "path"},
            "keep": {"type": "int", "default": 1},
            "version": {"type": "str"},
            "_version": {"type": "str"},
            "_bundle": {"type": "path"},
        },
        supports_check_mode=True,
    )
    changes = []
    result = {}
    try:
        if module.params["state"] == "present":
            result["version"] = module.params["_version"]
            needs = present(module, changes)
            if needs:
                module.exit_json(changed=False, needs_bundle=needs)
        else:
            changes.extend(removal.remove(module))
    except agent.AgentError as error:
        module.fail_json(msg=str(error))
    result.update(changed=bool(changes), changes=changes)
    if module._diff and changes:
        result["diff"] = {"prepared": "".join("%s\n" % change for change in changes)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
