"""What the API says of a mesh: the view and the device, as its types."""

from __future__ import annotations

import time
from typing import Literal

from smegmesh.control import types
from smegmesh.crdt.entry import Role
from smegmesh.daemon.mesh import Mesh
from smegmesh.daemon.routes import Routes
from smegmesh.dataplane.plane import DeviceState
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.keys import encode_key
from smegmesh.routing.host import network_of
from smegmesh.routing.plan import way_to

_BAD = "bad."
State = Literal["up", "starting", "failed"]


def mesh_report(mesh: Mesh, plane: str, problem: str | None, routes: Routes, names: list[str]) -> types.Mesh:
    """A running mesh; `problem` is what is wrong with its newest declaration, `names` with its names."""
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
        leader=_name(view, view.leader),
        home=_name(view, own.entry.home) if own is not None else None,
        backup=_name(view, own.entry.backup) if own is not None else None,
        digest=view.digest.hex(),
        informed=mesh.informed,
        links=links,
        number=own.number if own is not None else 0,
        alarms=list(mesh.alarms),
        names=names,
        routes=_routes(view, routes),
        refusals={
            name.removeprefix(_BAD): count for name, count in mesh.engine.counters.items() if name.startswith(_BAD)
        },
    )


def _routes(view: View, routes: Routes) -> list[types.Route]:
    """What is reached outside the mesh: meshes first, each by name."""
    reported = [
        types.Route(
            prefix=str(network_of(destination)),
            mesh=destination if isinstance(destination, str) else None,
            path=list(choice.path),
            via=_name(view, choice.via),
            used=destination in routes.routing.sent[view.mesh_id],
        )
        for destination, choice in routes.routing.best.get(view.mesh_id, {}).items()
    ]
    return sorted(reported, key=lambda route: (route.mesh is None, route.mesh or "", route.prefix))


def member_reports(view: View, role: Role, device: DeviceState | None) -> list[types.Member]:
    """The members, sorted by name, with what the device of this node, of that role, knows of them."""
    reports = [_member_report(view, role, member, device) for member in view.members.values()]
    return sorted(reports, key=lambda report: (report.name, report.node_key))


def _member_report(view: View, role: Role, member: Member, device: DeviceState | None) -> types.Member:
    entry = member.entry
    way = way_to(view, role, member.node_key)
    carrier = view.members[way] if way is not None else member
    peer = device.peers.get(carrier.entry.tunnel_key) if device is not None else None
    return types.Member(
        name=entry.name,
        role=entry.role.value,
        node_key=encode_key(member.node_key),
        address=str(member.address),
        liveness=member.liveness.value,
        number=member.number,
        alias=entry.alias,
        leader=member.node_key == view.leader,
        own=member.node_key == view.node_key,
        home=_name(view, entry.home),
        backup=_name(view, entry.backup),
        endpoints=list(entry.endpoints),
        services=dict(entry.services),
        through=carrier.entry.name if carrier.node_key != member.node_key else None,
        handshake_age=max(time.time() - peer.handshake, 0.0) if peer is not None and peer.handshake else None,
        received=peer.received if peer is not None else 0,
        sent=peer.sent if peer is not None else 0,
        version=entry.agent,
    )


def mesh_state(mesh: Mesh) -> State:
    """Whether its interface is as it should be."""
    if mesh.interface.up:
        return "up"
    return "failed" if mesh.interface.problem else "starting"


def _count(view: View) -> types.Members:
    counted = view.liveness()
    return types.Members(**{each.value: counted[each] for each in Liveness})


def _name(view: View, node_key: bytes | None) -> str | None:
    if node_key is None:
        return None
    member = view.members.get(node_key)
    return member.entry.name if member is not None else encode_key(node_key)
