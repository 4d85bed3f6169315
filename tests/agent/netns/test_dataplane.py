"""The dataplane with real packets: wireguard-go in network namespaces."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from mesh import DEVICE, PORT, Mesh, Stream
from namespaces import Lab

from smegmesh.crdt.entry import Role
from smegmesh.dataplane.plane import PlaneError
from smegmesh.routing.tables import MARK

pytestmark = pytest.mark.netns


def test_two_peers_reach_each_other_and_a_probe_tells_who_answers(lab: Lab, mesh: Mesh) -> None:
    one, two = (mesh.add(lab.host(name), Role.PEER) for name in ("one", "two"))
    mesh.bring_up()

    assert one.host.pings(two.address, 5)
    assert two.host.pings(one.address, 1)

    nobody = b"n" * 32, one.address + 1
    answers = one.call("probe", [(two.key, two.address), nobody], 3)
    assert (two.key, True) in answers
    assert (two.key, False) not in answers
    assert (nobody[0], False) in answers

    lab.plug(two.host, in_=False)
    assert (two.key, False) in one.call("probe", [(two.key, two.address)], 2)

    one.call("take_down")
    assert not one.call("has_link")


def test_a_client_is_reached_through_its_home_and_then_through_its_backup(lab: Lab, mesh: Mesh) -> None:
    home, backup = (mesh.add(lab.host(name), Role.PEER) for name in ("home", "backup"))
    client = mesh.add(lab.host("client"), Role.CLIENT, home, backup)
    mesh.bring_up()
    assert client.host.pings(backup.address, 5)

    stream = Stream(backup.host, client.address)
    lab.plug(home.host, in_=False)
    mesh.down = frozenset({home.key})
    mesh.apply()
    stream.answered(10)
    assert stream.lost() < 50  # one second
    assert client.host.pings(backup.address, 1)

    mesh.down = frozenset()
    lab.plug(home.host, in_=True)
    mesh.apply()
    assert client.host.pings(home.address, 5)
    assert backup.host.pings(client.address, 5)


def test_a_client_moves_between_living_peers_without_losing_a_packet(lab: Lab, mesh: Mesh) -> None:
    home, backup = (mesh.add(lab.host(name), Role.PEER) for name in ("home", "backup"))
    client = mesh.add(lab.host("client"), Role.CLIENT, home, backup)
    mesh.bring_up()
    assert client.host.pings(home.address, 5)
    assert client.host.pings(backup.address, 5)
    held = client.call("state").peers[backup.key]
    assert held.handshake is not None, "the backup's session is alive before it is needed"

    stream = Stream(client.host, backup.address)
    mesh.down = frozenset({home.key})
    mesh.apply()
    stream.answered(5)
    assert stream.lost() <= 10  # the hosts change over one after the other


def test_a_killed_agent_adopts_its_interface_without_losing_a_packet(lab: Lab, mesh: Mesh) -> None:
    one, two = (mesh.add(lab.host(name), Role.PEER) for name in ("one", "two"))
    mesh.bring_up()
    assert one.host.pings(two.address, 5)
    before = one.call("state").peers[two.key]

    stream = Stream(two.host, one.address)
    one.kill()
    stream.answered(5)
    one.start()
    assert one.call("bring_up", mesh.plan(one), mesh.endpoints()) is False
    stream.answered(5)
    assert stream.lost() == 0
    assert one.call("state").peers[two.key].handshake == before.handshake
    assert one.call("check") == []


def test_foreign_changes_are_repaired(lab: Lab, mesh: Mesh) -> None:
    one, two = (mesh.add(lab.host(name), Role.PEER) for name in ("one", "two"))
    mesh.bring_up()
    assert one.call("check") == []

    foreign = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
    one.host.run("wg", "set", DEVICE, "peer", foreign, "allowed-ips", f"{two.address}/128")
    one.host.run("ip", "-6", "address", "del", f"{one.address}/128", "dev", DEVICE)
    one.host.run("ip", "-6", "route", "add", "2001:db8:77::/48", "dev", DEVICE, "proto", "87")
    one.host.run("ip", "-6", "route", "add", "2001:db8:78::/48", "dev", DEVICE, "proto", "static")
    one.host.run("ip", "link", "set", DEVICE, "mtu", "1300")
    assert not one.host.pings(two.address)

    assert len(one.call("check")) == 4
    assert one.host.pings(two.address, 5)
    assert foreign not in one.host.run("wg", "show", DEVICE)
    routes = one.host.run("ip", "-6", "route", "show", "dev", DEVICE)
    assert "2001:db8:77::" not in routes
    assert "2001:db8:78::" in routes, "a route that is not the agent's is left alone"
    assert "mtu 1420" in one.host.run("ip", "link", "show", DEVICE)

    one.host.run("ip", "link", "del", DEVICE)
    assert one.call("check") == [f"{DEVICE} was gone"]
    assert one.host.pings(two.address, 10)


def test_a_learned_endpoint_is_kept(lab: Lab, mesh: Mesh) -> None:
    one, two = (mesh.add(lab.host(name), Role.PEER) for name in ("one", "two"))
    mesh.bring_up()
    assert one.host.pings(two.address, 5)

    two.host.run("wg", "set", DEVICE, "listen-port", "51999")
    assert two.host.pings(one.address, 5)
    learned = (two.host.underlay, 51999)
    assert one.call("state").peers[two.key].endpoint == learned
    one.call("check")
    one.call("apply", mesh.plan(one), mesh.endpoints())
    assert one.call("state").peers[two.key].endpoint == learned

    two.entry = replace(two.entry, endpoints=("two.example:1",))
    one.call("apply", mesh.plan(one), {"two.example:1": ("198.18.0.77", 1)})
    assert one.call("state").peers[two.key].endpoint == ("198.18.0.77", 1)


def test_a_peer_that_lost_its_sessions_is_heard_at_once_after_a_renewal(lab: Lab, mesh: Mesh) -> None:
    home = mesh.add(lab.host("home"), Role.PEER)
    client = mesh.add(lab.host("client"), Role.CLIENT, home)
    mesh.bring_up()
    assert client.host.pings(home.address, 5)

    home.call("take_down")
    home.call("bring_up", mesh.plan(home), mesh.endpoints())
    assert not client.host.pings(home.address)
    client.call("renew", home.key)
    assert client.host.pings(home.address, 2)
    assert client.call("check") == []


def test_a_port_in_use_is_one_clear_error_and_leaves_nothing_behind(lab: Lab, mesh: Mesh) -> None:
    one = mesh.add(lab.host("one"), Role.PEER)
    user = one.host.start(
        "python3",
        "-c",
        f"import socket, sys; s = socket.socket(socket.AF_INET6, {int(socket.SOCK_DGRAM)}); "
        f"s.bind(('::', {PORT})); print('bound', flush=True); sys.stdin.read()",
    )
    try:
        assert user.stdout is not None and user.stdout.readline() == "bound\n"
        one.start()
        with pytest.raises(PlaneError, match=f"UDP port {PORT} is in use"):
            one.call("bring_up", mesh.plan(one), {})
        assert not one.call("has_link")
    finally:
        user.communicate("")
    assert one.call("bring_up", mesh.plan(one), {}) is True


def test_the_mtu_follows_the_underlay(lab: Lab, mesh: Mesh) -> None:
    one = mesh.add(lab.host("one"), Role.PEER)
    one.start()
    assert one.call("underlay_mtu", "198.18.0.9") == 1500
    one.host.run("ip", "route", "add", "198.19.0.0/24", "via", "198.18.0.9", "mtu", "1400")
    assert (
        one.call(
            "underlay_mtu",
            "198.18.0.9",
            "198.19.0.1",
            "2001:db8::9",
            "2001:db8:ffff::1",
        )
        == 1400
    )
    one.host.run("ip", "link", "set", "eth0", "mtu", "1450")
    one.host.run("ip", "route", "add", "default", "via", "198.18.0.8")
    assert one.call("underlay_mtu") == 1450


def test_the_packets_of_the_tunnel_carry_its_mark(lab: Lab, mesh: Mesh) -> None:
    one, two = (mesh.add(lab.host(name), Role.PEER) for name in ("one", "two"))
    count = f"udp dport {PORT} meta mark {MARK} counter accept; udp dport {PORT} drop;"
    chain = f"chain output {{ type filter hook output priority 0; {count} }}"
    one.host.run("nft", "-f", "-", stdin=f"table inet watch {{ {chain}; }}")
    one.start(mark=MARK)
    one.call("bring_up", mesh.plan(one), mesh.endpoints())
    mesh.bring_up([two])
    assert one.host.pings(two.address, 5)
    assert "packets 0 " not in one.host.run("nft", "list", "table", "inet", "watch")


def test_a_device_that_died_is_made_again(lab: Lab, mesh: Mesh) -> None:
    one, two = (mesh.add(lab.host(name), Role.PEER) for name in ("one", "two"))
    one.host.run("sysctl", "-w", "net.ipv6.conf.default.disable_ipv6=1")
    mesh.bring_up()
    assert one.host.pings(two.address, 5)
    one.host.run("kill", "-9", *one.host.pids("wireguard-go"))
    while one.call("has_link"):
        pass
    assert one.call("check") == [f"{DEVICE} was gone"]
    assert one.host.pings(two.address, 5)


def test_a_foreign_route_to_the_mesh_is_an_error(lab: Lab, mesh: Mesh) -> None:
    one = mesh.add(lab.host("one"), Role.PEER)
    one.start()
    one.host.run(
        "ip",
        "-6",
        "route",
        "add",
        str(next(iter(mesh.plan(one).routes))),
        "dev",
        "eth0",
    )
    with pytest.raises(PlaneError, match="already routed by something else"):
        one.call("bring_up", mesh.plan(one), {})
    assert not one.call("has_link")
