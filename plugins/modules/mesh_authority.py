# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module is a placeholder: all the work is done in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_authority
short_description: Make and renew the certificate authority of meshes, on the controller
version_added: 0.1.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Makes the key (mode 0600) and the certificate of an authority on the controller, whatever host the task runs for.
    No host is talked to.
  - The key is made once, and replaced by O(takeover) alone. When less than a third of the certificate's time is left,
    it is renewed with the same key, so that everything the authority signed stays valid.
  - Without its key at hand, an authority that needs no renewal is fine.
  - Makes keys and certificates of operators, who may ask the agents' API over TLS, in the directory C(operators) beside
    the certificate, as C(NAME.pem) and C(NAME.key) (mode 0600). A certificate is renewed in time with the same key,
    also when the operator has taken the key away.
options:
  name:
    description: Name of the authority.
    type: str
    default: default
  certificate:
    description: Path of the certificate on the controller.
    type: path
    required: true
  key:
    description: Path of the private key on the controller. Ansible Vault may have encrypted it.
    type: path
    required: true
  valid_days:
    description: Days for which a new certificate is valid.
    type: int
    default: 3650
  regenerate:
    description:
      - V(never) makes what is missing, and nothing else.
      - V(partial_idempotence) also renews the certificate in time.
    type: str
    choices: [never, partial_idempotence]
    default: partial_idempotence
  operators:
    description:
      - Names of the operators. Of those that are listed no more, the files stay, and the certificates are valid to
        their end.
    type: list
    elements: str
    default: []
  operator_days:
    description: Days for which a new certificate of an operator is valid.
    type: int
    default: 365
  takeover:
    description:
      - A step by which an authority with a new key takes over from this one. What hosts have has to follow before the
        next step is taken, which the playbook C(rotate_authority) sees to.
      - V(announced) makes the new key and puts its certificate beside the old one, so that hosts trust both. With
        V(switched) the new key signs, and the old one is kept with the ending C(.former). With V(finished) the old one
        is gone. A step that was done is none again.
    type: str
    choices: [announced, switched, finished]
    version_added: 0.2.0
extends_documentation_fragment:
  - smegmesh.wireguard.attributes
  - smegmesh.wireguard.attributes.controller
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details: What certificates of operators say.
  idempotent:
    support: full
seealso:
  - module: smegmesh.wireguard.mesh_certificate
"""

EXAMPLES = r"""
- name: Make the authority once, on the controller
  smegmesh.wireguard.mesh_authority:
    certificate: authorities/default/authority.pem
    key: authorities/default/authority.key
  run_once: true

- name: Let somebody ask the agents' API over TLS
  smegmesh.wireguard.mesh_authority:
    certificate: authorities/default/authority.pem
    key: authorities/default/authority.key
    operators: [alice]
  run_once: true
"""

RETURN = r"""
fingerprint:
  description: SHA-256 of the authority's public key.
  type: str
  returned: when there is a certificate
not_after:
  description: When the certificate ends.
  type: str
  returned: when there is a certificate
  sample: "2036-11-20T10:00:00Z"
reason:
  description: Why the certificate was made.
  type: str
  returned: when the authority's certificate was made
operators:
  description: The operators and where their files are.
  type: list
  elements: dict
  returned: when there are any
  contains:
    name:
      description: Name of the operator.
      type: str
      returned: always
    certificate:
      description: Path of the certificate.
      type: str
      returned: always
    key:
      description: Path of the private key, which the operator may have taken away.
      type: str
      returned: always
    not_after:
      description: When the certificate ends.
      type: str
      returned: when there is a certificate
    fingerprint:
      description: SHA-256 of the certificate, its first half.
      type: str
      returned: when there is a certificate
    authority:
      description: SHA-256 of the authority's public key, its first quarter.
      type: str
      returned: when there is a certificate
    reason:
      description: Why the certificate was made.
      type: str
      returned: when changed
"""
