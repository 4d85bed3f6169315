"""Taking a node out of a mesh, for whoever asks through the API."""

from __future__ import annotations

from smegmesh.control import types
from smegmesh.control.errors import Rejected
from smegmesh.daemon.mesh import Mesh
from smegmesh.gossip.view import Member
from smegmesh.identity.keys import encode_key


def revoke(mesh: Mesh, data: bytes) -> types.Removed:
    """As the mesh's authority says in a revocation; Rejected for anything else."""
    try:
        node_key, changed = mesh.revoke(data)
    except ValueError as error:
        raise Rejected(str(error), "have it signed by the authority of the mesh") from error
    return _removed(mesh, node_key, changed)


def forget(mesh: Mesh, name: str) -> types.Removed:
    """A member that is down, by node key, name or alias; Rejected for any other."""
    node_key = _find(mesh, name).node_key
    try:
        mesh.prune(node_key)
    except ValueError as error:
        raise Rejected(str(error), "revoke it, if it is to be out for good") from error
    return _removed(mesh, node_key, changed=True)


def _find(mesh: Mesh, name: str) -> Member:
    """By what is its own before what its certificate says, and that before what it says itself."""
    members = mesh.view().members.values()
    for what in (lambda each: encode_key(each.node_key), lambda each: each.entry.name, lambda each: each.entry.alias):
        found = [member for member in members if what(member) == name]
        if len(found) > 1:
            raise Rejected(f"{len(found)} members of mesh {mesh.mesh_id} are called {name}", "give a node key")
        if found:
            return found[0]
    raise Rejected(f"no member of mesh {mesh.mesh_id} has the node key, name or alias {name}", "see `smegctl members`")


def _removed(mesh: Mesh, node_key: bytes, changed: bool) -> types.Removed:
    if not mesh.writes:
        fix = "mend that, or ask another member; it takes effect when it can be written"
        raise Rejected("it cannot be written down, and is not sent to anybody before it is", fix)
    return types.Removed(mesh=mesh.mesh_id, node_key=encode_key(node_key), changed=changed)
