# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The members of a live mesh as hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mesh_members
short_description: The members of a live mesh as hosts
version_added: 0.2.0
author:
  - The smegmesh maintainers (@smegmesh)
description:
  - Asks an agent for the members of a mesh. Each becomes a host, with what the agent knows of it in one variable.
  - The file must end in C(.smegmesh.yml) or C(.smegmesh.yaml).
  - All members are in the group C(smegmesh_live_MESH). The variable C(smegmesh_live) of the group C(all) maps the mesh
    to the endpoint and the node name of the agent that answered, and the time of its answer.
  - What members say of themselves is data, never a template. One that has no proper name or address is skipped with a
    warning; of several with one name, as after a host was replaced, the one that is alive counts.
options:
  plugin:
    description: Marks the file as one for this plugin.
    type: str
    required: true
    choices: [smegmesh.wireguard.mesh_members]
  mesh:
    description: The mesh that is meant. Left out, it is the only one that the agent is in.
  hostnames:
    description:
      - What a host is called, the first of these that a member has.
      - V(name) is the node name, which the authority certified. V(alias) is what the node calls itself; it is passed
        over, with a warning, if it is another's name or alias too. V(address) is the overlay address.
    type: list
    elements: str
    choices: [name, alias, address]
    default: [name]
  connect_with:
    description:
      - What C(ansible_host) is set to. V(overlay) is the address in the mesh, of use on a controller that is in it.
        V(endpoint) is the host of the member's first endpoint; clients have none. V(none) sets nothing.
    type: str
    choices: [overlay, endpoint, none]
    default: overlay
  filters:
    description:
      - Which members become hosts. Each item has one key, C(include) or C(exclude), with a Jinja2 expression over the
        host's variables. The first one that is true decides; where none is, the host is included.
      - An expression that cannot be worked out, or that is neither true nor false, is an error whatever O(strict) says.
    type: list
    elements: dict
    default: []
  existing:
    description:
      - What to do with a member whose host earlier inventory sources have already. V(skip) leaves the host as it is and
        warns. V(merge) adds variables and groups to it, but replaces no variable that the host itself has; those of
        O(compose) it does replace.
      - Only a node name makes a member the same as a host that is there. Who is called so by an alias is left out.
      - A source that comes later wins over this one, so name this one last.
    type: str
    choices: [skip, merge]
    default: skip
  group_prefix:
    description:
      - What the names of all groups made here begin with, those of O(groups), O(keyed_groups) and their parents too.
        So a member never gets into a group of the static inventory because of what it says.
      - Groups that begin with C(smegmesh_live_) cannot be used in C(smegmesh_meshes).
    type: str
    default: smegmesh_live_
  variable:
    description: The name of the host variable that holds the member. Two meshes with common members need two names.
    type: str
    default: smegmesh_member
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
  - smegmesh.wireguard.connection
"""

EXAMPLES = r"""
# prod.smegmesh.yml, on a controller that is in the mesh: all members by node name, over the mesh
plugin: smegmesh.wireguard.mesh_members
mesh: prod

---
# The peers that are alive, asked over HTTPS from outside of the mesh, kept for five minutes
plugin: smegmesh.wireguard.mesh_members
mesh: prod
endpoints:
  - https://198.18.7.11:4080
  - https://198.18.7.12:4080
ca: my/.smegmesh/authorities/default/authority.pem
client_cert: my/.smegmesh/authorities/default/operators/controller.pem
client_key: my/.smegmesh/authorities/default/operators/controller.key
connect_with: endpoint
filters:
  - exclude: smegmesh_member.liveness != 'alive'
  - include: smegmesh_member.role == 'peer'
  - exclude: true
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/smegmesh-inventory
cache_timeout: 300

---
# Groups by role, such as smegmesh_live_role_peer, one of hosts whose name begins with web, and the leader
plugin: smegmesh.wireguard.mesh_members
mesh: prod
strict: true
keyed_groups:
  - prefix: role
    key: smegmesh_member.role
groups:
  web: inventory_hostname is match('web')
  leader: smegmesh_member.leader
compose:
  home: smegmesh_member.home | default('none', true)
"""

import datetime
import hashlib
import json
import typing as t

from ansible.errors import AnsibleParserError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable, to_safe_group_name
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import api, members

# The form of what is cached: another one makes another key.
_CACHED_FORM = 1


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """An answer of an agent, fresh or cached, laid over the inventory."""

    NAME = "smegmesh.wireguard.mesh_members"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith((".smegmesh.yml", ".smegmesh.yaml"))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path)
        self._read_config_data(path)
        self._populate(self._answer(path, cache))

    # --- the answer -------------------------------------------------------------------------------

    def _answer(self, path: str, may_use_cache: bool) -> dict[str, t.Any]:
        """What an agent said: C(mesh), C(endpoint), C(node), C(as_of), C(members); plain data."""
        if not self.get_option("cache"):
            return self._ask()
        key = self._cache_key(path)
        if may_use_cache:
            try:
                return self._cache[key]
            except KeyError:
                pass
        self._cache[key] = answer = self._ask()
        return answer

    def _cache_key(self, path: str) -> str:
        """Another question has another key, so that a changed file does not get the old answer."""
        question = json.dumps([_CACHED_FORM, self.get_option("endpoints"), self.get_option("mesh")])
        return f"{self.get_cache_key(path)}_{hashlib.sha256(question.encode()).hexdigest()[:12]}"

    def _ask(self) -> dict[str, t.Any]:
        try:
            with api.Client(api.Connection.from_options(self.get_option)) as client:
                mesh = client.choose(self.get_option("mesh"))
                found = client.members(mesh)
                endpoint = client.endpoint
        except api.ApiError as error:
            raise AnsibleParserError(f"mesh_members: {error}") from error
        own = [each.get("name") for each in found if isinstance(each, dict) and each.get("own")]
        return {
            "mesh": str(mesh),
            "endpoint": str(endpoint),
            "node": own[0] if own else None,
            "as_of": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "members": found,
        }

    # --- the inventory ----------------------------------------------------------------------------

    def _populate(self, answer: dict[str, t.Any]) -> None:
        mesh = answer["mesh"]
        group = self.inventory.add_group(self._sanitize_group_name(mesh))
        self._say_source(answer)
        found, problems = members.sound(answer["members"])
        hosts, passed_over = members.host_names(members.current(found), self.get_option("hostnames"))
        known = set(self.inventory.hosts)
        skipped = []
        for host, member in hosts.items():
            variables = self._variables(mesh, member)
            if host == "localhost":
                problems.append("a member is called localhost, which is the controller to Ansible: skipped")
            elif not self._is_included(host, variables):
                continue
            elif host in known and (self.get_option("existing") == "skip" or host != member["name"]):
                skipped.append(host)
            else:
                self._add(host, group, variables)
        for problem in problems + passed_over:
            self.display.warning(f"mesh_members: mesh {mesh}: {problem}")
        if skipped:
            merge = self.get_option("existing") == "merge"
            fix = "only node names are merged" if merge else "say existing: merge to add what the mesh knows of them"
            self.display.warning(
                f"mesh_members: mesh {mesh}: hosts that the inventory has already are left as they are: "
                f"{', '.join(skipped)}: {fix}"
            )

    def _say_source(self, answer: dict[str, t.Any]) -> None:
        """Add the mesh to C(smegmesh_live) of all hosts."""
        said = {key: answer[key] for key in ("endpoint", "node", "as_of")}
        others = self.inventory.groups["all"].get_vars().get("smegmesh_live") or {}
        self.inventory.set_variable("all", "smegmesh_live", wrap_var({**others, answer["mesh"]: said}))

    def _variables(self, mesh: str, member: members.Member) -> dict[str, t.Any]:
        variables: dict[str, t.Any] = {self.get_option("variable"): {**member, "mesh": mesh}}
        address = None
        if self.get_option("connect_with") == "overlay":
            address = member["address"]
        elif self.get_option("connect_with") == "endpoint":
            address = members.endpoint_host(member)
        if address:
            variables["ansible_host"] = address
        # Nothing that a member says is a template. ansible-core 2.19 knows that by itself, 2.17 and 2.18 are told.
        return wrap_var(variables)

    def _is_included(self, host: str, variables: dict[str, t.Any]) -> bool:
        facts = {**variables, "inventory_hostname": host}
        for item in self.get_option("filters"):
            if len(item) != 1 or not set(item) <= {"include", "exclude"}:
                raise AnsibleParserError(
                    f"mesh_members: filters: {item!r} is not understood: "
                    "write include: EXPRESSION or exclude: EXPRESSION"
                )
            ((what, expression),) = item.items()
            if self._is_true(expression, facts, host):
                return what == "include"
        return True

    def _is_true(self, expression: t.Any, facts: dict[str, t.Any], host: str) -> bool:
        if isinstance(expression, bool):
            return expression
        try:
            return boolean(self._compose(expression, facts))
        except Exception as error:
            raise AnsibleParserError(
                f"mesh_members: filters: {expression!r} cannot be worked out for {host}: {error}: "
                "correct the expression"
            ) from error

    def _add(self, host: str, group: str, variables: dict[str, t.Any]) -> None:
        self.inventory.add_host(host, group=group)
        own = self.inventory.get_host(host)
        for name, value in variables.items():
            if name not in own.vars:
                self.inventory.set_variable(host, name, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), own.get_vars(), host, strict=strict)
        facts = own.get_vars()
        self._add_host_to_composed_groups(self.get_option("groups"), facts, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), facts, host, strict=strict)

    def _sanitize_group_name(self, name: str) -> str:
        """The name of a group made here; Constructable asks for each."""
        prefix = self.get_option("group_prefix")
        # Of a keyed group that has no prefix of its own the leading separator is there already.
        joined = name[1:] if prefix.endswith("_") and name.startswith("_") else name
        return to_safe_group_name(prefix + joined)
