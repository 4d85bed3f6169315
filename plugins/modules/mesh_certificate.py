#!/usr/bin/python
# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_certificate
short_description: Give this host its certificate for the meshes of an authority
version_added: 0.1.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - The host makes its keys, which never leave it, and a signing request. The controller signs it in its own process
    and only the certificate travels back.
  - The certificate is issued again when it is missing or damaged, when the host's keys or its grants changed, and when
    less than a third of its time is left.
  - The authority's key is needed only when something has to be signed. It is read from a file on the controller, which
    may be encrypted by Ansible Vault, or from a variable. It is never written anywhere and never part of a task's
    arguments.
  - What was issued is recorded on the controller, in C(issued) beside the authority's certificate. A host whose key was
    replaced gets no certificate for it any more.
options:
  authority:
    description: Name of the authority, as declarations use it.
    type: str
    default: default
  node_name:
    description: The node's name in the certificate. Left out, the name of the host in the inventory.
    type: str
  node_key:
    description:
      - The node key that the host is to have, as RV(smegmesh.wireguard.agent_key#module:node_key) says. Check mode
        predicts the certificate for it, where M(smegmesh.wireguard.agent_key) would still have to give it to the host.
      - Outside check mode another key of the host is an error. Left out, whatever key it has is certified.
    type: str
    version_added: 0.2.0
  meshes:
    description: Ids of the meshes the host may join, or V(*).
    type: list
    elements: str
    required: true
  bridges:
    description: Ids of the meshes the host may forward between, or V(*).
    type: list
    elements: str
    default: []
  prefixes:
    description: Prefixes outside the overlay that the host may advertise.
    type: list
    elements: str
    default: []
  authority_certificate:
    description: Path of the authority's certificate, on the controller.
    type: path
    required: true
  replace_authority:
    description:
      - Whether a host that belongs to another authority of the same name is taken over.
      - Other hosts of its meshes refuse it until they are taken over as well.
    type: bool
    default: false
  revoke_replaced:
    description:
      - Whether a node key whose place another one takes is revoked, in all meshes that it was ever granted. So what a
        host was before it was installed anew is out for good, whoever has its disk.
      - The revocations wait on the controller until M(smegmesh.wireguard.mesh_revocation) has handed them to a member.
    type: bool
    default: true
    version_added: 0.2.0
  valid_days:
    description: Days until the certificate ends, at most until the authority's own certificate does.
    type: int
    default: 730
  trust:
    description:
      - While one authority takes over from another, the authority's certificate file holds both, and the host is to
        trust V(all) of them.
      - With V(signing) it trusts the first alone, whose key signs.
    type: str
    choices: [all, signing]
    default: all
    version_added: 0.2.0
  reload:
    description:
      - Whether the agent, which has to run then, is made to follow what the host has after this, whether that changed
        or not. It is a failure if a mesh of this authority goes on with another certificate or other authorities.
    type: bool
    default: false
    version_added: 0.2.0
  _authority:
    description: The authority's certificate. The action plugin hands it over; a task cannot set it.
    type: str
  _certificate:
    description: The signed certificate. The action plugin hands it over; a task cannot set it.
    type: str
extends_documentation_fragment:
  - smegmesh.wireguard.authority_key
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.host
attributes:
  check_mode:
    support: full
    details:
      - On a host that has no agent or no keys yet, it predicts a new certificate.
      - What has to be signed is signed, and then forgotten, so a key of the authority that cannot be read is an error.
  diff_mode:
    support: full
    details:
      - What the certificates say, before and after.
  idempotent:
    support: full
seealso:
  - module: smegmesh.wireguard.mesh
  - module: smegmesh.wireguard.mesh_authority
  - module: smegmesh.wireguard.mesh_revocation
"""

EXAMPLES = r"""
- name: Give the host its certificate
  smegmesh.wireguard.mesh_certificate:
    meshes: [prod]
    authority_certificate: authorities/default/authority.pem
    authority_key: authorities/default/authority.key
  become: true

- name: With the key in a vaulted variable
  smegmesh.wireguard.mesh_certificate:
    meshes: [prod, office]
    bridges: [prod, office]
    prefixes: ["2001:db8:10::/48"]
    authority_certificate: authorities/default/authority.pem
    authority_key_variable: vault_mesh_authority_key
  become: true
"""

RETURN = r"""
reason:
  description: Why a certificate was issued, or would be.
  type: str
  returned: when changed
  sample: there is none
replaced:
  description: The node keys that are revoked because another one was issued, each with the meshes that it was granted.
  type: dict
  returned: when changed
  sample: {"5bW2H5nVPXpVnp6y0E9LYY0c5mLmzQdNf3cY3sFJx3Q=": [prod]}
certificate:
  description: What the certificate says.
  type: dict
  returned: when there is one
  sample:
    node_name: a1
    node_key: 5bW2H5nVPXpVnp6y0E9LYY0c5mLmzQdNf3cY3sFJx3Q=
    meshes: [prod]
    bridges: []
    prefixes: []
    not_after: "2028-11-23T10:00:00Z"
    fingerprint: 0f8fad5bd9cb469fa16570867728950e
    authority: 91af32d1f5b84a81
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, files

KEYS = (agent.STATE + "/keys/identity.key", agent.STATE + "/keys/tunnel.key")


def request(module):
    """The host's signing request in PEM, or None where check mode must not make keys."""
    has_keys = agent.installed() and all(os.path.exists(key) for key in KEYS)
    if module.check_mode and not has_keys:
        return None
    if not agent.installed():
        raise agent.AgentError("%s is missing: install the agent first, with the role smegmesh" % agent.SMEGCTL)
    answer = agent.smegctl(module, ["request", "--node-name", module.params["node_name"]], as_agent=True)
    return answer["request"]


def paths(name):
    """Where the authority's certificate and the host's own are."""
    directory = os.path.join(agent.AUTHORITIES, name)
    return {"_authority": os.path.join(directory, "authority.pem"), "_certificate": os.path.join(directory, "node.pem")}


def follow(module):
    """Have the agent read what is there; its problems by mesh, and its meshes as they are then."""
    reloaded = agent.smegctl(module, ["reload"], statuses=(0, 1))
    return {"problems": reloaded["problems"], "meshes": agent.smegctl(module, ["status"])["meshes"]}


def main():
    module = AnsibleModule(
        argument_spec={
            "authority": {"type": "str", "default": "default"},
            "node_name": {"type": "str"},
            "node_key": {"type": "str", "no_log": False},
            "meshes": {"type": "list", "elements": "str", "required": True},
            "bridges": {"type": "list", "elements": "str", "default": []},
            "prefixes": {"type": "list", "elements": "str", "default": []},
            "authority_certificate": {"type": "path", "required": True},
            "authority_key": {"type": "path", "no_log": False},
            "authority_key_variable": {"type": "str", "no_log": False},
            "replace_authority": {"type": "bool", "default": False},
            "revoke_replaced": {"type": "bool", "default": True},
            "valid_days": {"type": "int", "default": 730},
            "trust": {"type": "str", "choices": ["all", "signing"], "default": "all"},
            "reload": {"type": "bool", "default": False},
            "_authority": {"type": "str"},
            "_certificate": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if not re.match(r"^[A-Za-z0-9][A-Za-z0-9._-]*$", module.params["authority"]):
        module.fail_json(
            msg="authority %r is not a valid name: use letters, digits, '.', '_' and '-'" % module.params["authority"]
        )
    places = paths(module.params["authority"])
    found = {name: files.read(path) for name, path in places.items()}
    if module.params["_certificate"] is None:
        try:
            csr = request(module)
        except agent.AgentError as error:
            module.fail_json(msg=str(error))
        module.exit_json(
            changed=False,
            request=csr,
            authority=(found["_authority"] or b"").decode("ascii", "replace"),
            certificate=(found["_certificate"] or b"").decode("ascii", "replace"),
        )
    changed = False
    for name, path in places.items():
        content = module.params[name].encode("ascii")
        if found[name] != content:
            changed = True
            if not module.check_mode:
                files.write(path, content, 0o644)
    answer = {}
    if module.params["reload"] and not module.check_mode:
        try:
            answer = follow(module)
        except agent.AgentError as error:
            module.fail_json(msg="%s: run this again when that is mended" % error)
    module.exit_json(changed=changed, **answer)


if __name__ == "__main__":
    main()
