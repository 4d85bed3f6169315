"""The kernel plane against the kernel, which `wg` and `ip` are asked about."""

from __future__ import annotations

import base64
import os
import socket
import time
from ipaddress import ip_network
from itertools import pairwise

import pytest
from kernel_namespaces import run

from smegmesh.dataplane import kernel
from smegmesh.dataplane.kernel import KernelPlane
from smegmesh.dataplane.plane import DeviceSettings, PeerChange, PeerState, PlaneError
from smegmesh.dataplane.select import choose_plane
from smegmesh.identity.keys import decode_key, generate_private_key, public_key

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("namespace")]

PORT = 51820
KEY, OTHER_KEY = (public_key(bytes([number]) * 32) for number in (1, 2))


@pytest.fixture
def plane() -> KernelPlane:
    return KernelPlane()


@pytest.fixture
def device(plane: KernelPlane) -> str:
    assert plane.create("wg0") is True
    return "wg0"


def networks(*texts: str):
    return frozenset(map(ip_network, texts))


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def many(count: int) -> list[PeerChange]:
    first = int(ip_network("fd00::/64").network_address)
    return [
        PeerChange(
            os.urandom(32),
            endpoint=(f"198.18.{number >> 8}.{number & 255}", PORT),
            allowed_ips=frozenset(ip_network((first + 2 * number + half, 128)) for half in (0, 1)),
            keepalive=25,
        )
        for number in range(count)
    ]


def shown(device: str) -> dict[str, PeerState]:
    """The peers as `wg show DEVICE dump` prints them."""
    peers = {}
    for line in run("wg", "show", device, "dump").splitlines()[1:]:
        key, preshared, endpoint, allowed, handshake, received, sent, keepalive = line.split("\t")
        host, _, port = endpoint.rpartition(":")
        peers[key] = PeerState(
            endpoint=None if endpoint == "(none)" else (host.strip("[]"), int(port)),
            allowed_ips=networks(*allowed.split(",")) if allowed != "(none)" else frozenset(),
            keepalive=0 if keepalive == "off" else int(keepalive),
            handshake=float(handshake) or None,
            received=int(received),
            sent=int(sent),
            preshared_key=None if preshared == "(none)" else decode_key(preshared),
        )
    return peers


def assert_shown_as_dumped(plane: KernelPlane, device: str) -> dict[bytes, PeerState]:
    dumped = dict(plane.dump(device).peers)
    assert {text(key): peer for key, peer in dumped.items()} == shown(device)
    return dumped


def links() -> str:
    return run("ip", "-br", "link")


def test_finding_out_leaves_no_link_behind():
    before = links()
    assert kernel.available()
    assert links() == before


def test_chosen_by_itself_where_the_kernel_has_it():
    assert choose_plane("auto", launcher=None).name == "kernel"


def test_made_once_then_adopted_with_its_peers(plane, device):
    plane.apply(device, [PeerChange(KEY, keepalive=5)])
    assert plane.create(device) is False
    assert plane.dump(device).peers[KEY].keepalive == 5


def test_deleted_and_deleted_again(plane, device):
    plane.delete(device)
    assert device not in links()
    plane.delete(device)


def test_a_foreign_link_of_the_name_is_left_alone(plane):
    run("ip", "link", "add", "wg0", "type", "bridge")
    for act in (plane.create, plane.delete):
        with pytest.raises(PlaneError, match="interface wg0: the name is taken by a link of kind bridge"):
            act("wg0")
    with pytest.raises(PlaneError, match="it is no WireGuard link"):
        plane.dump("wg0")
    assert "wg0" in links()


@pytest.mark.parametrize("name", ["", "a-name-too-long-", "a/b"])
def test_a_name_that_no_link_can_have(plane, name):
    with pytest.raises(PlaneError, match="interface"):
        plane.create(name)


def test_without_the_device_each_call_says_so(plane):
    settings = DeviceSettings(generate_private_key(), PORT)
    for act in (
        lambda: plane.dump("wg0"),
        lambda: plane.apply("wg0", [PeerChange(KEY)]),
        lambda: plane.configure("wg0", settings),
    ):
        with pytest.raises(PlaneError, match=r"interface wg0: cannot .*: there is no such link"):
            act()


def test_key_port_and_mark_are_set(plane, device):
    private = generate_private_key()
    assert plane.dump(device).public_key == bytes(32)
    plane.configure(device, DeviceSettings(private, PORT, fwmark=0x534D))
    state = plane.dump(device)
    assert (state.public_key, state.listen_port, state.fwmark) == (public_key(private), PORT, 0x534D)
    assert run("wg", "show", device, "public-key").strip() == text(public_key(private))
    assert run("wg", "show", device, "fwmark").strip() == "0x534d"


@pytest.mark.parametrize("state", ["down", "up"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_port_in_use_is_refused_and_all_stays_as_it_was(plane, device, state, family):
    plane.configure(device, DeviceSettings(generate_private_key(), PORT))
    run("ip", "link", "set", device, state)
    before = plane.dump(device)
    with socket.socket(family, socket.SOCK_DGRAM) as other:
        other.bind(("", PORT + 1))
        with pytest.raises(PlaneError, match="interface wg0: UDP port 51821 is in use"):
            plane.configure(device, DeviceSettings(generate_private_key(), PORT + 1, fwmark=3))
    assert plane.dump(device) == before
    plane.configure(device, DeviceSettings(generate_private_key(), PORT + 1))
    assert plane.dump(device).listen_port == PORT + 1


def test_peers_are_added_changed_and_removed(plane, device):
    plane.apply(
        device,
        [
            PeerChange(KEY, endpoint=("198.18.0.9", 7), allowed_ips=networks("fd00::1/128", "198.18.4.0/22")),
            PeerChange(OTHER_KEY, endpoint=("2001:db8::9", 65535), allowed_ips=networks("::/0"), keepalive=25),
        ],
    )
    first = assert_shown_as_dumped(plane, device)
    assert first[KEY] == PeerState(("198.18.0.9", 7), networks("fd00::1/128", "198.18.4.0/22"), 0)
    assert first[OTHER_KEY] == PeerState(("2001:db8::9", 65535), networks("::/0"), 25)

    plane.apply(device, [PeerChange(KEY, add=False, keepalive=9), PeerChange(OTHER_KEY, remove=True)])
    second = assert_shown_as_dumped(plane, device)
    assert second == {KEY: PeerState(first[KEY].endpoint, first[KEY].allowed_ips, 9)}

    plane.apply(device, [PeerChange(KEY, add=False, allowed_ips=frozenset())])
    assert assert_shown_as_dumped(plane, device)[KEY].allowed_ips == frozenset()


def test_unknown_peers_are_neither_changed_nor_removed(plane, device):
    plane.apply(device, [PeerChange(KEY, add=False, keepalive=9), PeerChange(OTHER_KEY, remove=True)])
    assert plane.dump(device).peers == {}


def test_a_preshared_key_is_set_kept_and_taken_away(plane, device):
    secret = bytes([7]) * 32
    for change, expected in (
        (PeerChange(KEY, preshared_key=secret), text(secret)),
        (PeerChange(KEY, keepalive=3), text(secret)),
        (PeerChange(KEY, preshared_key=bytes(32)), "(none)"),
    ):
        plane.apply(device, [change])
        assert run("wg", "show", device, "preshared-keys").split() == [text(KEY), expected]
        assert_shown_as_dumped(plane, device)


def test_an_allowed_ip_moves_in_the_order_of_the_changes(plane, device):
    address = networks("fd00::1/128")
    plane.apply(device, [PeerChange(KEY, allowed_ips=address), PeerChange(OTHER_KEY)])
    plane.apply(
        device,
        [PeerChange(KEY, add=False, allowed_ips=frozenset()), PeerChange(OTHER_KEY, add=False, allowed_ips=address)],
    )
    peers = assert_shown_as_dumped(plane, device)
    assert (peers[KEY].allowed_ips, peers[OTHER_KEY].allowed_ips) == (frozenset(), address)


def test_a_peer_with_more_allowed_ips_than_a_message_holds(plane, device):
    first = int(ip_network("fd00::/64").network_address)
    addresses = frozenset(ip_network((first + number, 128)) for number in range(2500))
    plane.apply(device, [PeerChange(KEY, allowed_ips=addresses), PeerChange(OTHER_KEY)])
    assert plane.dump(device).peers[KEY].allowed_ips == addresses
    plane.apply(device, [PeerChange(KEY, add=False, allowed_ips=networks("fd00::1/128"))])
    assert plane.dump(device).peers[KEY].allowed_ips == networks("fd00::1/128")


def test_one_change_that_cannot_be_said_leaves_all_undone(plane, device):
    last = PeerChange(KEY, preshared_key=b"secret")
    with pytest.raises(PlaneError, match="interface wg0: cannot change peers: a WireGuard key is 32 bytes") as refused:
        plane.apply(device, [*many(2000), last])
    assert "secret" not in str(refused.value)
    assert plane.dump(device).peers == {}


def test_three_thousand_peers_go_in_read_back_and_go_fast(plane, device):
    changes = many(3000)
    seconds = [time.monotonic()]
    plane.apply(device, changes)
    seconds.append(time.monotonic())
    peers = plane.dump(device).peers
    seconds.append(time.monotonic())
    plane.delete(device)
    seconds.append(time.monotonic())
    assert peers == {
        change.key: PeerState(change.endpoint, change.allowed_ips or frozenset(), change.keepalive or 0)
        for change in changes
    }
    # Many times what an emulated processor takes; one request a peer, or a link deleted with its peers, is slower.
    into, out, away = (after - before for before, after in pairwise(seconds))
    assert (into < 10, out < 10, away < 5) == (True, True, True), (into, out, away)
