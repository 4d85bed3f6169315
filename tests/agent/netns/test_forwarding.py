"""Forwarding with real packets: what a home lets pass, and that nobody is locked out."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from mesh import DEVICE, Mesh
from namespaces import Lab, advertise_router

from smegmesh.crdt.entry import Role

pytestmark = pytest.mark.netns


def eventually(true: Callable[[], bool]) -> bool:
    """Ask until it holds, for ten seconds at most: a router's address alone is checked for duplicates for up to two."""
    deadline = time.monotonic() + 10
    while not true():
        if time.monotonic() > deadline:
            return False
    return True


def test_a_slaac_host_keeps_its_default_route_when_it_starts_to_forward(lab: Lab, mesh: Mesh) -> None:
    host = mesh.add(lab.host("slaac"), Role.PEER)
    router = lab.host("router")

    def default_route() -> str:
        return host.host.run("ip", "-6", "route", "show", "default")

    def learns() -> bool:
        advertise_router(router, "eth0", "2001:db8:5::")
        return "proto ra" in default_route()

    assert eventually(learns)
    host.start()
    before = host.call("enable_forwarding")
    assert before["net/ipv6/conf/all/forwarding"] == "0"
    assert before["net/ipv6/conf/eth0/accept_ra"] == "1"
    assert "proto ra" in default_route()
    host.host.run("ip", "-6", "route", "del", "default")
    assert eventually(learns), "it still listens to its router"
    assert host.call("enable_forwarding") == {}

    host.call("restore_forwarding", before)
    assert host.host.run("sysctl", "-n", "net.ipv6.conf.eth0.accept_ra") == "1\n"
    assert host.host.run("sysctl", "-n", "net.ipv6.conf.default.accept_ra") == "1\n"
    assert host.host.run("sysctl", "-n", "net.ipv6.conf.all.forwarding") == "0\n"


def test_a_client_cannot_reach_its_homes_own_network(lab: Lab, mesh: Mesh) -> None:
    home = mesh.add(lab.host("home"), Role.PEER)
    client = mesh.add(lab.host("client"), Role.CLIENT, home)
    other = mesh.add(lab.host("other"), Role.CLIENT, home)
    inner = lab.host("inner")
    lab.join(home.host, inner, "lan0")
    home.host.run("ip", "-6", "address", "add", "2001:db8:9::1/64", "dev", "lan0", "nodad")
    inner.run("ip", "-6", "address", "add", "2001:db8:9::2/64", "dev", "lan0", "nodad")
    inner.run("ip", "-6", "route", "add", "fc00::/7", "via", "2001:db8:9::1")
    mesh.bring_up()
    # A client that does not keep to its plan.
    home_key = client.host.run("wg", "show", DEVICE, "peers").strip()
    client.host.run("wg", "set", DEVICE, "peer", home_key, "allowed-ips", "::/0")
    client.host.run("ip", "-6", "route", "add", "2001:db8:9::/64", "dev", DEVICE)

    assert client.host.pings(other.address, 5)
    assert not client.host.pings("2001:db8:9::2", 3)
    assert not inner.pings(client.address, 3)

    home.call("remove_firewall")
    assert eventually(lambda: client.host.pings("2001:db8:9::2")), "it was the table that kept it out"


def test_the_table_is_replaced_and_removed_without_touching_others(lab: Lab, mesh: Mesh) -> None:
    home = mesh.add(lab.host("home"), Role.PEER)
    foreign = "table ip6 filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }"
    home.host.run("nft", "-f", "-", stdin=foreign)
    home.start()
    home.call("install_firewall")
    once = home.host.run("nft", "list", "ruleset")
    home.call("install_firewall")
    assert home.host.run("nft", "list", "ruleset") == once
    assert home.call("foreign_drops") == ["ip6 filter FORWARD"]
    home.call("remove_firewall")
    home.call("remove_firewall")
    assert home.host.run("nft", "list", "tables") == "table ip6 filter\n"
