#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_info
short_description: See the meshes of this host as its agent sees them
version_added: 0.1.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Asks the agent on the host for its state, its meshes and their members.
  - It can wait until meshes are up, and then says why one is not.
options:
  meshes:
    description: Meshes that have to be up. Left out, none is waited for.
    type: list
    elements: str
    default: []
  wait:
    description: Seconds to wait for O(meshes) to be up.
    type: int
    default: 0
  members:
    description: Whether to return the members of all meshes too.
    type: bool
    default: false
  ping:
    description: Whether to ping all other members over the mesh.
    type: bool
    default: false
  query:
    description:
      - An expression of JMESPath (U(https://jmespath.org)), searched by the agent for each of O(meshes), or for each
        mesh of the host if O(meshes) is empty.
      - It is over the same mapping as that of the lookup P(smegmesh.wireguard.mesh_query#lookup), with the members of
        the one mesh alone.
    type: str
    version_added: 0.2.0
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.info_module
  - smegmesh.wireguard.attributes.host
seealso:
  - module: smegmesh.wireguard.mesh
  - plugin: smegmesh.wireguard.mesh_query
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Wait until the mesh is up
  smegmesh.wireguard.mesh_info:
    meshes: [prod]
    wait: 60
  become: true
  register: mesh

- name: See who is in it
  smegmesh.wireguard.mesh_info:
    members: true
  become: true

- name: See which services are offered in prod
  smegmesh.wireguard.mesh_info:
    meshes: [prod]
    query: "members.prod[?services].{name: name, services: services}"
  become: true
  register: offered
"""

RETURN = r"""
status:
  description: The agent and its meshes, as C(smegctl status --json) has it.
  type: dict
  returned: success
  sample: {node_name: a1, meshes: [{mesh: prod, state: up, role: peer, interface: smeg-prod}]}
members:
  description: By mesh id, its members as this host sees them, as C(smegctl members --json) has it.
  type: dict
  returned: when O(members) or O(ping) is true
pings:
  description: By mesh id and name of the member, whether it answered over the mesh.
  type: dict
  returned: when O(ping) is true
  sample: {prod: {a2: true, laptop: true}}
found:
  description: By mesh id, what O(query) found there; null where it found nothing.
  type: dict
  returned: when O(query) is given
  sample: {prod: [{name: web1, services: {https: tcp/443}}]}
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent

POLL_SECONDS = 0.25


def troubles(status, wanted):
    """Why a wanted mesh is not up, by mesh id; empty when all are."""
    meshes = {mesh["mesh"]: mesh for mesh in status["meshes"]}
    found = {}
    for name in wanted:
        mesh = meshes.get(name)
        if mesh is None:
            found[name] = "the agent does not know it: see its declaration in %s" % agent.DECLARATIONS
        elif mesh["state"] != "up":
            found[name] = mesh.get("problem") or "it is still %s" % mesh["state"]
    return found


def wait(module, wanted, seconds):
    """The agent's status once all wanted meshes are up; AgentError with the reasons after C(seconds)."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            status = agent.smegctl(module, ["status"])
            reasons = troubles(status, wanted)
        except agent.AgentError as error:
            status, reasons = None, {"agent": str(error)}
        if status is not None and not reasons:
            return status
        if time.monotonic() >= deadline:
            raise agent.AgentError("; ".join("%s: %s" % reason for reason in sorted(reasons.items())))
        time.sleep(POLL_SECONDS)


def query(module, meshes, expression):
    """What the expression finds in each mesh, by mesh id."""
    return {mesh: agent.smegctl(module, ["query", mesh, expression])["result"] for mesh in meshes}


def journal(module):
    """The end of the agent's journal, for an error."""
    command = ["journalctl", "--unit", agent.SERVICE, "--lines", "20", "--no-pager", "--output", "cat"]
    return module.run_command(command)[1].strip()


def main():
    module = AnsibleModule(
        argument_spec={
            "meshes": {"type": "list", "elements": "str", "default": []},
            "wait": {"type": "int", "default": 0},
            "members": {"type": "bool", "default": False},
            "ping": {"type": "bool", "default": False},
            "query": {"type": "str"},
        },
        supports_check_mode=True,
    )
    result = {"changed": False}
    try:
        if not agent.installed():
            raise agent.AgentError("%s is missing: the host has no agent" % agent.SMEGCTL)
        result["status"] = wait(module, module.params["meshes"], module.params["wait"])
        if module.params["members"] or module.params["ping"]:
            result["members"] = agent.smegctl(module, ["members"])
        if module.params["ping"]:
            result["pings"] = {mesh: agent.ping(module, members) for mesh, members in result["members"].items()}
    except agent.AgentError as error:
        module.fail_json(msg="%s\nThe end of the agent's journal:\n%s" % (error, journal(module)))
    if module.params["query"] is not None:
        running = [mesh["mesh"] for mesh in result["status"]["meshes"] if mesh["state"] != "failed"]
        try:
            result["found"] = query(module, module.params["meshes"] or running, module.params["query"])
        except agent.AgentError as error:
            module.fail_json(msg="query: %s" % error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
