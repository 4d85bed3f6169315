"""The host: its clock, certificates, kernel, firewall and resolver."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from smegmesh.doctor.facts import Facts, Mesh
from smegmesh.doctor.finding import Finding, Severity
from smegmesh.doctor.firewall import Flow, find_drops

_DAY = 86400.0
_WARNING = 60 * _DAY
#: Seconds by which the clocks of those who issue certificates may be ahead.
_TOLERANCE = 60.0
_RENEW = "run the playbook site with the authority's key"


def clock(facts: Facts) -> Iterator[Finding]:
    """A clock that is behind: no certificate was issued in the future.

    One that is ahead shows by certificates that seem to be expired: nothing on a host says more.
    """
    issued = [mesh.newest for mesh in facts.meshes] + [each.not_before for each in facts.certificates]
    newest = max(issued, default=0.0)
    if facts.now < newest - _TOLERANCE:
        yield Finding(
            id="clock.behind",
            severity="error",
            what=f"the clock says {_date(facts.now)}, and a certificate of the mesh was issued on {_date(newest)}",
            fix="set the clock (`timedatectl`, chrony); if it is right, that of the controller was ahead: issue anew",
        )


def certificates(facts: Facts) -> Iterator[Finding]:
    """Certificates that are over, or soon will be."""
    for each in facts.certificates:
        left = each.not_after - facts.now
        if left < 0:
            what = f"the {each.whose}'s certificate {each.file} is expired since {_date(each.not_after)}"
            fix = f"{_RENEW}; if that is long to come, the clock is ahead (it says {_date(facts.now)})"
            yield Finding("certificate.expired", "error", what, fix)
        elif left < _WARNING:
            what = f"the {each.whose}'s certificate {each.file} expires on {_date(each.not_after)}"
            yield Finding("certificate.expiring", "warning", what, _RENEW)


def forwarding(facts: Facts) -> Iterator[Finding]:
    """Forwarding that is off where others' packets go through this host."""
    for mesh in facts.meshes:
        if mesh.forwards and facts.kernel.forwarding is False:
            yield Finding(
                id="forward.off",
                severity=_severity(mesh),
                what=f"net.ipv6.conf.all.forwarding is 0, and this host is {_duty(mesh)}",
                fix="the agent turns it on within a minute: find who turns it off (`grep -r forwarding /etc/sysctl*`)",
                mesh=mesh.mesh,
            )


def firewall(facts: Facts) -> Iterator[Finding]:
    """Chains of others that drop what is to be forwarded."""
    if facts.kernel.ruleset is None:
        return
    for mesh in facts.meshes:
        if not mesh.forwards or mesh.interface is None:
            continue
        for drop in find_drops(facts.kernel.ruleset, _flows(mesh, facts)):
            yield Finding(
                id="forward.dropped",
                severity=_severity(mesh) if drop.certain else "warning",
                what=f"the firewall chain {drop.chain} {'drops' if drop.certain else 'may drop'} what this host "
                f"forwards through {mesh.interface} as {_duty(mesh)} ({drop.why})",
                fix=f"let it accept {mesh.interface} before that, in and out, where that firewall is configured",
                mesh=mesh.mesh,
            )


def _flows(mesh: Mesh, facts: Facts) -> list[Flow]:
    """What goes through this host by a mesh: within it, for clients; into other meshes; out of the overlay."""
    assert mesh.interface is not None
    flows = [Flow(mesh.interface, mesh.interface, mesh.prefix, mesh.prefix)]
    if mesh.bridge:
        others = [other for other in facts.meshes if other.bridge and other.mesh != mesh.mesh]
        flows += [Flow(mesh.interface, other.interface, mesh.prefix, None) for other in others if other.interface]
    if mesh.exit:
        flows.append(Flow(mesh.interface, None, None, None))
    return flows


def reverse_paths(facts: Facts) -> Iterator[Finding]:
    """Packets that strict reverse path filtering drops."""
    if not facts.kernel.strict or not facts.kernel.reversed:
        return
    silent = any(peer.echo is False or peer.link for mesh in facts.meshes for peer in mesh.peers)
    devices = ", ".join(facts.kernel.strict)
    yield Finding(
        id="forward.rp-filter",
        severity="error" if silent else "warning",
        what=f"strict rp_filter ({devices}) dropped {facts.kernel.reversed} packets while the peers were probed",
        fix="set net.ipv4.conf.all.rp_filter and that of the interface to 2 (loose), or correct the routes back",
    )


def names(facts: Facts) -> Iterator[Finding]:
    """Names that the host's resolver does not ask the agent for."""
    for name in facts.names or ():
        if name.answer != name.address:
            yield Finding(
                id="dns.not-wired",
                severity="warning",
                what=f"{name.name} is {name.answer or 'unknown'} to this host's resolver, not {name.address}",
                fix="have the resolver ask the agent for the domain (smegmesh_dns_resolved, or your own resolver)",
            )


def _severity(mesh: Mesh) -> Severity:
    """Whether somebody's packets are lost now, or will be once a client takes this host for its home."""
    return "error" if mesh.bridge or mesh.exit or mesh.carried else "warning"


def _duty(mesh: Mesh) -> str:
    duties = [word for word, has in (("a bridge", mesh.bridge), ("an exit", mesh.exit)) if has]
    if mesh.carried:
        duties.append(
            f"home or backup of {', '.join(mesh.carried[:3])}{' and others' if len(mesh.carried) > 3 else ''}"
        )
    return " and ".join(duties) or "a peer that clients may choose"


def _date(when: float) -> str:
    return datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
