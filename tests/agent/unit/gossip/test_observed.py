"""Where a node is as others see it: what they tell it, and what of that is believed."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_address
from itertools import count

import pytest
from gossip_table import MESH, Party, Table

from smegmesh.crdt.entry import Role
from smegmesh.gossip.codec import PROTOCOLS, Hello, Items, decode, encode
from smegmesh.gossip.engine import Observed
from smegmesh.gossip.observed import Address, believe, follow, outside_address
from smegmesh.identity.address import mesh_prefix
from smegmesh.simulation.credentials import credentials

A, B, C = (ip_address(f"198.18.0.{number}") for number in (1, 2, 3))
SIX, SEVEN = ip_address("2001:db8::6"), ip_address("2001:db8::7")
PRIVATE, PUBLIC = ip_address("192.168.0.7"), ip_address("9.9.9.9")


def said(*addresses: Address) -> dict[bytes, Address]:
    """Each by another peer."""
    return dict(zip((bytes([number]) for number in count()), addresses, strict=False))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name.example",
        "198.18.0.1:51820",
        "0.0.0.0",
        "::",
        "127.0.0.1",
        "::1",
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "2001:db8::1%eth0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:127.0.0.1",
        "fd00::1",
    ],
)
def test_what_can_be_no_endpoint_elsewhere(text: str) -> None:
    assert outside_address(text, [IPv6Network("fd00::/64")]) is None


def test_what_can_be_one() -> None:
    for text in ("198.18.0.1", "10.0.0.1", "2001:db8::1", "fd01::1"):
        assert outside_address(text, [IPv6Network("fd00::/64")]) == ip_address(text)
    assert outside_address("::ffff:198.18.0.1") == A, "as an IPv6 socket shows it"


def test_two_peers_are_believed_and_the_only_one_where_there_is_one() -> None:
    assert believe((), {}, 0) == ()
    assert believe((), said(A), 1) == (A,)
    assert believe((B,), said(A), 1) == (A,), "in a mesh of two the other one knows it"
    assert believe((), said(A), 2) == (), "another may yet say something else"
    assert believe((), said(A, B), 2) == ()
    assert believe((), said(A, A), 2) == (A,)
    assert believe((), said(B, A, C, A), 4) == (A,)


def test_one_that_lies_moves_nobody() -> None:
    assert believe((A,), said(A, A, B), 3) == (A,)
    assert believe((A,), said(A, B), 2) == (A,), "not even if only two can say anything"
    assert believe((A,), said(B), 3) == (A,), "nor if it is the first after a start"
    assert believe((A,), said(A, A, A, SIX), 4) == (A,), "nor by a family that nobody else speaks of"
    assert believe((), said(A, A, SIX), 3) == (A,)


def test_an_address_stands_until_enough_say_another() -> None:
    assert believe((A,), {}, 3) == (A,)
    assert believe((A,), said(B, C), 2) == (A,)
    assert believe((A,), said(A, B, B), 3) == (B,)


def test_each_may_see_a_node_by_another_family() -> None:
    assert believe((), said(A, SIX), 2) == (SIX, A)
    assert believe((A,), said(A, A, SIX, SIX, SIX), 5) == (A, SIX), "what is named keeps its place"
    assert believe((A, SIX), said(B, B), 2) == (SIX, B), "nobody is there to say anything of IPv6"


def test_what_is_valid_everywhere_comes_first() -> None:
    assert believe((PRIVATE,), said(PRIVATE, PRIVATE, PRIVATE, PUBLIC, PUBLIC), 5) == (PUBLIC, PRIVATE)


def test_what_was_found_keeps_its_order() -> None:
    assert follow((), [A, SIX, A]) == (A, SIX)
    assert follow((SIX, A), [A, SIX]) == (SIX, A)
    assert follow((SIX, A), [B, A]) == (A, B)
    assert follow((SIX, A), []) == (SIX, A), "a host that has no address for a moment"


@pytest.fixture
def table() -> Table:
    return Table()


def hears(party: Party, other: str, sees: str | None, link: int, now: float) -> None:
    """A link with another node, which says where it sees this one."""
    party.engine.link_up(link, credentials(other).certificate, False, now)
    hello = Hello(*PROTOCOLS, MESH, b"8 bytes!", bytes(32), Items(), sees=sees)
    party.engine.receive(link, encode(hello), now)


def test_each_side_is_told_where_it_is_seen(table: Table) -> None:
    one = table.party("p0")
    for link, remote, told in ((1, "::ffff:198.18.0.1", "198.18.0.1"), (2, "fe80::1%eth0", None), (3, None, None)):
        one.engine.link_up(link, credentials(f"p{link}").certificate, False, table.now, None, remote)
        table.pump()
        greeting = next(message for number, message in one.sent if number == link)
        assert isinstance(greeting, Hello) and greeting.sees == told


def test_an_older_agent_says_nothing_of_it(table: Table) -> None:
    one, two = table.party("p0"), table.party("p1")
    table.link(one, two)
    assert one.engine.observed() == {} and not one.found(Observed)
    frame = encode(Hello(*PROTOCOLS, MESH, b"8 bytes!", bytes(32), Items()))
    assert frame[0] == 0x99 and frame.endswith(b"\xc0")
    older = decode(b"\x98" + frame[1:-1])
    assert isinstance(older, Hello) and older.sees is None


def test_only_what_peers_say_on_links_that_stand_counts(table: Table) -> None:
    one, two, client = table.party("p0"), table.party("p1"), table.party("c0", Role.CLIENT)
    table.link(one, two)
    table.link(client, one)
    table.link(client, two)
    table.wait(1)
    hears(one, "p1", "198.18.0.1", 101, table.now)
    hears(one, "c0", "198.18.0.2", 102, table.now)
    hears(one, "p9", "198.18.0.3", 103, table.now)
    table.pump()
    assert one.found(Observed)
    assert one.engine.observed() == {two.key: A}, "the client and the stranger do not count"
    one.engine.link_down(101, table.now)
    assert one.engine.observed() == {}


def test_what_is_no_address_outside_is_not_heard(table: Table) -> None:
    one, two = table.party("p0"), table.party("p1")
    table.link(one, two)
    for link, text in enumerate(("nonsense", "127.0.0.1", str(mesh_prefix(MESH)[7])), 101):
        hears(one, "p1", text, link, table.now)
        assert one.engine.observed() == {}
    assert one.engine.counters["bad_frames"] == 0
