"""Packets through meshes that the reconciler and the kernel plane made together."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Interface, IPv6Network
from pathlib import Path

import namespaces
import pytest
from kernel_namespaces import entered, run

from smegmesh.dataplane.kernel import KernelPlane
from smegmesh.dataplane.plane import DeviceSettings
from smegmesh.dataplane.reconcile import Reconciler
from smegmesh.dataplane.system import LinuxSystem
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.identity.keys import generate_private_key, public_key
from smegmesh.routing.plan import PeerPlan, Plan, PlanChange

pytestmark = pytest.mark.kernel

MESH, DEVICE, PORT = "prod", "smeg-prod", 51820


class Node:
    """A node as others know it."""

    def __init__(self, key: bytes, number: int) -> None:
        self.key = key
        self.address = node_address(MESH, key)
        self.endpoint = (f"198.18.{number >> 8}.{number & 255}", PORT)


class Host(Node):
    """A node on a host of the lab: its settings and the reconciler of its interface."""

    def __init__(self, host: namespaces.Host, number: int) -> None:
        private = generate_private_key()
        super().__init__(public_key(private), number)
        self.host = host
        self.settings = DeviceSettings(private, PORT)
        self.start()

    def start(self) -> None:
        """As a start of the agent does it: nothing is known of the interface."""
        self.reconciler = Reconciler(KernelPlane(), LinuxSystem(), DEVICE, self.settings, mtu=1420)

    def plan(self, via: Mapping[Node, list[Node]]) -> Plan:
        """`via`: each peer and whose addresses it carries."""
        return Plan(
            mesh_id=MESH,
            address=IPv6Interface((self.address, 64)),
            peers={
                peer.key: PeerPlan(
                    endpoint="{}:{}".format(*peer.endpoint),
                    allowed_ips=frozenset(IPv6Network(carried.address) for carried in carries),
                    keepalive=1,
                )
                for peer, carries in via.items()
            },
            routes=frozenset({mesh_prefix(MESH)}),
            forward=True,
        )

    def bring_up(self, via: Mapping[Node, list[Node]]) -> bool:
        self.via = via
        with entered(self.host.namespace):
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
            return self.reconciler.bring_up(self.plan(via), endpoints(via))

    def apply(self, via: Mapping[Node, list[Node]]) -> int:
        before, plan = self.plan(self.via), self.plan(via)
        self.via = via
        change = PlanChange(plan.address, {**dict.fromkeys(before.peers), **plan.peers}, plan.routes)
        with entered(self.host.namespace):
            return len(self.reconciler.apply(change, endpoints(via)))

    def check(self) -> list[str]:
        with entered(self.host.namespace):
            return self.reconciler.check(self.plan(self.via), endpoints(self.via))

    def reaches(self, to: Node) -> bool:
        return self.host.pings(to.address, count=5)


def endpoints(via: Mapping[Node, list[Node]]) -> dict[str, tuple[str, int]]:
    return {"{}:{}".format(*peer.endpoint): peer.endpoint for peer in via}


@pytest.fixture
def hosts(lab: namespaces.Lab) -> list[Host]:
    return [Host(lab.host(name), number) for number, name in enumerate("abc", 1)]


def test_every_host_reaches_every_other(hosts):
    for host in hosts:
        assert host.bring_up({other: [other] for other in hosts if other is not host}) is True
    for host in hosts:
        for other in hosts:
            assert host.reaches(other)


def test_an_adopted_interface_keeps_its_sessions(hosts):
    a, b, _ = hosts
    a.bring_up({b: [b]})
    b.bring_up({a: [a]})
    assert a.reaches(b)
    with entered(a.host.namespace):
        before = a.reconciler.state().peers[b.key]
    a.start()
    assert a.bring_up({b: [b]}) is False
    with entered(a.host.namespace):
        after = a.reconciler.state().peers[b.key]
    assert before.handshake is not None
    assert after.handshake == before.handshake
    assert replace(after, received=0, sent=0) == replace(before, received=0, sent=0)


def test_an_address_moves_to_another_peer_under_a_running_ping(hosts):
    home, backup, client = hosts
    home.bring_up({backup: [backup], client: [client]})
    backup.bring_up({home: [home, client], client: []})
    client.bring_up({home: [home, backup], backup: []})
    assert backup.reaches(client)
    count = 30
    command = ["ping", "-n", "-c", str(count), "-i", "0.1", "-W", "2", str(client.address)]
    with subprocess.Popen(backup.host.command(command), stdout=subprocess.PIPE, text=True) as ping:
        assert ping.stdout is not None
        lines = [next(line for line in ping.stdout if "icmp_seq=5 " in line)]
        # One loses the address and the other gets it: two peers changed, none touched besides.
        assert client.apply({home: [home], backup: [backup]}) == 2
        assert backup.apply({home: [home], client: [client]}) == 2
        lines += ping.stdout
    assert ping.returncode == 0
    received = int(re.search(r"(\d+) received", "".join(lines))[1])
    # What is on the way while one end has moved and the other has not is lost, and nothing after it.
    assert received >= count - 5
    assert f"icmp_seq={count} ttl=64" in "".join(lines), "the last one goes the short way"


def test_taken_down_leaves_neither_interface_nor_routes(hosts):
    a, b, _ = hosts
    a.bring_up({b: [b]})
    with entered(a.host.namespace):
        assert f"{mesh_prefix(MESH)} dev {DEVICE}" in run("ip", "-6", "route")
        a.reconciler.take_down()
        assert DEVICE not in run("ip", "-6", "route")
        names = {link["ifname"] for link in json.loads(run("ip", "-json", "link"))}
    assert names == {"lo", "eth0"}


def test_three_thousand_peers_and_one_change(hosts):
    a, b, c = hosts
    crowd: dict[Node, list[Node]] = {node: [node] for node in (Node(os.urandom(32), n) for n in range(256, 3254))}
    assert a.bring_up({b: [b], c: [c], **crowd}) is True
    b.bring_up({a: [a]})
    assert a.reaches(b)
    assert a.apply({b: [b, c], c: [], **crowd}) == 2
    with entered(a.host.namespace):
        assert a.reconciler.state().peers[b.key].allowed_ips == {IPv6Network(b.address), IPv6Network(c.address)}
        assert len(a.reconciler.state().peers) == 3000
    assert a.check() == []
    with entered(a.host.namespace):
        a.reconciler.take_down()
