"""What the API says of members: the view and the device together."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import IPv6Address

from smegmesh.crdt.entry import Entry, Role
from smegmesh.daemon.members import member_reports
from smegmesh.daemon.report import static_peer_reports
from smegmesh.dataplane.plane import DeviceState, PeerState
from smegmesh.declaration import StaticPeer
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.identity.keys import encode_key

PEER, CLIENT, TUNNEL, GONE = (bytes([number]) * 32 for number in (1, 2, 3, 4))


def view() -> View:
    peer = Entry(
        "p1",
        Role.PEER,
        TUNNEL,
        endpoints=("198.18.0.1:51820",),
        alias="web",
        services={"https": "tcp/443"},
        agent="1.2",
    )
    client = Entry("c1", Role.CLIENT, CLIENT, home=PEER, backup=GONE)
    return View(
        mesh_id="prod",
        node_key=CLIENT,
        members={
            PEER: Member(PEER, IPv6Address("fd00::1"), peer, 7, Liveness.MUTE),
            CLIENT: Member(CLIENT, IPv6Address("fd00::2"), client, 3, Liveness.ALIVE),
        },
        leader=PEER,
        digest=bytes(32),
    )


class Fresh(dict[bytes, Member]):
    """Members as an engine's view has them: made anew by each look at them."""

    def __getitem__(self, key: bytes) -> Member:
        return replace(super().__getitem__(key))


def device(**peer: object) -> DeviceState:
    state = PeerState(None, frozenset(), 0, **peer)  # type: ignore[arg-type]
    return DeviceState(CLIENT, 51820, 0, {TUNNEL: state})


def test_members_by_name_with_their_device() -> None:
    client, peer = member_reports(view(), Role.CLIENT, device(handshake=time.time() - 30, received=10, sent=20))
    assert (client.name, client.own, client.leader, client.home) == ("c1", True, False, "p1")
    assert client.backup == encode_key(GONE), "who is no member has no name"
    assert client.handshake_age is None
    assert (peer.name, peer.own, peer.leader, peer.liveness) == ("p1", False, True, "mute")
    assert (peer.alias, peer.number, peer.version, peer.endpoints) == ("web", 7, "1.2", ["198.18.0.1:51820"])
    assert (client.services, peer.services) == ({}, {"https": "tcp/443"})
    assert (peer.received, peer.sent) == (10, 20)
    assert peer.handshake_age is not None and 29 < peer.handshake_age < 60


def test_a_handshake_that_never_was_or_lies_ahead() -> None:
    for handshake, age in ((None, None), (0.0, None), (time.time() + 100, 0.0)):
        assert member_reports(view(), Role.CLIENT, device(handshake=handshake))[1].handshake_age == age
    assert [member.handshake_age for member in member_reports(view(), Role.CLIENT, None)] == [None, None]


def test_the_figures_of_a_member_are_those_of_the_tunnel_that_carries_it() -> None:
    """Two clients of another peer, one of the own, one that nobody carries, and one whose backup is here."""
    own, other = b"o" * 32, b"p" * 32
    clients = {name: name.encode() * 16 for name in ("c1", "c2", "c3", "c4")}
    homes = {"c1": (other, None), "c2": (own, other), "c3": (None, None), "c4": (other, own)}
    entries = {
        own: Entry("here", Role.PEER, own),
        other: Entry("there", Role.PEER, TUNNEL),
        **{
            key: Entry(name, Role.CLIENT, key, home=homes[name][0], backup=homes[name][1])
            for name, key in clients.items()
        },
    }
    members = {
        key: Member(key, IPv6Address(f"fd00::{number:x}"), entry, 1, Liveness.ALIVE)
        for number, (key, entry) in enumerate(entries.items())
    }
    tunnels = {
        TUNNEL: PeerState(None, frozenset(), 0, received=100, sent=200),
        clients["c2"]: PeerState(None, frozenset(), 0, received=3, sent=4),
        clients["c4"]: PeerState(None, frozenset(), 0, received=5, sent=6),
    }
    state = DeviceState(own, 51820, 0, tunnels)
    here = View("prod", own, Fresh(members), own, bytes(32))
    figures = {each.name: (each.through, each.received, each.sent) for each in member_reports(here, Role.PEER, state)}
    assert figures == {
        "here": (None, 0, 0),
        "there": (None, 100, 200),
        "c1": ("there", 100, 200),
        "c2": (None, 3, 4),
        "c3": (None, 0, 0),
        "c4": ("there", 100, 200),
    }


def test_a_client_reaches_all_through_its_home() -> None:
    other = Member(GONE, IPv6Address("fd00::3"), Entry("p2", Role.PEER, GONE), 1, Liveness.ALIVE)
    seen = view()
    seen = View("prod", CLIENT, {**seen.members, GONE: other}, PEER, bytes(32))
    figures = {
        each.name: (each.through, each.received) for each in member_reports(seen, Role.CLIENT, device(received=9))
    }
    assert figures == {"c1": (None, 0), "p1": (None, 9), "p2": ("p1", 9)}


def carriers(*names: str) -> View:
    """The first is this node; all of them say that they carry the phone."""
    members = {
        bytes([number + 1]) * 32: Member(
            bytes([number + 1]) * 32,
            IPv6Address(number + 1),
            Entry(name, Role.PEER, bytes([number + 1]) * 32, static_peers={"phone": PHONE}),
            1,
            Liveness.ALIVE,
        )
        for number, name in enumerate(names)
    }
    return View("prod", min(members), members, None, b"")


PHONE = b"p" * 32


def test_a_static_peer_with_its_figures_but_for_its_secret() -> None:
    state = PeerState(("2001:db8::9", 7), frozenset(), 0, time.time() - 30, 10, 20, b"s" * 32)
    device = DeviceState(b"d" * 32, 51820, 0, {PHONE: state})
    (report,) = static_peer_reports(carriers("a1"), [StaticPeer("phone", PHONE)], device)
    assert (report.name, report.address) == ("phone", str(node_address("prod", PHONE)))
    assert (report.endpoint, report.received, report.sent) == ("[2001:db8::9]:7", 10, 20)
    assert report.handshake_age is not None and 29 < report.handshake_age < 60
    assert report.preshared_key is True
    (member,) = member_reports(carriers("a1"), Role.PEER, None)
    assert member.static_peers == {"phone": report.address}


def test_why_a_static_peer_is_not_carried() -> None:
    shared = carriers("a1", "a2")
    (first,) = static_peer_reports(shared, [StaticPeer("phone", PHONE)], None)
    assert first.problem is None, "of two the lower key carries it"
    (second,) = static_peer_reports(replace(shared, node_key=b"\2" * 32), [StaticPeer("phone", PHONE)], None)
    assert second.problem == "static peer phone is declared by a1, too, which carries it: let one declare it"
    (same,) = static_peer_reports(shared, [StaticPeer("phone", b"\2" * 32)], None)
    assert same.problem == "static peer phone is a2, a member itself: take one of them out"
