"""Meshes as the agent knows them, and their interfaces."""

from __future__ import annotations

from collections.abc import Iterator

from smegmesh.doctor.facts import Facts, Mesh, Peer
from smegmesh.doctor.finding import Finding

_TWICE = "is in use twice"  # of the alarm `cloned`
_ALONE = "no link to anybody"  # of a problem that is a finding of its own here
_OBSTACLE = "the firewall chain"  # of a problem that `firewall` says more of
_JOURNAL = "see `journalctl -u smegd`"


def agent(facts: Facts) -> Iterator[Finding]:
    """What the agent says of itself."""
    if facts.stopped is not None:
        yield Finding("agent.not-running", "error", facts.stopped, "`systemctl start smegd`, or `journalctl -u smegd`")
    for problem in facts.problems:
        if facts.kernel.ruleset is None or not problem.startswith(_OBSTACLE):
            yield Finding("agent.problem", "warning", problem, _JOURNAL)


def states(facts: Facts) -> Iterator[Finding]:
    """Meshes that are not up, or are with something amiss."""
    for mesh in facts.meshes:
        problem = mesh.problem or f"it is {mesh.state}"
        if mesh.state != "up":
            yield Finding("mesh.not-up", "error", problem, _JOURNAL, mesh.mesh)
        elif mesh.problem and not mesh.problem.startswith(_ALONE):
            yield Finding("mesh.problem", "warning", problem, _JOURNAL, mesh.mesh)


def alarms(facts: Facts) -> Iterator[Finding]:
    """What the agent raised an alarm about since it started; each once."""
    for mesh in facts.meshes:
        for alarm in dict.fromkeys(mesh.alarms):
            if _TWICE in alarm:
                fix = "on the one that is the copy: playbook uninstall, then site, which gives it keys of its own"
                yield Finding("mesh.cloned", "error", alarm, fix, mesh.mesh)
            else:
                yield Finding("mesh.alarm", "warning", alarm, _JOURNAL, mesh.mesh)


def isolation(facts: Facts) -> Iterator[Finding]:
    """Meshes that this host, or the way to their leader, is cut off from."""
    for mesh in facts.meshes:
        if mesh.state == "up" and mesh.peers and not mesh.links:
            yield Finding(
                id="mesh.isolated",
                severity="error",
                what=mesh.problem or f"no link to any of the {len(mesh.peers)} other members, nor to the leader",
                fix="let TCP to the others' port for links out and in (4000 unless set), and see that their agents run",
                mesh=mesh.mesh,
            )
        leader = next((peer for peer in mesh.peers if peer.name == mesh.leader), None)
        if mesh.links and leader is not None and _is_unreached(leader):
            yield Finding(
                id="mesh.leader-unreached",
                severity="error",
                what=f"the leader {leader.name} answers neither a link nor a ping, though others vouch for it",
                fix=f"mend the way between here and {leader.name}: routes, firewalls",
                mesh=mesh.mesh,
                peer=leader.name,
            )


def _is_unreached(peer: Peer) -> bool:
    return not peer.linked and bool(peer.link) and peer.echo is False


def members(facts: Facts) -> Iterator[Finding]:
    """Members that are down or mute for all."""
    for mesh in facts.meshes:
        for peer in mesh.peers:
            if peer.liveness == "down":
                fix = f"start {peer.name}, or `smegctl forget {mesh.mesh} {peer.name}` if it will not come back"
                yield Finding("peer.down", "warning", f"{peer.name} is down", fix, mesh.mesh, peer.name)
            elif peer.liveness == "mute":
                what = f"{peer.name} answers through the tunnel, its agent does not"
                fix = f"`systemctl status smegd` on {peer.name}"
                yield Finding("peer.mute", "warning", what, fix, mesh.mesh, peer.name)


def pairs(facts: Facts) -> Iterator[Finding]:
    """Members that live and do not reach each other, as they say themselves."""
    for mesh in facts.meshes:
        failed = {peer.name for peer in mesh.peers if peer.liveness != "alive"}
        apart = {pair for pair in map(_ordered, mesh.accusations) if failed.isdisjoint(pair)}
        for one, other in sorted(apart):
            yield Finding(
                id="peers.apart",
                severity="warning",
                what=f"{one} and {other} are alive and do not reach each other",
                fix=f"mend the way between them (routes, firewalls): `smegctl doctor` on {one} and {other} says more",
                mesh=mesh.mesh,
                peer=f"{one} - {other}",
            )


def _ordered(pair: tuple[str, str]) -> tuple[str, str]:
    one, other = sorted(pair)
    return one, other


def interfaces(facts: Facts) -> Iterator[Finding]:
    """What others changed of a mesh's interface."""
    for mesh in facts.meshes:
        for difference in mesh.differences:
            about = f"peer {difference.peer}: " if difference.peer else ""
            fix = "the agent mends it within a minute; " + _find_out(mesh)
            what = f"{mesh.interface} is not as planned: {about}{difference.what}"
            yield Finding("interface.changed", "error", what, fix, mesh.mesh, difference.peer)
        for what in mesh.repaired:
            yield Finding("interface.repaired", "warning", f"in the last hour: {what}", _find_out(mesh), mesh.mesh)


def _find_out(mesh: Mesh) -> str:
    return f"find out who else manages {mesh.interface} (NetworkManager, systemd-networkd, wg-quick, a script)"
