"""The requests that wait: how many, of whom, for how long, and how often one may come."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.control.errors import Rejected
from smegmesh.daemon.joins import Joins, Limits, Pace, source_of
from smegmesh.identity.certificate import make_request
from smegmesh.identity.joining import Join, read_join
from smegmesh.identity.keys import IdentityKey

LIMITS = Limits()
HOUR = 3600.0


def join(name: str) -> Join:
    return read_join("prod", make_request(IdentityKey.generate(), name, bytes(32)))


def test_there_are_bounds_for_all_and_for_each_source() -> None:
    joins = Joins(LIMITS)
    for number in range(LIMITS.pending):
        joins.ask(join(f"n{number}"), f"198.18.{number // LIMITS.per_source}.1", 0.0)
    with pytest.raises(Rejected, match=r"4 requests of 198\.18\.0\.1 wait"):
        joins.ask(join("greedy"), "198.18.0.1", 0.0)
    with pytest.raises(Rejected, match="32 requests wait"):
        joins.ask(join("late"), "198.19.0.1", 0.0)
    assert joins.ask(join("next-day"), "198.18.0.1", 25 * HOUR)[1]
    assert len(joins.pending(25 * HOUR)) == 1


def test_those_that_have_their_certificate_take_no_place_of_others() -> None:
    joins = Joins(Limits(pending=2, per_source=2, approved=2))
    for number in range(3):
        joins.enrolled(join(f"n{number}"), "198.18.0.1", 0.0, b"certificate")
    assert [each.join.request.node_name for each in joins.pending(0.0)] == ["n1", "n2"]
    first, second = join("n3"), join("n4")
    assert joins.ask(first, "198.18.0.1", 0.0)[1] and joins.ask(second, "198.18.0.1", 0.0)[1]
    with pytest.raises(Rejected, match=r"2 requests of 198\.18\.0\.1 wait"):
        joins.ask(join("n5"), "198.18.0.1", 0.0)
    joins.approve(first.fingerprint, b"certificate")
    assert joins.ask(join("n6"), "198.18.0.1", 0.0)[1]
    joins.enrolled(second, "198.18.0.1", 0.0, b"certificate")
    assert [each.join.request.node_name for each in joins.pending(0.0)] == ["n3", "n6", "n4"]


def test_requests_for_a_mesh_that_is_gone_make_room() -> None:
    joins = Joins(Limits(pending=1))
    joins.ask(join("web3"), "198.18.0.1", 0.0)
    joins.keep(["prod"])
    with pytest.raises(Rejected, match="1 requests wait"):
        joins.ask(join("web4"), "198.18.0.2", 0.0)
    joins.keep(["office"])
    assert joins.ask(join("web4"), "198.18.0.2", 0.0)[1]


def test_a_request_that_comes_again_is_the_same_one() -> None:
    joins, asked = Joins(LIMITS), join("web3")
    first, new = joins.ask(asked, "198.18.0.1", 0.0)
    assert new and first.certificate is None
    joins.approve(asked.fingerprint, b"certificate")
    again, new = joins.ask(asked, "198.18.0.2", HOUR)
    assert (again.certificate, again.source, new) == (b"certificate", "198.18.0.1", False)
    assert joins.ask(asked, "198.18.0.1", 25 * HOUR)[0].certificate is None


def test_a_rejected_one_makes_room_and_does_not_come_back() -> None:
    joins, asked = Joins(Limits(rejected=1)), join("web3")
    joins.ask(asked, "198.18.0.1", 0.0)
    joins.reject(asked.fingerprint)
    assert joins.pending(0.0) == []
    with pytest.raises(Rejected, match="rejected"):
        joins.ask(asked, "198.18.0.1", HOUR)
    with pytest.raises(KeyError):
        joins.reject(asked.fingerprint)


def test_one_connection_of_a_source_in_a_while_and_few_sources() -> None:
    pace = Pace(10.0, 3)
    assert pace.admit("198.18.0.1", 0.0)
    assert not pace.admit("198.18.0.1", 9.0)
    assert not pace.admit("::ffff:198.18.0.1", 9.0)
    assert pace.admit("2001:db8::1", 9.0)
    assert not pace.admit("2001:db8::2", 9.0), "one has all the addresses of its network"
    assert pace.admit("2001:db8:0:1::1", 9.0)
    assert not pace.admit("198.18.0.3", 9.0), "too many sources at a time"
    assert pace.admit("198.18.0.1", 10.0)


@settings(deadline=None)
@given(st.integers(0, 2**128 - 1).map(IPv6Address) | st.integers(0, 2**32 - 1).map(IPv4Address))
def test_every_address_has_one_source(address: IPv4Address | IPv6Address) -> None:
    source = source_of(str(address))
    if isinstance(address, IPv4Address):
        assert source == str(address) == source_of(f"::ffff:{address}")
    elif address.ipv4_mapped is None:
        assert source == source_of(f"{address}%eth0") == source_of(source.removesuffix("/64"))
