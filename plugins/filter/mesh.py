# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters on meshes and nodes; the first two follow the agent's own rule of addresses."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import declarations, identity, members


def mesh_prefix(mesh_id: str) -> str:
    """The IPv6 prefix of a mesh."""
    try:
        return str(identity.load("address").mesh_prefix(mesh_id))
    except (ValueError, identity.IdentityUnavailable) as error:
        raise AnsibleFilterError(f"mesh_prefix: {error}") from error


def node_address(node_key: str, mesh_id: str) -> str:
    """The IPv6 address of a node in a mesh."""
    try:
        key = identity.load("keys").decode_key(node_key)
        return str(identity.load("address").node_address(mesh_id, key))
    except (ValueError, identity.IdentityUnavailable) as error:
        raise AnsibleFilterError(f"node_address: {error}") from error


def mesh_authorities(meshes: dict[str, t.Any]) -> list[str]:
    """The names of the authorities that meshes use."""
    if not isinstance(meshes, dict):
        raise AnsibleFilterError(f"mesh_authorities: smegmesh_meshes must be a mapping, not {type(meshes).__name__}")
    return declarations.authorities(meshes)


def member_names(found: list[dict[str, t.Any]], role: str | None = None, liveness: str | None = None) -> list[str]:
    """The names of members of a live mesh."""
    for what, value, known in (("role", role, declarations.ROLES), ("liveness", liveness, members.LIVENESS)):
        if value is not None and value not in known:
            raise AnsibleFilterError(f"member_names: {what} must be one of {', '.join(known)}, not {value!r}")
    if not isinstance(found, (list, tuple)) or not all(
        isinstance(member, Mapping) and "name" in member for member in found
    ):
        raise AnsibleFilterError(
            "member_names: the list of a mesh's members is needed, such as members.prod of mesh_info"
        )
    return members.names(found, role, liveness)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, t.Any]:
        return {
            "mesh_prefix": mesh_prefix,
            "node_address": node_address,
            "mesh_authorities": mesh_authorities,
            "member_names": member_names,
        }
