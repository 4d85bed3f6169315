"""Bodies of entries: documented fields, limits, and fields of newer agents."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from smegmesh.crdt.entry import ACCEPT_ALL, BridgedRoute, Entry, PairTags, Role
from smegmesh.crdt.entry_codec import MAX_DEPTH, decode_entry, encode_entry
from smegmesh.crdt.record import MAX_BODY, Kind, RecordError

KEY = bytes(range(32))
PEER = Entry(
    name="a1",
    role=Role.PEER,
    tunnel_key=KEY,
    tunnel_proof=KEY * 3,
    endpoints=("198.18.0.11:51820", "[2001:db8::11]:51820"),
    links=("a1.example.org:4000",),
    alias="web",
    description="the web host, Zürich",
    services={"http": "tcp/80", "dns": "udp/53"},
    advertise=("2001:db8:10::/48", "::/0", "198.18.5.0/24"),
    bridge=True,
    routes=(BridgedRoute(("office",)), BridgedRoute(("office", "lab"), "2001:db8:20::/48")),
    masquerade=False,
    static_peers={"phone": b"s" * 32, "printer": b"t" * 32},
    preshared={"a2": PairTags((b"t" * 8, b"u" * 8), (b"u" * 8,)), "a3": PairTags((b"t" * 8,))},
    agent="0.1.0",
)
CLIENT = Entry(
    name="laptop", role=Role.CLIENT, tunnel_key=KEY, home=b"h" * 32, backup=b"b" * 32, accept=(ACCEPT_ALL, "::/0")
)
LEAST = {"n": "a1", "r": "peer", "k": KEY}


def body(**fields: object) -> bytes:
    return msgspec.msgpack.encode({**LEAST, **fields})


@pytest.mark.parametrize("entry", [PEER, CLIENT, Entry("x", Role.PEER, KEY)])
def test_an_entry_comes_back(entry: Entry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


def test_fields_have_the_documented_names_and_defaults_are_left_out() -> None:
    assert set(msgspec.msgpack.decode(encode_entry(PEER))) == set("nrkqeladsvgpmtyw")
    assert msgspec.msgpack.decode(encode_entry(CLIENT)) == {
        "n": "laptop",
        "r": "client",
        "k": KEY,
        "h": b"h" * 32,
        "b": b"b" * 32,
        "c": ["*", "::/0"],
    }


def test_equal_entries_have_equal_bodies() -> None:
    turned = {name: PEER.services[name] for name in reversed(PEER.services)}
    assert encode_entry(replace(PEER, services=turned)) == encode_entry(PEER)


def test_fields_of_newer_agents_survive_as_they_are() -> None:
    newer = body(zz=[1, {"deep": [b"x"]}], future="yes")
    entry = decode_entry(newer)
    assert set(entry.unknown) == {"zz", "future"}
    again = decode_entry(encode_entry(entry))
    assert again == entry
    assert msgspec.msgpack.decode(encode_entry(entry)) == msgspec.msgpack.decode(newer)


def test_a_known_field_cannot_pass_as_an_unknown_one() -> None:
    with pytest.raises(RecordError, match=r"\['n'\]"):
        encode_entry(Entry("a1", Role.PEER, KEY, unknown={"n": b"\xa1x"}))


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_unknown_fields_are_nested_to_a_limit_that_no_stack_decides() -> None:
    assert decode_entry(body(zz=nested(MAX_DEPTH))).unknown
    with pytest.raises(RecordError, match="'zz' is nested"):
        decode_entry(body(zz=nested(MAX_DEPTH + 1)))
    with pytest.raises(RecordError):
        decode_entry(b"\x81\xa1z" + b"\x91" * 60_000 + b"\x01")


def test_limits_are_held_exactly() -> None:
    routes = [f"2001:db8:{number:x}::/48" for number in range(1, 257)]
    services = {f"s{number}": "v" * 255 for number in range(64)}
    full = decode_entry(body(v=routes, s=services, a="a" * 63, d="d" * 255, e=["a:1"] * 16, l=["a:1"] * 16))
    assert len(full.advertise) == 256
    assert len(encode_entry(full)) < MAX_BODY[Kind.ENTRY]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"n": ""}, "node name"),
        ({"n": "a b"}, "node name"),
        ({"r": "server"}, r"\.r"),
        ({"k": bytes(31)}, r"\.k"),
        ({"k": "text"}, r"\.k"),
        ({"q": bytes(95)}, r"\.q"),
        ({"h": KEY}, "home"),
        ({"r": "client", "e": ["a:1"]}, "endpoints"),
        ({"a": "-a"}, "alias"),
        ({"a": "Web"}, "alias"),
        ({"a": "a" * 64}, "alias"),
        ({"a": "web\n"}, "alias"),
        ({"d": "d" * 256}, "description has 256"),
        ({"d": "\u00fc" * 128}, "description has 256"),
        ({"d": "a\x1b[2J"}, "description"),
        ({"w": "\0"}, "agent"),
        ({"s": {f"s{number}": "" for number in range(65)}}, r"\.s"),
        ({"s": {"": "x"}}, "service ''"),
        ({"t": {"Phone": KEY}}, "static peer 'Phone' is no DNS label"),
        ({"t": {"phone": KEY[1:]}}, r"\.t"),
        ({"t": {"phone": KEY, "tablet": KEY}}, "two static peers have one key"),
        ({"t": {f"s{number}": bytes([number]) * 32 for number in range(65)}}, r"\.t"),
        ({"t": {"phone": KEY}, "r": "client"}, "a client carries nobody"),
        ({"y": {"a b": [[], []]}}, "preshared keys: node name"),
        ({"y": {"a2": [[], [b"t" * 8]]}}, "accepts a preshared key with a2 that it does not offer"),
        ({"y": {"a2": [[b"t" * 9], []]}}, r"\.y"),
        ({"y": {"a2": [[b"t" * 8] * 5, []]}}, r"\.y"),
        ({"y": {f"h{number}": [[], []] for number in range(65)}}, r"\.y"),
        ({"s": {"web": "x" * 256}}, "service web has 256"),
        ({"s": {"web": 80}}, r"\.s"),
        ({"v": [f"2001:db8:{number:x}::/48" for number in range(1, 258)]}, r"\.v"),
        ({"v": ["2001:db8::1/48"]}, "host bits"),
        ({"v": ["2001:DB8::/48"]}, "canonical form \\('2001:db8::/48'"),
        ({"v": ["198.18.0.0/255.255.0.0"]}, "canonical form \\('198.18.0.0/16'"),
        ({"v": ["everywhere"]}, "prefix"),
        ({"v": ["fe80::%1/64"]}, "prefix"),
        ({"v": ["::ffff:102:0/112"]}, "IPv4-mapped"),
        ({"v": ["::ffff:1.2.0.0/112"]}, "IPv4-mapped"),
        ({"v": ["::/0", "::/0"]}, "twice"),
        ({"g": True, "p": [[None, []]]}, r"\.p"),
        ({"g": True, "p": [[None, [f"m{number}" for number in range(17)]]]}, r"\.p"),
        ({"g": True, "p": [[None, ["a", "b", "a"]]]}, "twice: a b a"),
        ({"g": True, "p": [[None, ["A"]]]}, "path of a route"),
        ({"g": True, "p": [["2001:db8::1/48", ["a"]]]}, "host bits"),
        ({"g": True, "p": [[None, ["a"]], [None, ["a"]]]}, "route is there twice"),
        ({"g": True, "p": [[None, [f"m{number}"]] for number in range(257)]}, r"\.p"),
        ({"g": True, "p": [[None, ["a"], 1]]}, r"\.p"),
        ({"p": [[None, ["a"]]]}, "only a bridge"),
        ({"r": "client", "g": True}, "no bridge"),
        ({"c": ["*"]}, "accepts itself"),
        ({"r": "client", "c": ["all"]}, "prefix"),
        ({"e": ["a:1"] * 17}, r"\.e"),
        ({"e": ["a"]}, "endpoint 'a'"),
        ({"e": ["a:0"]}, "port"),
        ({"e": ["a:65536"]}, "port"),
        ({"e": ["a:\u0661"]}, "port"),
        ({"e": [":1"]}, "endpoint"),
        ({"e": ["2001:db8::1:51820"]}, "endpoint"),
        ({"e": ["[198.18.0.1]:1"]}, "endpoint"),
        ({"e": ["[fe80::1%eth0]:1"]}, "endpoint"),
        ({"e": ["a b:1"]}, "endpoint"),
        ({"l": ["a" * 256 + ":1"]}, "link"),
        ({"g": 1}, r"\.g"),
        ({"zz": b"x" * 65_536}, "entry has"),
    ],
)
def test_an_error_says_what_is_wrong(fields: dict[str, object], what: str) -> None:
    with pytest.raises(RecordError, match=what):
        decode_entry(body(**fields))


def test_an_error_quotes_a_stranger_at_no_great_length() -> None:
    with pytest.raises(RecordError) as error:
        decode_entry(body(a="\n" * 60_000))
    assert len(str(error.value)) <= RecordError.MAX_TEXT
    assert str(error.value).isprintable()


def test_the_writer_hears_of_a_broken_limit_first() -> None:
    with pytest.raises(RecordError, match="alias"):
        encode_entry(Entry("a1", Role.PEER, KEY, alias="_"))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x80",
        b"\x90",
        encode_entry(PEER) + b"\0",
        encode_entry(PEER)[:-1],
        b"\x84" + body()[1:] + b"\xa1n\xa2a2",
        b"\xde\x00\x03" + body()[1:],
        b"\xdf\xff\xff\xff\xff",
        b"\x81\x01\x02",
    ],
)
def test_bytes_that_are_no_map_or_have_a_field_twice_are_refused(bad: bytes) -> None:
    with pytest.raises(RecordError, match="entry"):
        decode_entry(bad)
