"""All checks, in the order in which their findings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from smegmesh.doctor import host, meshes, tunnels
from smegmesh.doctor.facts import Facts
from smegmesh.doctor.finding import Finding

CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    meshes.agent,
    host.clock,
    host.certificates,
    meshes.states,
    meshes.alarms,
    meshes.isolation,
    tunnels.link_ports,
    tunnels.tunnels,
    tunnels.packet_sizes,
    host.forwarding,
    host.firewall,
    host.reverse_paths,
    meshes.interfaces,
    meshes.members,
    meshes.pairs,
    host.names,
)


def examine(facts: Facts) -> list[Finding]:
    """Everything that is wrong, errors first."""
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda finding: finding.severity != "error")
