"""What the API says of members: the view and the device together."""

from __future__ import annotations

import time
from ipaddress import IPv6Address

from smegmesh.crdt.entry import Entry, Role
from smegmesh.daemon.report import member_reports
from smegmesh.dataplane.plane import DeviceState, PeerState
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.keys import encode_key

PEER, CLIENT, TUNNEL, GONE = (bytes([number]) * 32 for number in (1, 2, 3, 4))


def view() -> View:
    peer = Entry("p1", Role.PEER, TUNNEL, endpoints=("198.18.0.1:51820",), alias="web", agent="1.2")
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


def device(**peer: object) -> DeviceState:
    state = PeerState(None, frozenset(), 0, **peer)  # type: ignore[arg-type]
    return DeviceState(CLIENT, 51820, 0, {TUNNEL: state})


def test_members_by_name_with_their_device() -> None:
    client, peer = member_reports(view(), device(handshake=time.time() - 30, received=10, sent=20))
    assert (client.name, client.own, client.leader, client.home) == ("c1", True, False, "p1")
    assert client.backup == encode_key(GONE), "who is no member has no name"
    assert client.handshake_age is None
    assert (peer.name, peer.own, peer.leader, peer.liveness) == ("p1", False, True, "mute")
    assert (peer.alias, peer.number, peer.version, peer.endpoints) == ("web", 7, "1.2", ["198.18.0.1:51820"])
    assert (peer.received, peer.sent) == (10, 20)
    assert peer.handshake_age is not None and 29 < peer.handshake_age < 60


def test_a_handshake_that_never_was_or_lies_ahead() -> None:
    for handshake, age in ((None, None), (0.0, None), (time.time() + 100, 0.0)):
        assert member_reports(view(), device(handshake=handshake))[1].handshake_age == age
    assert [member.handshake_age for member in member_reports(view(), None)] == [None, None]
