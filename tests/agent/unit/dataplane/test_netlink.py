"""Netlink: layouts against bytes written out by hand, and exchanges with the running kernel that change nothing."""

import contextlib
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smegmesh.dataplane import netlink
from smegmesh.dataplane.netlink import (
    ROUTE,
    Message,
    NetlinkError,
    attribute,
    attributes,
    batches,
    connection,
    error_of,
    message,
    messages,
)

GET_LINK, NEW_LINK, LINK_NAME = 18, 16, 3
LINK_HEADER = bytes(16)


def test_an_attribute_is_length_kind_and_padded_payload():
    assert attribute(2, b"wg0\0") == struct.pack("=HH", 8, 2) + b"wg0\0"
    assert attribute(5, b"\x07") == struct.pack("=HH", 5, 5) + b"\x07\0\0\0"


def test_an_attribute_longer_than_its_length_field_is_refused():
    assert len(attribute(1, bytes(netlink.MAX_ATTRIBUTE - 4))) == 1 << 16
    with pytest.raises(ValueError, match="65536 bytes; 65535 is the most"):
        attribute(1, bytes(netlink.MAX_ATTRIBUTE - 3))


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_come_back_as_they_were(pairs):
    data = b"".join(attribute(kind | netlink.NESTED, payload) for kind, payload in pairs)
    assert [(kind, bytes(payload)) for kind, payload in attributes(memoryview(data))] == pairs


@pytest.mark.parametrize("length", [0, 3, 9, 0xFFFF])
def test_an_attribute_that_overruns_its_message_is_refused(length):
    with pytest.raises(ValueError, match=f"attribute 1 of {length} bytes in 8"):
        list(attributes(memoryview(struct.pack("=HHI", length, 1, 0))))


@given(st.binary(max_size=64))
def test_no_bytes_do_worse_than_a_value_error(data):
    for read in (
        lambda: list(messages(data)),
        lambda: list(attributes(memoryview(data))),
    ):
        with contextlib.suppress(ValueError):
            read()


def test_a_message_is_header_and_payload():
    data = message(0x10, 0x5, 7, b"abcd")
    assert data == struct.pack("=IHHII", 20, 0x10, 0x5, 7, 0) + b"abcd"
    assert [(m.kind, m.flags, m.sequence, bytes(m.payload)) for m in messages(data + data)] == [
        (0x10, 0x5, 7, b"abcd")
    ] * 2


def test_a_message_that_overruns_its_datagram_is_refused():
    with pytest.raises(ValueError, match="message 16 of 20 bytes in 19"):
        list(messages(message(0x10, 0, 1, b"abcd")[:-1]))


def acknowledgement(code, flags=netlink.ACK_CAPPED, said=b""):
    payload = struct.pack("=i", -code) + bytes(16) + said
    return Message(2, flags, 1, memoryview(payload))


def test_an_acknowledgement_without_an_error_is_none():
    assert error_of(acknowledgement(0)) is None


def test_an_error_carries_the_kernels_own_words():
    said = attribute(1, b"Attribute failed policy validation\0")
    error = error_of(acknowledgement(errno.EINVAL, netlink.ACK_CAPPED | netlink.ACK_ATTRIBUTES, said))
    assert (error.errno, error.strerror) == (
        errno.EINVAL,
        "Invalid argument: Attribute failed policy validation",
    )
    assert error_of(acknowledgement(errno.EINVAL)).strerror == "Invalid argument"


def test_the_end_of_a_dump_carries_its_error():
    payload = struct.pack("=i", -errno.ENODEV) + attribute(1, b"No such device\0")
    error = error_of(Message(3, netlink.ACK_ATTRIBUTES, 1, memoryview(payload)))
    assert error.strerror == "No such device: No such device"


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40), st.integers(1, 5))
def test_batches_keep_order_size_and_count(items, limit, count):
    made = list(batches(items, limit, count))
    assert [item for batch in made for item in batch] == items
    for batch in made:
        assert batch and len(batch) <= count
        assert len(batch) == 1 or sum(map(len, batch)) <= limit


def test_the_kernel_answers_a_query():
    with connection(ROUTE) as route:
        answers = route.query(GET_LINK, LINK_HEADER + attribute(LINK_NAME, b"lo\0"))
    (link,) = [answer for answer in answers if answer.kind == NEW_LINK]
    assert bytes(dict(attributes(link.payload[16:]))[LINK_NAME]) == b"lo\0"


def test_a_dump_has_every_message():
    with connection(ROUTE) as route:
        answers = route.dump(GET_LINK, LINK_HEADER)
    names = [bytes(dict(attributes(answer.payload[16:]))[LINK_NAME]) for answer in answers if answer.kind == NEW_LINK]
    assert b"lo\0" in names


def test_a_refusal_is_raised_and_the_connection_stays_usable():
    with connection(ROUTE) as route:
        with pytest.raises(NetlinkError) as refused:
            route.query(GET_LINK, LINK_HEADER + attribute(LINK_NAME, b"no-such-link\0"))
        assert refused.value.errno == errno.ENODEV
        assert route.query(GET_LINK, LINK_HEADER + attribute(LINK_NAME, b"lo\0"))


def test_the_first_of_many_requests_that_is_refused_is_raised():
    unknown, malformed = LINK_HEADER + attribute(LINK_NAME, b"no-such-link\0"), b""
    with connection(ROUTE) as route:
        with pytest.raises(NetlinkError) as refused:
            route.request(GET_LINK, [unknown, *[malformed] * 200])
        assert refused.value.errno == errno.ENODEV


def test_what_became_of_each_attempt_is_told_in_order():
    known, unknown = (LINK_HEADER + attribute(LINK_NAME, name) for name in (b"lo\0", b"no-such-link\0"))
    with connection(ROUTE) as route:
        refused = route.attempt(GET_LINK, [unknown, known] * 10)
        assert route.attempt(GET_LINK, []) == []
    assert [error and error.errno for error in refused] == [errno.ENODEV, None] * 10


def test_a_kernel_that_does_not_answer_is_a_timeout():
    no_operation = 1
    with (
        connection(ROUTE, timeout=0.01) as route,
        pytest.raises(NetlinkError, match="did not answer in time") as late,
    ):
        route.dump(no_operation, b"")
    assert late.value.errno == errno.ETIMEDOUT
