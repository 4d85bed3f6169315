"""What is encoded comes back, fields of newer agents included."""

from __future__ import annotations

import string
from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from crdt_nodes import MESH, Node
from smegmesh.crdt.entry import ACCEPT_ALL, BridgedRoute, Entry, PairTags, Role
from smegmesh.crdt.entry_codec import decode_entry, encode_entry
from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.record import Kind, decode_record
from smegmesh.crdt.statement import accept_entry
from smegmesh.crdt.verdict import Accusation, decode_verdict, encode_verdict
from smegmesh.identity.address import node_address

keys = st.binary(min_size=32, max_size=32)
text = st.text(string.ascii_letters + "äß€ .,", max_size=60)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
ports = st.integers(1, 65535)
endpoints = st.lists(
    st.one_of(
        st.builds("{}:{}".format, labels, ports),
        st.builds("{}:{}".format, st.ip_addresses(v=4), ports),
        st.builds("[{}]:{}".format, st.ip_addresses(v=6), ports),
    ),
    max_size=16,
).map(tuple)
prefixes = st.lists(
    st.one_of(
        st.integers(0, 2**24 - 1).map(lambda bits: f"{bits >> 16}.{bits >> 8 & 255}.{bits & 255}.0/24"),
        st.integers(0x2000, 0x3FFF).map("{:x}::/16".format),
    ),
    unique=True,
    max_size=20,
).map(tuple)
paths = st.lists(labels.map("m{}".format), unique=True, min_size=1, max_size=16).map(tuple)
routes = st.lists(
    st.builds(BridgedRoute, paths, st.none() | prefixes.filter(bool).map(lambda some: some[0])), unique=True, max_size=8
).map(tuple)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | text | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
unknown = st.dictionaries(text.filter(lambda name: len(name) != 1), values, max_size=4)
STATIC = [bytes([number]) * 32 for number in range(1, 6)]
NODE = Node("a1", prefixes=("::/0", "0.0.0.0/0", *(f"{node_address(MESH, key)}/128" for key in STATIC)), bridges=("*",))
static = st.dictionaries(labels, st.sampled_from(STATIC), max_size=5).filter(
    lambda peers: len({*peers.values()}) == len(peers)
)
tags = st.lists(st.binary(min_size=8, max_size=8), max_size=4, unique=True)
pair_tags = tags.flatmap(
    lambda offered: (
        st.lists(st.sampled_from(offered), max_size=4, unique=True).map(
            lambda accepted: PairTags(tuple(offered), tuple(accepted))
        )
        if offered
        else st.just(PairTags())
    )
)
common = {
    "preshared": st.dictionaries(labels, pair_tags, max_size=4),
    "name": st.just("a1"),
    "tunnel_key": keys,
    "tunnel_proof": st.none() | st.binary(min_size=96, max_size=96),
    "alias": st.none() | labels,
    "description": st.none() | text,
    "services": st.dictionaries(labels, text, max_size=8),
    "advertise": prefixes,
    "masquerade": st.booleans(),
    "agent": text,
    "unknown": unknown.map(lambda fields: {name: msgspec.msgpack.encode(value) for name, value in fields.items()}),
}
entries = st.one_of(
    st.builds(Entry, role=st.just(Role.PEER), endpoints=endpoints, links=endpoints, static_peers=static, **common),
    st.builds(Entry, role=st.just(Role.PEER), bridge=st.just(True), routes=routes, **common),
    st.builds(
        Entry,
        role=st.just(Role.CLIENT),
        home=st.none() | keys,
        backup=st.none() | keys,
        accept=prefixes | st.just((ACCEPT_ALL,)),
        **common,
    ),
)


@given(entries)
def test_entries_come_back(entry: Entry) -> None:
    body = encode_entry(entry)
    assert decode_entry(body) == entry
    assert encode_entry(decode_entry(body)) == body


@given(entries, st.integers(1, MAX_NUMBER), st.binary(min_size=8, max_size=8))
def test_records_are_relayed_to_the_byte(entry: Entry, number: int, instance: bytes) -> None:
    entry = replace(entry, tunnel_key=NODE.key)
    record = NODE.sign(Kind.ENTRY, number, encode_entry(entry), instance=instance)
    again = decode_record(record.header, record.signature, record.body)
    assert (again, again.order, again.seen) == (record, record.order, record.seen)
    assert accept_entry(again, MESH, NODE.certificate).entry == entry


@given(st.dictionaries(keys, st.builds(Accusation, st.integers(0, MAX_NUMBER), st.booleans()), max_size=40))
def test_verdicts_come_back(accused: dict[bytes, Accusation]) -> None:
    assert decode_verdict(encode_verdict(accused)) == accused
