"""What the doctor asks the agent of its meshes, and what it tries of their members."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from smegmesh.cli import probing
from smegmesh.control.client import Client
from smegmesh.control.errors import Refused
from smegmesh.declaration import Declaration
from smegmesh.doctor.facts import Difference, Mesh, Peer, Unseen
from smegmesh.identity.address import mesh_prefix

_ECHOES_AND_LINKS = probing.ECHO_SECONDS + 1.0  # seconds for all of them
_SIZES_AND_PORTS = 3.0
_MOST_PEERS = 32  # of a mesh that are probed
_SIZED_PEERS = 3  # of a mesh to which packets of several sizes are sent
_SIZES = (1400, 1380, 1340, 1280)
_MEMORY = "memory"  # the plane that carries no packets

_Probe = tuple[str, str, str, int]  # mesh, peer, what is tried, of which size
_Jobs = dict[_Probe, Callable[[], Any]]


def look(client: Client, status: Mapping[str, Any], declaration: Declaration | None) -> Mesh:
    """A mesh as the agent knows it; nothing is probed yet."""
    name = status["mesh"]
    mesh = Mesh(
        mesh=name,
        state=status["state"],
        problem=status.get("problem"),
        role=status.get("role"),
        interface=status.get("interface"),
        prefix=str(mesh_prefix(name)),
        leader=status.get("leader"),
        links=status.get("links", 0),
        alarms=tuple(status.get("alarms", ())),
        bridge=declaration is not None and declaration.bridge,
        exit=declaration is not None and bool(declaration.advertise),
        carries_packets=status.get("plane") != _MEMORY,
    )
    if mesh.role is None:
        return mesh  # it does not run
    said, members = _diagnosis(client, name), client.members(name)
    own = next((each["name"] for each in members if each.get("own")), None)
    return replace(
        mesh,
        mtu=said.get("mtu"),
        peers=tuple(_peer(each, said) for each in members if not each.get("own")),
        differences=tuple(Difference(each["what"], each.get("peer")) for each in said.get("differences", ())),
        repaired=tuple(said.get("repaired", ())),
        accusations=tuple((each["by"], each["of"]) for each in said.get("accusations", ())),
        newest=said.get("newest", 0.0),
        carried=tuple(each["name"] for each in members if own in (each.get("home"), each.get("backup"))),
    )


def _diagnosis(client: Client, mesh: str) -> dict[str, Any]:
    try:
        return client.diagnosis(mesh)
    except Refused:
        return {}  # an older agent, until it is started anew


def _peer(member: Mapping[str, Any], said: Mapping[str, Any]) -> Peer:
    return Peer(
        name=member["name"],
        address=member["address"],
        liveness=member["liveness"],
        direct=member.get("through") is None,
        linked=member["name"] in said.get("linked", ()),
        endpoints=tuple(member.get("endpoints", ())),
        links=tuple(said.get("links", {}).get(member["name"], ())),
        handshake_age=member.get("handshake_age"),
        sent=member.get("sent", 0),
        received=member.get("received", 0),
    )


def probe(client: Client, meshes: Iterable[Mesh]) -> tuple[list[Mesh], list[Unseen]]:
    """The same with what was tried; and what was not."""
    chosen = {mesh.mesh: _choose(mesh) for mesh in meshes}
    found = probing.run_all(_echoes_and_links(meshes, chosen), _ECHOES_AND_LINKS)
    after = [_count(client, _take(mesh, found)) for mesh in meshes]
    found = probing.run_all(_sizes_and_ports(after, chosen), _SIZES_AND_PORTS)
    return [_take(mesh, found) for mesh in after], _unseen(after, chosen)


def _choose(mesh: Mesh) -> frozenset[str]:
    """Whom to probe of a mesh: the leader and those without a link or session first, the dead not at all."""
    if mesh.state != "up" or not mesh.carries_packets:
        return frozenset()
    living = [peer for peer in mesh.peers if peer.liveness != "down" and (peer.direct or _needs_link(mesh, peer))]
    living.sort(key=lambda peer: (peer.name != mesh.leader, peer.linked, peer.handshake_age is not None, peer.name))
    return frozenset(peer.name for peer in living[:_MOST_PEERS])


def _echoes_and_links(meshes: Iterable[Mesh], chosen: Mapping[str, frozenset[str]]) -> _Jobs:
    jobs: _Jobs = {}
    for mesh, peer in _pairs(meshes, chosen):
        if peer.direct:
            jobs[mesh.mesh, peer.name, "echo", 0] = partial(probing.echo, peer.address)
        if _needs_link(mesh, peer):
            jobs[mesh.mesh, peer.name, "link", 0] = partial(_first_open, peer.links)
    return jobs


def _needs_link(mesh: Mesh, peer: Peer) -> bool:
    """Whether this host may have to dial a peer with which it has no link; a client dials its homes alone."""
    return mesh.role == "peer" and bool(peer.links) and not peer.linked


def _first_open(addresses: tuple[str, ...]) -> str:
    reasons = [probing.link(address) for address in addresses[:2]]
    return "" if "" in reasons else reasons[0]


def _sizes_and_ports(meshes: Iterable[Mesh], chosen: Mapping[str, frozenset[str]]) -> _Jobs:
    jobs: _Jobs = {}
    sized: dict[str, int] = {}
    for mesh, peer in _pairs(meshes, chosen):
        if peer.echo is False and peer.endpoints:
            jobs[mesh.mesh, peer.name, "udp", 0] = partial(probing.udp, peer.endpoints[0])
        elif peer.echo and mesh.mtu is not None and sized.get(mesh.mesh, 0) < _SIZED_PEERS:
            sized[mesh.mesh] = sized.get(mesh.mesh, 0) + 1
            for size in (mesh.mtu, *(size for size in _SIZES if size < mesh.mtu)):
                jobs[mesh.mesh, peer.name, "size", size] = partial(probing.passes, peer.address, size)
    return jobs


def _pairs(meshes: Iterable[Mesh], chosen: Mapping[str, frozenset[str]]) -> list[tuple[Mesh, Peer]]:
    return [(mesh, peer) for mesh in meshes for peer in mesh.peers if peer.name in chosen[mesh.mesh]]


def _take(mesh: Mesh, found: Mapping[_Probe, Any]) -> Mesh:
    """The mesh with what was found of its peers."""
    return replace(mesh, peers=tuple(_take_peer(mesh.mesh, peer, found) for peer in mesh.peers))


def _take_peer(mesh: str, peer: Peer, found: Mapping[_Probe, Any]) -> Peer:
    sizes = {
        size: passed
        for (where, who, what, size), passed in found.items()
        if (where, who, what) == (mesh, peer.name, "size")
    }
    known = None not in sizes.values()
    return replace(
        peer,
        echo=found.get((mesh, peer.name, "echo", 0), peer.echo),
        link=found.get((mesh, peer.name, "link", 0), peer.link),
        udp=found.get((mesh, peer.name, "udp", 0), peer.udp),
        passes=frozenset(size for size, passed in sizes.items() if passed) if sizes and known else peer.passes,
    )


def _count(client: Client, mesh: Mesh) -> Mesh:
    """The mesh with WireGuard's figures of now, and the bytes since the first look."""
    if mesh.role is None:
        return mesh
    now = {each["name"]: each for each in client.members(mesh.mesh)}
    return replace(
        mesh,
        peers=tuple(
            replace(
                peer,
                handshake_age=now[peer.name].get("handshake_age"),
                sent=now[peer.name].get("sent", 0) - peer.sent,
                received=now[peer.name].get("received", 0) - peer.received,
            )
            for peer in mesh.peers
            if peer.name in now
        ),
    )


def _unseen(meshes: Iterable[Mesh], chosen: Mapping[str, frozenset[str]]) -> list[Unseen]:
    unseen = []
    for mesh in meshes:
        pinged = [peer for peer in mesh.peers if peer.direct and peer.name in chosen[mesh.mesh]]
        if pinged and all(peer.echo is None for peer in pinged):
            unseen.append(Unseen("tunnels", f"mesh {mesh.mesh}: ping is not installed, or not for this user"))
        if len(chosen[mesh.mesh]) == _MOST_PEERS:
            unseen.append(
                Unseen("tunnels", f"mesh {mesh.mesh}: {_MOST_PEERS} of {len(mesh.peers)} members were probed")
            )
        if mesh.role is not None and mesh.mtu is None:
            unseen.append(Unseen("interface", f"mesh {mesh.mesh}: the agent does not say how it differs from its plan"))
    return unseen
