"""What the API says of a mesh: the view and the device, as its types."""

from __future__ import annotations

from typing import Literal

from smegmesh.control import types
from smegmesh.daemon.members import name_of
from smegmesh.daemon.mesh import Mesh
from smegmesh.daemon.routes import Routes
from smegmesh.gossip.view import Liveness, View
from smegmesh.routing.host import network_of

_BAD = "bad."
State = Literal["up", "starting", "failed"]


def mesh_report(mesh: Mesh, plane: str, problem: str | None, routes: Routes) -> types.Mesh:
    """A running mesh; `problem` is what is wrong with its newest declaration."""
    view = mesh.view()
    own = view.members.get(view.node_key)
    links = len(mesh.engine.links())
    alone = f"no link to anybody: {mesh.dial_problem}" if not links and mesh.dial_problem else None
    refused = routes.offers(mesh.mesh_id).refused.values()
    problems = [each for each in (mesh.interface.problem, *mesh.problems, problem, *refused) if each]
    return types.Mesh(
        mesh=mesh.mesh_id,
        state=mesh_state(mesh),
        problem="; ".join(problems) or alone,
        role=mesh.declaration.role.value,
        interface=mesh.interface.device,
        plane=plane,
        address=str(own.address) if own is not None else None,
        port=mesh.interface.port,
        members=_count(view),
        leader=name_of(view, view.leader),
        home=name_of(view, own.entry.home) if own is not None else None,
        backup=name_of(view, own.entry.backup) if own is not None else None,
        digest=view.digest.hex(),
        informed=mesh.informed,
        links=links,
        number=own.number if own is not None else 0,
        alarms=list(mesh.alarms),
        routes=_routes(view, routes),
        advertised=_advertised(mesh),
        refusals={
            name.removeprefix(_BAD): count for name, count in mesh.engine.counters.items() if name.startswith(_BAD)
        },
    )


def _advertised(mesh: Mesh) -> list[types.Advertised]:
    """What this host declares that it forwards to, and whether it says so now."""
    said = frozenset(mesh.advertised())
    return [
        types.Advertised(prefix=str(prefix), file=mesh.declaration.file_of(prefix), active=prefix in said)
        for prefix in mesh.declaration.advertise
    ]


def _routes(view: View, routes: Routes) -> list[types.Route]:
    """What is reached outside the mesh: meshes first, each by name."""
    reported = [
        types.Route(
            prefix=str(network_of(destination)),
            mesh=destination if isinstance(destination, str) else None,
            path=list(choice.path),
            via=name_of(view, choice.via),
            used=destination in routes.routing.sent[view.mesh_id],
        )
        for destination, choice in routes.routing.best.get(view.mesh_id, {}).items()
    ]
    return sorted(reported, key=lambda route: (route.mesh is None, route.mesh or "", route.prefix))


def mesh_state(mesh: Mesh) -> State:
    """Whether its interface is as it should be."""
    if mesh.interface.up:
        return "up"
    return "failed" if mesh.interface.problem else "starting"


def _count(view: View) -> types.Members:
    counted = view.liveness()
    return types.Members(**{each.value: counted[each] for each in Liveness})
