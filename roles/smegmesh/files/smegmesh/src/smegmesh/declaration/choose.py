"""What the agent chooses where a declaration says nothing. Pure functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smegmesh.declaration.values import Declaration

FIRST_PORT = 51820
_MAX_INTERFACE = 15  # IFNAMSIZ less the final NUL
_PLAIN_LABEL = re.compile(r"[a-z0-9-]+")


def default_interface(mesh_id: str) -> str:
    """`smeg-` and the mesh id when that is a plain label and fits, else `smeg-` and a hash of it."""
    name = f"smeg-{mesh_id}"
    if len(name) <= _MAX_INTERFACE and _PLAIN_LABEL.fullmatch(mesh_id):
        return name
    return "smeg-" + hashlib.sha256(mesh_id.encode()).hexdigest()[:10]


def choose_ports(
    declarations: Iterable[Declaration], kept: Mapping[str, int], busy: Collection[int] = ()
) -> dict[str, int]:
    """WireGuard's UDP port of each mesh, by mesh id.

    A declared port stands. Else the port kept from earlier, unless another mesh
    declares it now or it is `busy` (bound by a foreign program); else the lowest
    free one from 51820 on. ValueError if there is none.
    """
    wanted = sorted(declarations, key=lambda declaration: declaration.mesh)
    ports = {declaration.mesh: declaration.port for declaration in wanted if declaration.port is not None}
    taken = set(ports.values())
    unsaid = [declaration.mesh for declaration in wanted if declaration.port is None]
    for mesh in unsaid:
        port = kept.get(mesh)
        if port is not None and port not in taken and port not in busy:
            ports[mesh] = port
            taken.add(port)
    for mesh in unsaid:
        if mesh not in ports:
            ports[mesh] = _lowest_free(taken, busy)
            taken.add(ports[mesh])
    return ports


def _lowest_free(taken: Collection[int], busy: Collection[int]) -> int:
    for port in range(FIRST_PORT, 65536):
        if port not in taken and port not in busy:
            return port
    raise ValueError(f"no UDP port from {FIRST_PORT} on is free: declare one below with `port`")
