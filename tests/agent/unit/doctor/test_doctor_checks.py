"""Each check, both ways: what it finds, and what it lets be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from smegmesh.doctor.examine import examine
from smegmesh.doctor.facts import Certificate, Difference, Facts, Kernel, Mesh, Name, Peer
from smegmesh.doctor.finding import Finding

DAY = 86400.0
NOW = 1_800_000_000.0
PEER = Peer("b", echo=True, endpoints=("198.18.0.2:51820",), links=("198.18.0.2:4000",), handshake_age=20.0)
MESH = Mesh("prod", interface="smeg-prod", prefix="fd58::/64", leader="b", mtu=1420, peers=(PEER,))
HEALTHY = Facts(NOW, node="a", meshes=(MESH,), kernel=Kernel(forwarding=True, ruleset={}))
SILENT = replace(PEER, echo=False, sent=400, received=0)


def with_peer(**changes: Any) -> Facts:
    return with_mesh(peers=(replace(PEER, **changes),))


def with_mesh(**changes: Any) -> Facts:
    return replace(HEALTHY, meshes=(replace(MESH, **changes),))


def with_kernel(**changes: Any) -> Facts:
    return replace(HEALTHY, kernel=replace(HEALTHY.kernel, **changes))


def ids(findings: Iterable[Finding]) -> list[str]:
    return [finding.id for finding in findings]


def test_a_healthy_host_has_nothing() -> None:
    assert examine(HEALTHY) == []


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        # tunnels
        (with_peer(echo=False, sent=400), ["tunnel.one-way"]),
        (with_peer(echo=False, sent=400, received=96), []),  # it does not answer pings
        (with_peer(echo=False, handshake_age=181.0), ["port.udp-blocked"]),
        (with_peer(echo=False, handshake_age=None, linked=False, link=""), ["port.udp-blocked"]),
        (with_peer(echo=False, handshake_age=None, linked=False, udp="refused"), ["port.udp-blocked"]),
        (with_peer(echo=False, handshake_age=None, linked=False), ["tunnel.no-handshake"]),
        (with_peer(echo=None, handshake_age=None), []),  # nobody could ping
        (with_peer(echo=False, direct=False), []),
        (with_peer(echo=False, liveness="down"), ["peer.down"]),
        # ports for links
        (with_peer(linked=False, link="timed out"), ["port.link-blocked"]),
        (with_peer(linked=False, link=""), []),
        (with_peer(linked=False, link=None), []),
        (with_peer(linked=False, link="refused", liveness="mute"), ["peer.mute"]),
        (with_peer(linked=False, link="timed out", liveness="mute"), ["port.link-blocked", "peer.mute"]),
        # sizes
        (with_peer(passes=frozenset({1420, 1280})), []),
        (with_peer(passes=frozenset({1380, 1280})), ["mtu.too-large"]),
        (with_peer(passes=frozenset()), ["mtu.too-large"]),
        (with_peer(passes=None), []),
        # the mesh
        (with_mesh(state="failed", problem="UDP port 51820 is in use"), ["mesh.not-up"]),
        (with_mesh(problem="no endpoint: …"), ["mesh.problem"]),
        (with_mesh(alarms=("node key K is in use twice, here (x) and elsewhere (y): …",) * 2), ["mesh.cloned"]),
        (with_mesh(alarms=("the authority has revoked this node",)), ["mesh.alarm"]),
        (with_mesh(links=0, problem="no link to anybody: 198.18.0.2:4000: refused"), ["mesh.isolated"]),
        (with_mesh(links=0, peers=(), leader="a"), []),  # a mesh of one
        (
            with_peer(linked=False, link="timed out", echo=False, handshake_age=None),
            ["mesh.leader-unreached", "port.link-blocked", "tunnel.no-handshake"],
        ),
        (with_mesh(accusations=(("c", "b"), ("b", "c"))), ["peers.apart"]),
        (with_mesh(accusations=(("c", "b"),), peers=(replace(PEER, liveness="down"),)), ["peer.down"]),
        # the interface
        (with_mesh(differences=(Difference("nobody planned this peer", "K"),)), ["interface.changed"]),
        (with_mesh(repaired=("smeg-prod had lost its address",)), ["interface.repaired"]),
        # the agent
        (replace(HEALTHY, meshes=(), stopped="smegd is not running"), ["agent.not-running"]),
        (replace(HEALTHY, problems=("state.db was damaged",)), ["agent.problem"]),
        (replace(HEALTHY, problems=("the firewall chain ip6 x y drops …",)), []),  # a finding of its own, if it is so
        # the host
        (with_kernel(forwarding=False), ["forward.off"]),
        (replace(with_mesh(role="client"), kernel=Kernel(forwarding=False)), []),
        (replace(with_mesh(role="client", exit=True), kernel=Kernel(forwarding=False)), ["forward.off"]),
        (with_kernel(strict=("eth0",), reversed=0), []),
        (with_kernel(strict=("eth0",), reversed=7), ["forward.rp-filter"]),
        (with_kernel(strict=(), reversed=7), []),
        # names
        (replace(HEALTHY, names=(Name("a.prod.smeg", "fd58::1", "fd58::1"),)), []),
        (replace(HEALTHY, names=(Name("a.prod.smeg", "fd58::1", None),)), ["dns.not-wired"]),
        (replace(HEALTHY, names=(Name("a.prod.smeg", "fd58::1", "2001:db8::1"),)), ["dns.not-wired"]),
    ],
)
def test_what_is_found(facts: Facts, wanted: list[str]) -> None:
    assert ids(examine(facts)) == wanted


@pytest.mark.parametrize(
    ("not_before", "not_after", "wanted"),
    [
        (-DAY, 61 * DAY, []),
        (-DAY, 59 * DAY, ["certificate.expiring"]),
        (-90 * DAY, -1.0, ["certificate.expired"]),
        (30.0, 90 * DAY, []),  # the controller's clock is a little ahead
        (DAY, 90 * DAY, ["clock.behind"]),
    ],
)
def test_dates(not_before: float, not_after: float, wanted: list[str]) -> None:
    certificate = Certificate("/etc/smegmesh/authorities/default/node.pem", "host", NOW + not_before, NOW + not_after)
    assert ids(examine(replace(HEALTHY, certificates=(certificate,)))) == wanted


def test_a_certificate_of_others_shows_a_clock_that_is_behind_too() -> None:
    assert ids(examine(with_mesh(newest=NOW + DAY))) == ["clock.behind"]
    assert ids(examine(with_mesh(newest=NOW - DAY))) == []


@pytest.mark.parametrize(
    ("duty", "severity", "words"),
    [
        ({}, "warning", "a peer that clients may choose"),
        ({"bridge": True}, "error", "a bridge"),
        ({"exit": True}, "error", "an exit"),
        ({"carried": ("c1", "c2", "c3", "c4")}, "error", "home or backup of c1, c2, c3 and others"),
    ],
)
def test_forwarding_matters_as_much_as_others_need_it(duty: dict[str, Any], severity: str, words: str) -> None:
    (finding,) = examine(replace(with_mesh(**duty), kernel=Kernel(forwarding=False)))
    assert (finding.severity, words in finding.what) == (severity, True)


def test_errors_come_first_and_each_says_where_and_how_to_mend() -> None:
    found = examine(with_mesh(peers=(replace(PEER, liveness="down"), replace(SILENT, name="c")), links=0))
    assert [finding.severity for finding in found] == ["error", "error", "warning"]
    assert [(finding.mesh, finding.peer) for finding in found] == [("prod", None), ("prod", "c"), ("prod", "b")]
    assert all(finding.fix and "\n" not in finding.what + finding.fix for finding in found)


def test_who_cannot_be_dialled_has_the_port_open_here() -> None:
    (dialled,) = examine(with_peer(echo=False, handshake_age=None))
    assert "b at 198.18.0.2:51820" in dialled.what and "open that port on b" in dialled.fix
    (dials,) = examine(with_peer(echo=False, handshake_age=None, endpoints=()))
    assert "between here and b does" in dials.what and "this host's WireGuard port" in dials.fix


def test_the_largest_packet_that_passes_is_named() -> None:
    (finding,) = examine(with_peer(passes=frozenset({1280, 1380})))
    assert "1380 bytes do" in finding.what and "`mtu: 1380`" in finding.fix
