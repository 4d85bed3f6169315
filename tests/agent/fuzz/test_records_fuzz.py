"""Decoders under mutated input: they raise RecordError alone, and use little memory.

Seeded and bounded: FUZZ_SECONDS (10) for all decoders together, FUZZ_SEED (1) to begin
with. A failure names the decoder, the seed and the input.
"""

from __future__ import annotations

import os
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator

import msgspec
import pytest

from crdt_nodes import Node
from smegmesh.crdt.entry_codec import decode_entry, encode_entry
from smegmesh.crdt.record import MAX_BODY, Kind, RecordError, decode_header, decode_record
from smegmesh.crdt.removal import decode_removal, leave, prune, revoke
from smegmesh.crdt.verdict import Accusation, decode_verdict, encode_verdict

SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))

NODE = Node("a1", bridges=("*",), prefixes=("::/0",))
ENTRY = NODE.entry(
    endpoints=("198.18.0.11:51820", "[2001:db8::11]:51820"),
    links=("a1.example.org:4000",),
    alias="web",
    description="the web host",
    services={"http": "tcp/80"},
    advertise=("2001:db8:10::/48", "::/0"),
    bridge=True,
    agent="0.1.0",
    unknown={"zz": msgspec.msgpack.encode([1, {"deep": [b"x", None, 1.5]}])},
)
RECORD = NODE.sign(Kind.ENTRY, 7, encode_entry(ENTRY))
REMOVALS = [leave(NODE.sign(Kind.LEAVE, 8)), prune(RECORD), revoke(NODE.key, b"smegmesh-revocation-1 prod")]

Decoder = Callable[[bytes], object]

DECODERS: dict[str, tuple[Decoder, list[bytes]]] = {
    "header": (
        lambda data: decode_header(data, RECORD.signature),
        [NODE.sign(kind, 1).header for kind in Kind] + [RECORD.header],
    ),
    "record": (lambda data: decode_record(RECORD.header, RECORD.signature, data), [RECORD.body]),
    "entry": (decode_entry, [RECORD.body, encode_entry(Node("b").entry())]),
    "verdict": (
        decode_verdict,
        [encode_verdict({Node(name).key: Accusation(5, mute=name in "cd") for name in "abcd"})],
    ),
    "removal": (decode_removal, [removal.encode() for removal in REMOVALS]),
}

#: First bytes of every MessagePack type, and of the lengths that lie most.
TYPES = bytes([0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, *range(0xC0, 0xE0), 0xFF])
HUGE = [bytes([first]) + b"\xff" * size for first in (0xC6, 0xC9, 0xDB, 0xDD, 0xDF) for size in (4, 5)]
HUGE += [bytes([first]) + b"\xff\xff" for first in (0xC5, 0xC8, 0xDA, 0xDC, 0xDE)]
VALUES: list[object] = [None, True, -1, 0, 2**63, 2**64 - 1, 1.5, float("nan"), "", "\x00", "é" * 300, b"", bytes(40)]
VALUES += [[], {}, [[]], {"n": {}}, {1: 2}, {"": ""}, list(range(300)), {str(number): "" for number in range(70)}]
VALUES += [msgspec.msgpack.Ext(5, b"x"), msgspec.msgpack.Ext(-1, b"1234")]


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def swap_type(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes([rng.choice(TYPES)]) + data[at + 1 :]


def swap_value(data: bytes, rng: random.Random) -> bytes:
    """Replace one value of the outermost array or map, well-formed, by one of another kind."""
    try:
        value = msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return flip(data, rng)
    if not isinstance(value, (list, dict)) or not value:
        return msgspec.msgpack.encode(rng.choice(VALUES))
    at = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    try:
        value[at] = [rng.choice(VALUES), value[at]] if rng.random() < 0.2 else rng.choice(VALUES)
        return msgspec.msgpack.encode(value)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return flip(data, rng)


def add_field(data: bytes, rng: random.Random) -> bytes:
    """One more element than the first byte said, or than it says now."""
    first = bytes([(data[0] + 1) & 0xFF]) if data else b"\x81"
    return first + data[1:] + rng.choice((b"\xa1n\xa1x", b"\xa2zz" + deep(rng), deep(rng)))


def deep(rng: random.Random) -> bytes:
    depth = rng.choice((1, 8, 9, 100, 1000, 5000, 60_000))
    return rng.choice((b"\x91", b"\x81\xa1a", b"\x81", b"\xdd\x00\x00\x00\x01")) * depth + b"\xc0"


def nest(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + deep(rng) + data[at:]


def lie(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(HUGE) + data[at + rng.randrange(6) :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.randrange(1, 64)]
    return data[:start] + piece * rng.choice((2, 3, 100, 5000)) + data[start:]


def noise(data: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 2, 16, 300)))


MUTATIONS = (truncate, flip, swap_type, swap_value, add_field, nest, lie, repeat, noise)
LONGEST = 2 * max(MAX_BODY.values())


def mutants(seeds: list[bytes], rng: random.Random, seconds: float) -> Iterator[bytes]:
    """Seeds with one to three mutations, until the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 2, 3))):
            data = rng.choice(MUTATIONS)(data, rng)[:LONGEST]
        yield data


def survives(decode: Decoder, data: bytes) -> bool:
    """Whether the data was taken; anything but RecordError passes on."""
    try:
        decode(data)
    except RecordError:
        return False
    return True


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_raise_record_errors_alone(name: str) -> None:
    decode, seeds = DECODERS[name]
    assert all(survives(decode, seed) for seed in seeds)
    for data in mutants(seeds, random.Random(f"{SEED} {name}"), 0.8 * SECONDS / len(DECODERS)):
        try:
            survives(decode, data)
        except Exception as error:
            pytest.fail(f"{name}, FUZZ_SEED={SEED}: {error!r} on {data[:2000].hex()} ({len(data)} bytes)")


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_use_memory_in_proportion_to_their_input(name: str) -> None:
    """A length that lies must not be believed: at most 64 bytes for one of input, and some for an error."""
    decode, seeds = DECODERS[name]
    tracemalloc.start()
    try:
        for data in mutants(seeds, random.Random(f"{SEED} memory {name}"), 0.2 * SECONDS / len(DECODERS)):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            survives(decode, data)
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < 256 * 1024 + 64 * len(data), f"FUZZ_SEED={SEED}: {data[:2000].hex()}"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["entry", "verdict", "removal", "header"])
def test_what_is_taken_is_read_the_same_way_again(name: str) -> None:
    """Decoding is a function of the bytes: no stack depth, no state decides whether an entry is taken."""
    decode, seeds = DECODERS[name]

    def deeper(levels: int, data: bytes) -> bool:
        return survives(decode, data) if levels == 0 else deeper(levels - 1, data)

    for data in mutants(seeds, random.Random(f"{SEED} twice {name}"), SECONDS / 40):
        assert survives(decode, data) == deeper(300, data), f"FUZZ_SEED={SEED}: {data[:2000].hex()}"
