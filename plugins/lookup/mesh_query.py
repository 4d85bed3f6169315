# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a JMESPath expression finds in the live meshes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mesh_query
short_description: Ask an agent about its live meshes with JMESPath
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Asks an agent for its status and the members of its meshes, and searches them with expressions of JMESPath
    (U(https://jmespath.org)).
  - It runs on the controller. M(smegmesh.wireguard.mesh_info) asks the agent on each host.
options:
  _terms:
    description:
      - Expressions over a mapping with C(status), the agent as a whole, C(meshes), the list of its meshes, and
        C(members), which maps mesh ids to lists of members. Their fields are those of C(smegctl status --json) and
        C(smegctl members --json).
      - With O(mesh), C(members) holds that mesh alone, else all meshes that are up.
    type: list
    elements: str
    required: true
requirements:
  - jmespath
extends_documentation_fragment:
  - smegmesh.wireguard.connection
seealso:
  - plugin: smegmesh.wireguard.mesh_address
    plugin_type: lookup
  - module: smegmesh.wireguard.mesh_info
"""

EXAMPLES = r"""
- name: Who is down in prod
  ansible.builtin.debug:
    msg: "{{ query('smegmesh.wireguard.mesh_query', 'members.prod[?liveness==`down`].name') | first }}"

- name: Ask an agent over HTTPS whether all its meshes are up
  ansible.builtin.assert:
    that: lookup('smegmesh.wireguard.mesh_query', 'length(meshes[?state!=`up`])') | int == 0
  vars:
    smegmesh_query_endpoints: ["https://198.18.7.11:4080", "https://198.18.7.12:4080"]
    smegmesh_query_ca: my/.smegmesh/authorities/default/authority.pem
    smegmesh_query_client_cert: my/.smegmesh/authorities/default/operators/controller.pem
    smegmesh_query_client_key: my/.smegmesh/authorities/default/operators/controller.key
"""

RETURN = r"""
_raw:
  description: What each expression found, in order; null where it found nothing.
  type: list
  elements: raw
"""

import textwrap
import typing as t

from ansible.errors import AnsibleLookupError
from ansible.module_utils.basic import missing_required_lib
from ansible.plugins.lookup import LookupBase
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import api

try:
    import jmespath

    JMESPATH_ERROR = None
except ImportError as error:
    JMESPATH_ERROR = error


class LookupModule(LookupBase):
    """One picture of the meshes for all expressions of a call."""

    def run(self, terms: list[str], variables: dict[str, t.Any] | None = None, **kwargs: t.Any) -> list[t.Any]:
        if JMESPATH_ERROR is not None:
            raise AnsibleLookupError(f"mesh_query: {missing_required_lib('jmespath')}") from JMESPATH_ERROR
        self.set_options(var_options=api.variables(variables, self._templar), direct=kwargs)
        expressions = [_compile(term) for term in terms]
        try:
            with api.Client(api.Connection.from_options(self.get_option)) as client:
                live = api.snapshot(client, self.get_option("mesh"))
        except api.ApiError as error:
            raise AnsibleLookupError(f"mesh_query: {error}") from error
        return [_search(expression, live) for expression in expressions]


def _compile(term: str) -> t.Any:
    try:
        return jmespath.compile(term)
    except jmespath.exceptions.JMESPathError as error:
        raise _mistake(term, error) from None


def _search(expression: t.Any, live: dict[str, t.Any]) -> t.Any:
    try:
        return expression.search(live)
    except jmespath.exceptions.JMESPathError as error:
        raise _mistake(expression.expression, error) from None


def _mistake(term: str, error: Exception) -> AnsibleLookupError:
    said = textwrap.shorten(str(error), 300, placeholder=" …")  # it may hold all that was searched
    return AnsibleLookupError(f"mesh_query: the expression {term!r} does not hold: {said}: see https://jmespath.org")
