"""Tunnels, and the ports that they and links need."""

from __future__ import annotations

from collections.abc import Iterator

from smegmesh.doctor.facts import Facts, Mesh, Peer
from smegmesh.doctor.finding import Finding

#: Seconds after its handshake at which a session is over (Reject-After-Time, WireGuard whitepaper 6.1).
_SESSION = 180.0
_REFUSED = "refused"


def tunnels(facts: Facts) -> Iterator[Finding]:
    """Tunnels to hosts that live, whose other end does not answer."""
    for mesh in facts.meshes:
        for peer in mesh.peers:
            if peer.direct and peer.echo is False and peer.liveness != "down":
                found = _one_way(mesh, peer) if _has_session(peer) else _no_session(mesh, peer)
                if found is not None:
                    yield found


def _has_session(peer: Peer) -> bool:
    return peer.handshake_age is not None and peer.handshake_age <= _SESSION


def _one_way(mesh: Mesh, peer: Peer) -> Finding | None:
    if peer.received:
        return None  # something comes back: it only does not answer pings
    return Finding(
        id="tunnel.one-way",
        severity="error",
        what=f"{peer.name} does not answer through its tunnel: {peer.sent} bytes were sent and none came back "
        f"(last handshake {peer.handshake_age:.0f} s ago)",
        fix=f"let UDP pass both ways between here and {_where(peer)}, and ICMPv6 into {mesh.interface} there",
        mesh=mesh.mesh,
        peer=peer.name,
    )


def _no_session(mesh: Mesh, peer: Peer) -> Finding:
    if peer.udp or peer.linked or peer.link == "":
        how = peer.udp or "no handshake, though its agent answers over TCP"
        return Finding(
            id="port.udp-blocked",
            severity="error",
            what=f"UDP between here and {_where(peer)} does not get through: {how}",
            fix=_open(peer),
            mesh=mesh.mesh,
            peer=peer.name,
        )
    return Finding(
        id="tunnel.no-handshake",
        severity="error",
        what=f"no handshake with {_where(peer)}",
        fix=f"see that {peer.name} runs and that the address is right (endpoint); WireGuard refuses a host whose clock "
        "was set back, until it is right",
        mesh=mesh.mesh,
        peer=peer.name,
    )


def _open(peer: Peer) -> str:
    if not peer.endpoints:  # it dials, and nobody can dial it
        return f"let {peer.name} send UDP, and open this host's WireGuard port (PORT in `smegctl status`) for it"
    return (
        f"open that port on {peer.name} and on the way (`ss -lun` there shows whether anything has it); if it is open, "
        "the answers are dropped on their way here"
    )


def _where(peer: Peer) -> str:
    return f"{peer.name} at {peer.endpoints[0]}" if peer.endpoints else peer.name


def link_ports(facts: Facts) -> Iterator[Finding]:
    """Peers at whose port for links nobody answers. A mute one's agent is known to be gone."""
    for mesh in facts.meshes:
        for peer in mesh.peers:
            told = peer.liveness == "down" or (peer.liveness == "mute" and peer.link == _REFUSED)
            if peer.link and not peer.linked and not told:
                yield Finding(
                    id="port.link-blocked",
                    severity="error",
                    what=f"no connection to {', '.join(peer.links[:2])} (TCP): {peer.link}",
                    fix=f"open that port on {peer.name} and on the way; nobody but its smegd may listen there",
                    mesh=mesh.mesh,
                    peer=peer.name,
                )


def packet_sizes(facts: Facts) -> Iterator[Finding]:
    """Tunnels that answer small packets, and none as large as the interface allows."""
    for mesh in facts.meshes:
        for peer in mesh.peers:
            if peer.echo and peer.passes is not None and mesh.mtu is not None and mesh.mtu not in peer.passes:
                largest = max(peer.passes, default=None)
                passes = f"{largest} bytes do" if largest else "nor do smaller ones"
                yield Finding(
                    id="mtu.too-large",
                    severity="error",
                    what=f"{mesh.mtu} bytes, the MTU of {mesh.interface}, do not get through to {peer.name}; {passes}",
                    fix=f"set `mtu: {largest or 1280}` for the mesh, or mend the path: it needs 80 bytes more",
                    mesh=mesh.mesh,
                    peer=peer.name,
                )
