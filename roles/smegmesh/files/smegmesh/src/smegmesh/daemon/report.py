"""What the API says of a mesh: the view and the device, as its types."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Literal

from smegmesh.control import types
from smegmesh.daemon.members import name_of
from smegmesh.daemon.mesh import Mesh
from smegmesh.daemon.routes import Routes
from smegmesh.dataplane.plane import DeviceState, PeerState
from smegmesh.dataplane.reconcile import Difference
from smegmesh.declaration import HostPort, StaticPeer
from smegmesh.declaration.choose import FIRST_PORT
from smegmesh.gossip.view import Liveness, View
from smegmesh.identity.address import node_address
from smegmesh.identity.keys import encode_key
from smegmesh.routing.host import network_of
from smegmesh.routing.static_peers import StaticPeers

_BAD = "bad."
_LATELY = 3600.0  # seconds
State = Literal["up", "starting", "failed"]


def mesh_report(mesh: Mesh, plane: str, problem: str | None, routes: Routes, names: list[str]) -> types.Mesh:
    """A running mesh; `problem` is what is wrong with its newest declaration, `names` with its names."""
    view = mesh.view()
    own = view.members.get(view.node_key)
    links = len(mesh.engine.links())
    alone = f"no link to anybody: {mesh.dial_problem}" if not links and mesh.dial_problem else None
    refused = routes.offers(mesh.mesh_id).refused.values()
    credentials = mesh.credentials
    lost = [report.problem for report in static_peer_reports(view, mesh.declaration.static_peers, None)]
    problems = [each for each in (mesh.interface.problem, *mesh.problems, problem, *refused, *lost) if each]
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
        names=names,
        routes=_routes(view, routes),
        advertised=_advertised(mesh),
        refusals={
            name.removeprefix(_BAD): count for name, count in mesh.engine.counters.items() if name.startswith(_BAD)
        },
        last_change=mesh.watcher.last,
        authority=mesh.declaration.authority,
        trusts=sorted(each.hex()[:16] for each in credentials.authority.fingerprints),
        certificate=credentials.certificate.fingerprint.hex()[:32],
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


def static_peer_reports(
    view: View, declared: Collection[StaticPeer], device: DeviceState | None
) -> list[types.StaticPeer]:
    """The static peers that this node declares, in their order, with what its device knows of them.

    O(members), if there are any.
    """
    if not declared:
        return []
    claims = StaticPeers(view)
    return [_static_peer_report(view, claims, peer, device) for peer in declared]


def _static_peer_report(
    view: View, claims: StaticPeers, declared: StaticPeer, device: DeviceState | None
) -> types.StaticPeer:
    problem = _not_carried(view, claims, declared)
    peer = device.peers.get(declared.public_key) if device is not None and problem is None else None
    return types.StaticPeer(
        name=declared.name,
        public_key=encode_key(declared.public_key),
        address=str(node_address(view.mesh_id, declared.public_key)),
        problem=problem,
        endpoint=HostPort(*peer.endpoint).text(FIRST_PORT) if peer is not None and peer.endpoint else None,
        preshared_key=peer is not None and peer.preshared_key is not None,
        handshake_age=_handshake_age(peer),
        received=peer.received if peer is not None else 0,
        sent=peer.sent if peer is not None else 0,
    )


def _not_carried(view: View, claims: StaticPeers, declared: StaticPeer) -> str | None:
    """Why this node does not carry a static peer that it declares, whose address has one owner in the mesh."""
    if declared.public_key in view.members:
        member = name_of(view, declared.public_key)
        return f"static peer {declared.name} is {member}, a member itself: take one of them out"
    carrier = claims.carrier(view, declared.public_key)
    if carrier in (view.node_key, None):
        return None
    other = name_of(view, carrier)
    return f"static peer {declared.name} is declared by {other}, too, which carries it: let one declare it"


def _handshake_age(peer: PeerState | None) -> float | None:
    return max(time.time() - peer.handshake, 0.0) if peer is not None and peer.handshake else None


def diagnosis(mesh: Mesh, differences: Iterable[Difference], newest: float) -> types.Diagnosis:
    """What else is known of a running mesh: how its interface differs, and what the engine has of the others."""
    members = mesh.view().members.values()
    names = {member.node_key: member.entry.name for member in members}
    names |= {member.entry.tunnel_key: member.entry.name for member in members}

    def named(key: bytes) -> str:
        return names.get(key) or encode_key(key)

    return types.Diagnosis(
        mtu=mesh.interface.mtu,
        differences=[
            types.Difference(what=each.what, peer=named(each.peer) if each.peer is not None else None)
            for each in differences
        ],
        repaired=mesh.interface.repaired(_LATELY),
        links={member.entry.name: list(member.entry.links) for member in members if member.entry.links},
        linked=sorted({named(key) for key in mesh.engine.links().values()}),
        accusations=[
            types.Accusation(by=named(writer), of=named(accused)) for writer, accused in mesh.engine.accusations()
        ],
        newest=newest,
    )


def mesh_state(mesh: Mesh) -> State:
    """Whether it takes part, on an interface that is as it should be."""
    if mesh.revoked:
        return "failed"
    if mesh.interface.up:
        return "up"
    return "failed" if mesh.interface.problem else "starting"


def _count(view: View) -> types.Members:
    counted = view.liveness()
    return types.Members(**{each.value: counted[each] for each in Liveness})
