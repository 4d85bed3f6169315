#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_wait
short_description: Wait until a mesh is as it should be, as this host sees it
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Asks the agent on the host again and again until the mesh is up there, its members are alive, and it once held the
    same map as another member since it runs. The last does not apply where nobody else is alive.
  - If that takes longer than O(timeout), it fails and says who differs and in what.
  - What others see may be something else. Run it on all hosts to know that all of them agree.
options:
  mesh:
    description: The id of the mesh.
    type: str
    required: true
  members:
    description:
      - Names of the nodes that have to be members and alive. Of several nodes of one name, one has to be.
      - Left out, these are all members that the host knows, among them itself.
    type: list
    elements: str
  digest:
    description:
      - What C(digest) of the mesh has to be. It is equal on two hosts exactly when they know the same, so with the one
        that another host returned this waits until both do.
      - It changes with whatever anybody says, at the latest with the leader's next heartbeat, within a minute. So take
        it from the other host immediately before.
    type: str
  ping:
    description: Whether these members have to answer a ping over the mesh, too.
    type: bool
    default: false
  timeout:
    description: Seconds to wait. With V(0) it looks once.
    type: int
    default: 60
  sleep:
    description: Seconds between two looks.
    type: float
    default: 0.5
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.info_module
  - smegmesh.wireguard.attributes.host
seealso:
  - module: smegmesh.wireguard.mesh
  - module: smegmesh.wireguard.mesh_info
"""

EXAMPLES = r"""
- name: Wait until all that this host knows of are alive
  smegmesh.wireguard.mesh_wait:
    mesh: prod
  become: true

- name: Wait until it sees all hosts of a group
  smegmesh.wireguard.mesh_wait:
    mesh: prod
    members: "{{ groups['prod_peers'] }}"
    timeout: 120
  become: true

- name: See what the first host knows
  smegmesh.wireguard.mesh_wait:
    mesh: prod
  become: true
  run_once: true
  register: first

- name: Wait until all others know the same
  smegmesh.wireguard.mesh_wait:
    mesh: prod
    digest: "{{ first.digest }}"
  become: true
"""

RETURN = r"""
digest:
  description: The digest of the mesh on this host, empty if it was not told.
  type: str
  returned: always
  sample: 1f0c5b6f8a3de1c2479be0d8a6f31c5e9d2b7a4058c6e3f1a9b8d7c6e5f4a3b2
alive:
  description: Names of the members that are alive.
  type: list
  elements: str
  returned: always
  sample: [a1, a2]
waited:
  description: Seconds that passed.
  type: float
  returned: always
  sample: 1.6
differences:
  description: Who differs from what was waited for, at the last look. Empty when all is well.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The node's name, empty for this host where its agent did not answer.
      type: str
    what:
      description:
        - V(agent) is whether the host's agent answers, V(state) that of the mesh on this host, V(liveness) that of a
          member, V(ping) whether that one answers, V(digest) what this host knows, V(map) whether that ever was what
          another member knows.
      type: str
    expected:
      description: What was waited for.
      type: str
    found:
      description: What was found instead. Of a node that is no member the liveness is V(missing).
      type: str
  sample: [{name: a2, what: liveness, expected: alive, found: down}]
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent

TOLD = 5  # differences in the message; the result has them all


def look(module, mesh_id):
    """The agent's status, what it has of the mesh (None if it does not know it), and its members. Raises AgentError."""
    status = agent.smegctl(module, ["status"])
    mesh = next((each for each in status["meshes"] if each["mesh"] == mesh_id), None)
    members = []
    if mesh is not None and mesh["state"] != "failed":
        members = agent.smegctl(module, ["members", mesh_id])[mesh_id]
    return status, mesh, members


def differ(status, mesh, members, names, digest):
    """All that is not as it should be; C(names) and C(digest) are None where they were not given."""
    own = status["node_name"]
    if mesh is None:
        return [difference(own, "state", "up", "not declared")]
    found = []
    if mesh["state"] != "up":
        problem = mesh.get("problem")
        found.append(difference(own, "state", "up", "%s (%s)" % (mesh["state"], problem) if problem else mesh["state"]))
    if names is None:
        found.extend(not_alive(member["name"], [member]) for member in members)
        if not any(member.get("own") for member in members):
            found.append(not_alive(own, []))
    else:
        found.extend(not_alive(name, [each for each in members if each["name"] == name]) for name in names)
    others = any(member["liveness"] == "alive" and not member.get("own") for member in members)
    # An agent of a version that does not say so is believed.
    if others and not mesh.get("informed", True):
        found.append(difference(own, "map", "equal to another member's", "not compared yet"))
    if digest is not None and mesh.get("digest") != digest:
        found.append(difference(own, "digest", digest, mesh.get("digest") or "none"))
    return [each for each in found if each]


def silent(module, members, names):
    """The differences of members that are alive and do not answer a ping."""
    alive = [
        member for member in members if member["liveness"] == "alive" and (names is None or member["name"] in names)
    ]
    answers = agent.ping(module, alive)
    return [difference(name, "ping", "answered", "not answered") for name in sorted(answers) if not answers[name]]


def not_alive(name, members):
    """The difference if none of these members is alive, None if one is."""
    seen = [member["liveness"] for member in members] or ["missing"]
    return None if "alive" in seen else difference(name, "liveness", "alive", seen[0])


def difference(name, what, expected, found):
    return {"name": name, "what": what, "expected": expected, "found": found}


def describe(differences):
    """The first of the differences in one line, and what to do."""
    told = [sentence(**each) for each in differences[:TOLD]]
    if len(differences) > TOLD:
        told.append("and %d more" % (len(differences) - TOLD))
    # What the agent's command line says of an agent that does not answer says what to do.
    hint = "" if differences[0]["what"] == "agent" else ": see smegctl status and smegctl members on this host"
    return "; ".join(told) + hint


def sentence(name, what, expected, found):
    """A difference for people."""
    if what == "agent":
        return "its agent does not answer: %s" % found
    return "%s: %s is %s instead of %s" % (name, what, found, expected)


def wait(module):
    """Look until nothing differs or the time is over; the result of the last look."""
    params = module.params
    start = time.monotonic()
    while True:
        result = {"changed": False, "digest": "", "alive": []}
        try:
            status, mesh, members = look(module, params["mesh"])
            result["digest"] = (mesh or {}).get("digest") or ""
            result["alive"] = [member["name"] for member in members if member["liveness"] == "alive"]
            result["differences"] = differ(status, mesh, members, params["members"], params["digest"])
            if params["ping"] and not result["differences"]:
                result["differences"] = silent(module, members, params["members"])
        except agent.AgentError as error:
            result["differences"] = [difference("", "agent", "answering", str(error))]
        result["waited"] = round(time.monotonic() - start, 1)
        left = start + params["timeout"] - time.monotonic()
        if not result["differences"] or left <= 0:
            return result
        time.sleep(min(params["sleep"], left))


def main():
    module = AnsibleModule(
        argument_spec={
            "mesh": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str"},
            "digest": {"type": "str"},
            "ping": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
            "sleep": {"type": "float", "default": 0.5},
        },
        supports_check_mode=True,
    )
    for option in ("timeout", "sleep"):
        if module.params[option] < 0:
            module.fail_json(msg="%s is %s: use 0 or more seconds" % (option, module.params[option]))
    if not agent.installed():
        module.fail_json(msg="%s is missing: install the agent first, with the role smegmesh" % agent.SMEGCTL)
    result = wait(module)
    if result["differences"]:
        module.fail_json(
            msg="mesh %s is not as it should be after %d s: %s"
            % (module.params["mesh"], module.params["timeout"], describe(result["differences"])),
            **result,
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
