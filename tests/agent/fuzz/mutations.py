"""Mutations of bytes that are MessagePack, of its values, and of what else it may hold. All from a seeded `rng`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

Mutation = Callable[[bytes, random.Random], bytes]

UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)

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
    except UNREADABLE:
        return flip(data, rng)
    if not isinstance(value, (list, dict)) or not value:
        return msgspec.msgpack.encode(rng.choice(VALUES))
    at = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    try:
        value[at] = [rng.choice(VALUES), value[at]] if rng.random() < 0.2 else rng.choice(VALUES)
        return msgspec.msgpack.encode(value)
    except UNREADABLE:
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


#: What knows nothing of what the bytes mean.
MUTATIONS: Sequence[Mutation] = (truncate, flip, swap_type, swap_value, add_field, nest, lie, repeat, noise)
