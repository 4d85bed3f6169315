# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests on addresses of meshes."""

from __future__ import annotations

import ipaddress
import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import identity

# Every overlay is a /64 in this half of the unique local addresses.
OVERLAYS = ipaddress.IPv6Network("fd00::/8")


def overlay_address(address: t.Any, meshes: t.Any = None) -> bool:
    """Whether an address is in the overlay of a mesh, of one of several, or may be in that of any."""
    try:
        value = ipaddress.IPv6Address(address) if isinstance(address, str) else None
        return value is not None and any(value in overlay for overlay in _overlays(meshes))
    except ipaddress.AddressValueError:
        return False


def _overlays(meshes: t.Any) -> list[ipaddress.IPv6Network]:
    if meshes is None:
        return [OVERLAYS]
    if not isinstance(meshes, (str, list, tuple, Mapping)):
        raise AnsibleFilterError(
            f"overlay_address: a mesh id, a list of them or smegmesh_meshes is needed, not {type(meshes).__name__}"
        )
    try:
        prefix = identity.load("address").mesh_prefix
        return [prefix(mesh) for mesh in ([meshes] if isinstance(meshes, str) else meshes)]
    except (ValueError, identity.IdentityUnavailable) as error:
        raise AnsibleFilterError(f"overlay_address: {error}") from error


class TestModule:
    """What Ansible loads."""

    # pytest is not meant.
    __test__ = False

    def tests(self) -> dict[str, t.Any]:
        return {"overlay_address": overlay_address}
