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
from mutations import MUTATIONS

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
