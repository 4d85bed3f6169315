"""WireGuard's messages: bytes written out from linux/wireguard.h, and a round trip through the dump's reader."""

import struct
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smegmesh.dataplane import wireguard_messages as wireguard
from smegmesh.dataplane.netlink import NESTED, attributes
from smegmesh.dataplane.plane import DeviceSettings, PeerChange, PeerState

KEY, OTHER_KEY, SECRET = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))


def attr(kind, payload):
    """An attribute as the header file lays it out, written a second time so that the tests do not lean on the code."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def u16(value):
    return struct.pack("=H", value)


def u32(value):
    return struct.pack("=I", value)


SET_WG0 = bytes([1, 1, 0, 0]) + attr(2, b"wg0\0")


def test_requests_for_the_device_itself():
    assert wireguard.get_device("wg0") == bytes([0, 1, 0, 0]) + attr(2, b"wg0\0")
    assert wireguard.set_listen_port("wg0", 51820) == SET_WG0 + attr(6, u16(51820))
    settings = DeviceSettings(private_key=SECRET, listen_port=51820, fwmark=0x534D)
    assert wireguard.set_keys_and_mark("wg0", settings) == SET_WG0 + attr(3, SECRET) + attr(7, u32(0x534D))
    assert wireguard.remove_all_peers("wg0") == SET_WG0 + attr(5, u32(1))


def peer(*parts):
    return attr(NESTED, b"".join(parts))


def allowed(*networks):
    nests = (
        attr(
            NESTED,
            attr(1, u16(2 if network.version == 4 else 10))
            + attr(2, network.network_address.packed)
            + attr(3, bytes([network.prefixlen])),
        )
        for network in map(ip_network, networks)
    )
    return attr(9 | NESTED, b"".join(nests))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (PeerChange(KEY), [attr(1, KEY)]),
        (PeerChange(KEY, remove=True), [attr(1, KEY), attr(3, u32(1))]),
        (PeerChange(KEY, add=False), [attr(1, KEY), attr(3, u32(4))]),
        (PeerChange(KEY, preshared_key=SECRET), [attr(1, KEY), attr(2, SECRET)]),
        (PeerChange(KEY, keepalive=25), [attr(1, KEY), attr(5, u16(25))]),
        (
            PeerChange(KEY, endpoint=("198.18.0.9", 51820)),
            [
                attr(1, KEY),
                attr(4, u16(2) + bytes([0xCA, 0x6C, 198, 18, 0, 9]) + bytes(8)),
            ],
        ),
        (
            PeerChange(KEY, endpoint=("2001:db8::9", 51820)),
            [
                attr(1, KEY),
                attr(
                    4,
                    u16(10) + bytes.fromhex("ca6c 00000000 20010db8000000000000000000000009") + u32(0),
                ),
            ],
        ),
        (
            PeerChange(KEY, endpoint=("fe80::1%3", 1)),
            [
                attr(1, KEY),
                attr(
                    4,
                    u16(10) + bytes.fromhex("0001 00000000 fe800000000000000000000000000001") + u32(3),
                ),
            ],
        ),
        (PeerChange(KEY, allowed_ips=frozenset()), [attr(1, KEY), attr(3, u32(2))]),
        (
            PeerChange(KEY, add=False, allowed_ips=frozenset({ip_network("2001:db8::/48")})),
            [attr(1, KEY), attr(3, u32(6)), allowed("2001:db8::/48")],
        ),
        (
            PeerChange(KEY, allowed_ips=frozenset({ip_network("198.18.0.0/16")})),
            [attr(1, KEY), attr(3, u32(2)), allowed("198.18.0.0/16")],
        ),
    ],
)
def test_a_change_is_one_nest(change, expected):
    assert list(wireguard.peer_nests(change)) == [peer(*expected)]


def test_changes_are_packed_in_order_into_as_few_messages_as_fit():
    changes = [PeerChange(bytes([number]) * 32, keepalive=number) for number in range(10)]
    nests = [nest for change in changes for nest in wireguard.peer_nests(change)]
    size = len(nests[0])
    made = list(wireguard.set_peers("wg0", changes, limit=4 * size))
    assert made == [SET_WG0 + attr(8 | NESTED, b"".join(nests[start : start + 4])) for start in range(0, len(nests), 4)]
    assert list(wireguard.set_peers("wg0", [])) == []


def test_a_peer_that_does_not_fit_one_message_is_continued_by_key():
    networks = frozenset(ip_network((0x20010DB8 << 96 | number, 128)) for number in range(4000))
    change = PeerChange(KEY, endpoint=("198.18.0.9", 1), allowed_ips=networks, keepalive=25)
    first, *rest = wireguard.peer_nests(change)
    assert len(rest) == 2
    for nest in (first, *rest):
        assert len(nest) <= wireguard.NEST_LIMIT
    ((_, again),) = attributes(memoryview(rest[0]))
    assert [kind for kind, _ in attributes(again)] == [1, 3, 9]
    assert bytes(dict(attributes(again))[3]) == u32(4)  # adds to a peer that is there, replaces nothing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (PeerChange(b"short"), "a WireGuard key is 32 bytes, not 5"),
        (PeerChange(KEY, preshared_key=b""), "a WireGuard key is 32 bytes, not 0"),
        (PeerChange(KEY, keepalive=70000), "keepalive 70000 is not within 0 to 65535"),
        (PeerChange(KEY, endpoint=("198.18.0.9", -1)), "port -1 is not within"),
        (
            PeerChange(KEY, endpoint=("gate.example.org", 1)),
            "'gate.example.org' is no IP address; resolve it",
        ),
        (
            PeerChange(KEY, endpoint=("fe80::1%eth0", 1)),
            "'fe80::1%eth0' is no IP address",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_before_the_kernel_sees_it(change, message):
    with pytest.raises(ValueError, match=message):
        list(wireguard.peer_nests(change))


def dump(*parts):
    return memoryview(bytes([0, 1, 0, 0]) + b"".join(parts))


def test_a_dump_is_read_over_its_messages():
    reader = wireguard.DeviceReader()
    reader.read(
        dump(
            *(attr(6, u16(51820)), attr(7, u32(9)), attr(1, u32(4)), attr(2, b"wg0\0")),
            *(attr(3, SECRET), attr(4, OTHER_KEY)),
            attr(
                8 | NESTED,
                peer(
                    *(
                        attr(1, KEY),
                        attr(2, SECRET),
                        attr(6, struct.pack("=qq", 1700000000, 500_000_000)),
                    ),
                    *(
                        attr(5, u16(25)),
                        attr(8, struct.pack("=Q", 2)),
                        attr(7, struct.pack("=Q", 1)),
                    ),
                    *(
                        attr(10, u32(1)),
                        attr(4, u16(2) + bytes([0, 7, 198, 18, 0, 9]) + bytes(8)),
                    ),
                    allowed("2001:db8::1/128"),
                ),
            ),
        )
    )
    reader.read(
        dump(
            attr(2, b"wg0\0"),
            attr(8 | NESTED, peer(attr(1, KEY), allowed("198.18.0.0/16"))),
        )
    )
    state = reader.state()
    assert (state.public_key, state.listen_port, state.fwmark) == (OTHER_KEY, 51820, 9)
    assert state.peers == {
        KEY: PeerState(
            endpoint=("198.18.0.9", 7),
            allowed_ips=frozenset({ip_network("2001:db8::1/128"), ip_network("198.18.0.0/16")}),
            keepalive=25,
            handshake=1700000000.5,
            received=1,
            sent=2,
            preshared_key=SECRET,
        )
    }
    assert SECRET.hex() not in repr(state) and repr(SECRET) not in repr(state)


def test_a_peer_that_was_never_heard_has_no_handshake():
    reader = wireguard.DeviceReader()
    reader.read(dump(attr(8 | NESTED, peer(attr(1, KEY), attr(2, bytes(32)), attr(6, bytes(16))))))
    assert reader.state().peers == {KEY: PeerState(endpoint=None, allowed_ips=frozenset(), keepalive=0)}
    assert reader.state().public_key == wireguard.NO_KEY


networks = st.one_of(
    st.builds(lambda number, length: ip_network((number >> 32 - length << 32 - length, length)),
              st.integers(0, 2**32 - 1), st.integers(0, 32)),
    st.builds(lambda number, length: ip_network((number >> 128 - length << 128 - length, length)),
              st.integers(0, 2**128 - 1), st.integers(0, 128)),
)  # fmt: skip
endpoints = st.tuples(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6, network="2001:db8::/32")).map(str),
    st.integers(0, 65535),
)
states = st.builds(
    PeerState,
    endpoint=st.none() | endpoints,
    allowed_ips=st.frozensets(networks, max_size=12),
    keepalive=st.integers(0, 65535),
    preshared_key=st.none() | st.binary(min_size=32, max_size=32).filter(any),
)


@given(
    st.dictionaries(st.binary(min_size=32, max_size=32), states, max_size=8),
    st.integers(200, 2000),
)
def test_what_is_set_reads_back_whatever_the_message_size(peers, limit):
    changes = (
        PeerChange(
            key,
            endpoint=state.endpoint,
            allowed_ips=state.allowed_ips,
            keepalive=state.keepalive,
            preshared_key=state.preshared_key,
        )
        for key, state in peers.items()
    )
    reader = wireguard.DeviceReader()
    for payload in wireguard.set_peers("wg0", changes, limit):
        nest = dict(attributes(memoryview(payload)[4:]))[8]
        assert len(nest) <= limit
        reader.read(memoryview(payload))
    assert reader.state().peers == peers
