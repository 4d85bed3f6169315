"""Replacing the host's tunnel key in all its meshes, for whoever asks through the API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from smegmesh.control import types
from smegmesh.control.errors import Rejected
from smegmesh.daemon.host import Host
from smegmesh.daemon.mesh import Mesh
from smegmesh.gossip.view import Liveness
from smegmesh.identity.keys import encode_key
from smegmesh.store import StoreError
from smegmesh.store.keys import HostKeys, rotate_tunnel_key

_log = logging.getLogger(__name__)


async def rotate(host: Host, node_name: str, meshes: Collection[Mesh], *, force: bool, check: bool) -> types.Rotated:
    """Give the host another tunnel key, unless it is only to be checked.

    Rejected if others would not learn of it, or it cannot be stored or taken. No mesh may come or go meanwhile.
    """
    reasons = [reason for mesh in meshes if (reason := _unready(mesh))]
    if reasons and not force:
        fix = "mend that, or force it and be cut off from them until they hear of it"
        raise Rejected("; ".join(reasons), fix, 409)
    before = host.keys
    if check:
        return _rotated(before, before)
    try:
        host.keys = await asyncio.to_thread(rotate_tunnel_key, host.directories.state)
    except StoreError as error:
        raise Rejected(f"the key cannot be replaced: {error.what}", error.fix, 409) from error
    await asyncio.gather(*(mesh.rekey() for mesh in meshes))
    _log.warning("node=%s: has a new tunnel key", node_name)
    interfaces = [mesh.interface for mesh in meshes]
    failed = [str(each.problem) for each in interfaces if each.keys is not host.keys]
    if failed:
        fix = "mend that; the new key is taken, and told to the others, as soon as it can be"
        raise Rejected("; ".join(failed), fix, 409)
    return _rotated(before, host.keys)


def _unready(mesh: Mesh) -> str | None:
    """Why others would not learn of another tunnel key at once, and could not be reached until they do."""
    view = mesh.view()
    others = [member for key, member in view.members.items() if key != view.node_key]
    mute = sorted(member.entry.name for member in others if member.liveness is Liveness.MUTE)
    if mute:
        return f"in mesh {mesh.mesh_id} the agents of {', '.join(mute)} do not answer"
    if mesh.declaration.static_peers:
        named = ", ".join(peer.name for peer in mesh.declaration.static_peers)
        return f"in mesh {mesh.mesh_id} nobody tells static peers ({named}), whose configuration has the key"
    if not mesh.engine.links() and any(member.liveness is Liveness.ALIVE for member in others):
        return f"mesh {mesh.mesh_id} is not linked with anybody"
    if mesh.interface.problem:
        return f"in mesh {mesh.mesh_id} {mesh.interface.problem}"
    return None if mesh.writes else f"what mesh {mesh.mesh_id} says cannot be written down"


def _rotated(before: HostKeys, after: HostKeys) -> types.Rotated:
    return types.Rotated(
        node_key=encode_key(after.node_key),
        before=encode_key(before.tunnel_key),
        tunnel_key=encode_key(after.tunnel_key),
    )
