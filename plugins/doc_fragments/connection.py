# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the plugins on the controller ask an agent."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of C(plugin_utils/api.py)."""

    DOCUMENTATION = r"""
options:
  endpoints:
    description:
      - The agents to ask, in order. Any agent of a mesh knows all of it, so one that answers is enough; the next one
        is asked when a connection fails or an answer takes longer than O(timeout).
      - V(https://HOST:PORT) for an agent elsewhere, V(unix:///PATH) for one on the machine that runs Ansible.
    type: list
    elements: str
    default: ["unix:///run/smegmesh/api.sock"]
    env: [{name: SMEGMESH_QUERY_ENDPOINTS}]
    ini: [{section: smegmesh_query, key: endpoints}]
    vars: [{name: smegmesh_query_endpoints}]
  ca:
    description:
      - File with the certificate of the authority, in PEM. Required for endpoints over HTTPS.
      - Certificates of agents carry node names, not the addresses that are dialled. What is checked is that the
        agent's certificate comes from this authority, and not that it belongs to the host in the URL.
    type: path
    env: [{name: SMEGMESH_QUERY_CA}]
    ini: [{section: smegmesh_query, key: ca}]
    vars: [{name: smegmesh_query_ca}]
  client_cert:
    description:
      - File with an operator's certificate, in PEM, as the variable C(smegmesh_authority_operators) has it made,
        C(operators/NAME.pem) beside the authority. A host's certificate is refused.
      - Required for endpoints over HTTPS.
    type: path
    env: [{name: SMEGMESH_QUERY_CLIENT_CERT}]
    ini: [{section: smegmesh_query, key: client_cert}]
    vars: [{name: smegmesh_query_client_cert}]
  client_key:
    description:
      - File with the private key of O(client_cert), in PEM and not encrypted. Left out, it is in the same file.
    type: path
    env: [{name: SMEGMESH_QUERY_CLIENT_KEY}]
    ini: [{section: smegmesh_query, key: client_key}]
    vars: [{name: smegmesh_query_client_key}]
  timeout:
    description: Seconds that an agent may take to accept a connection, and to answer.
    type: float
    default: 10
    env: [{name: SMEGMESH_QUERY_TIMEOUT}]
    ini: [{section: smegmesh_query, key: timeout}]
    vars: [{name: smegmesh_query_timeout}]
  mesh:
    description: The mesh that is meant.
    type: str
    env: [{name: SMEGMESH_QUERY_MESH}]
    ini: [{section: smegmesh_query, key: mesh}]
    vars: [{name: smegmesh_query_mesh}]
requirements:
  - requests (only for endpoints over HTTPS)
notes:
  - Endpoints over HTTPS are asked directly, whatever proxies the environment names.
"""
