# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the declarations of a host will take of it, so that it can be looked whether something else has that."""

from __future__ import annotations

import ipaddress
import typing as t
from collections.abc import Callable, Mapping, Sequence


def claims(
    declarations: Sequence[Mapping[str, t.Any]],
    mesh_prefix: Callable[[str], ipaddress.IPv6Network],
    default_interface: Callable[[str], str],
) -> list[dict[str, t.Any]]:
    """For each mesh its interface, declared port (None: the agent chooses), prefix, and the prefixes it accepts.

    What is no prefix is left to the agent, which says so when it checks the declarations.
    """
    advertised = {prefix for declaration in declarations for prefix in declaration.get("advertise", [])}
    return [
        {
            "mesh": declaration["mesh"],
            "interface": declaration.get("interface") or default_interface(declaration["mesh"]),
            "port": declaration.get("port"),
            "prefix": str(mesh_prefix(declaration["mesh"])),
            # What a host is an exit for it reaches without the mesh.
            "routes": [
                prefix
                for prefix in [*_accepted(declaration), *_behind_static_peers(declaration)]
                if prefix not in advertised
            ],
        }
        for declaration in declarations
    ]


def _accepted(declaration: Mapping[str, t.Any]) -> list[str]:
    accepted = declaration.get("accept_routes", [])
    return [] if isinstance(accepted, str) else [prefix for prefix in accepted if _is_prefix(prefix)]


def _behind_static_peers(declaration: Mapping[str, t.Any]) -> list[str]:
    behind = [peer.get("allowed_ips") for peer in declaration.get("static_peers", {}).values()]
    return [prefix for prefixes in behind if isinstance(prefixes, list) for prefix in prefixes if _is_prefix(prefix)]


def _is_prefix(text: t.Any) -> bool:
    try:
        return isinstance(text, str) and ipaddress.ip_network(text).version == 6
    except ValueError:
        return False
