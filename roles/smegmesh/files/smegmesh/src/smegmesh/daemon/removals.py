"""Taking a node out of a mesh, for whoever asks through the API."""

from __future__ import annotations

from smegmesh.control import types
from smegmesh.daemon.mesh import Mesh
from smegmesh.identity.keys import encode_key


def revoke(mesh: Mesh, data: bytes) -> types.Removed:
    """As the mesh's authority says in a revocation; ValueError for anything else."""
    node_key, changed = mesh.revoke(data)
    return types.Removed(mesh=mesh.mesh_id, node_key=encode_key(node_key), changed=changed)


def forget(mesh: Mesh, name: str) -> types.Removed:
    """A member, by name, alias or node key, that has been down for the forget time; ValueError for any other."""
    members = mesh.view().members.values()
    found = [each for each in members if name in (each.entry.name, each.entry.alias, encode_key(each.node_key))]
    if len(found) != 1:
        what = f"{len(found)} members have" if found else "no member has"
        raise ValueError(f"{what} the name, alias or node key {name} in mesh {mesh.mesh_id}")
    mesh.prune(found[0].node_key)
    return types.Removed(mesh=mesh.mesh_id, node_key=encode_key(found[0].node_key), changed=True)
