"""The topology of a mesh, out of its view."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from smegmesh.control import types
from smegmesh.crdt.entry import Role
from smegmesh.daemon.threads import in_thread
from smegmesh.gossip.rings import Rings
from smegmesh.gossip.settings import Settings
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.keys import encode_key


class GraphReader:
    """Answers `read`: made once for each view, however many ask."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view
        self._made: tuple[View, types.Graph] | None = None
        self._reading = asyncio.Lock()

    async def read(self) -> types.Graph:
        """The topology now."""
        async with self._reading:
            view = self._view()
            if self._made is None or self._made[0] is not view:
                self._made = view, await in_thread(make_graph, view)
            return self._made[1]


def make_graph(view: View) -> types.Graph:
    """Members, and the meshes and prefixes beyond them. O(members)."""
    members = sorted(view.members.values(), key=lambda member: (member.entry.name, member.node_key))
    edges = [*_ring_edges(view.mesh_id, members), *(edge for member in members for edge in _own_edges(view, member))]
    beyond = sorted({edge.target for edge in edges if edge.kind in ("bridge", "exit")})
    return types.Graph(
        mesh=view.mesh_id,
        nodes=[*(_node(view, member) for member in members), *map(_beyond, beyond)],
        edges=edges,
    )


def _node(view: View, member: Member) -> types.GraphNode:
    return types.GraphNode(
        id=encode_key(member.node_key),
        kind=member.entry.role.value,
        name=member.entry.name,
        liveness=member.liveness.value,
        leader=member.node_key == view.leader,
        own=member.node_key == view.node_key,
    )


def _beyond(target: str) -> types.GraphNode:
    kind, _colon, name = target.partition(":")
    return types.GraphNode(id=target, kind="mesh" if kind == "mesh" else "prefix", name=name)


def _ring_edges(mesh_id: str, members: Iterable[Member]) -> list[types.GraphEdge]:
    """Links between peers: all compute them alike, down peers left out."""
    rings = Rings(Settings(mesh_id).rings)
    for member in members:
        if member.entry.role is Role.PEER and member.liveness is not Liveness.DOWN:
            rings.add(member.node_key)
    pairs = {tuple(sorted((key, other))) for key in rings.keys for other in rings.nearest(key)}
    return [
        types.GraphEdge(source=encode_key(one), target=encode_key(other), kind="ring") for one, other in sorted(pairs)
    ]


def _own_edges(view: View, member: Member) -> Iterator[types.GraphEdge]:
    entry, source = member.entry, encode_key(member.node_key)
    carrier = view.home_of(member.node_key)
    for home in dict.fromkeys(key for key in (entry.home, entry.backup) if key is not None and key in view.members):
        yield types.GraphEdge(source=source, target=encode_key(home), kind="home" if home == carrier else "backup")
    for mesh in dict.fromkeys(route.path[0] for route in entry.routes):
        yield types.GraphEdge(source=source, target=f"mesh:{mesh}", kind="bridge")
    for prefix in entry.advertise:
        yield types.GraphEdge(source=source, target=f"prefix:{prefix}", kind="exit")
