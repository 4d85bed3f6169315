"""Frames to fuzz an engine with: real ones of every kind, and what a certified node might make of them.

The same seed gives the same frames, in every process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from itertools import count
from random import Random
from typing import get_args
from unittest.mock import patch

import msgspec
from cryptography import x509
from mutations import MUTATIONS, UNREADABLE, VALUES, deep, flip

from smegmesh.crdt.digest import MapKind
from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.record import Kind, Record, decode_record, sign_record
from smegmesh.crdt.removal import Cause
from smegmesh.gossip.codec import (
    MAX_FRAME,
    MAX_ITEMS,
    MAX_NODES,
    PROTOCOLS,
    FrameError,
    Hello,
    Items,
    Message,
    Nodes,
    Slot,
    WantCertificates,
    WantItems,
    WantNodes,
    decode,
    encode,
)
from smegmesh.identity.revocation import make_revocation
from smegmesh.simulation.credentials import Credentials, authority_key, credentials, node_key
from smegmesh.simulation.mesh import MESH, Simulation

PEERS = tuple(f"p{number}" for number in range(22))  # with less, the digest tree has no second level
CLIENTS = ("c0", "c1")
NAMES = PEERS + CLIENTS

_Triple = tuple[bytes, bytes, bytes]
_MAPS = tuple(MapKind)
_NUMBERS = (0, 1, 2, 2**31, MAX_NUMBER - 1, MAX_NUMBER, MAX_NUMBER + 1, 2**64 - 1)
_pack = msgspec.msgpack.encode
_unpack = msgspec.msgpack.decode


@cache
def members() -> dict[str, Credentials]:
    """Who is in the mesh. Their certificates have the same bytes in every process: serial numbers are counted."""
    serials = count(1)
    credentials.cache_clear()
    with patch.object(x509, "random_serial_number", lambda: next(serials)):
        return {name: credentials(name) for name in NAMES}


@cache
def corpus(seed: int) -> list[bytes]:
    """Frames of every kind, from a mesh in which hosts come and go, and which is cut in halves for a while."""
    members()
    simulation = Simulation(seed, len(PEERS), len(CLIENTS), forget=15.0)
    frames: dict[bytes, None] = {}
    simulation.frames.append(lambda source, target, frame: frames.setdefault(frame))
    simulation.start()
    simulation.run_for(5)
    for name, fields in (
        ("p1", {"description": "the web host", "alias": "web", "services": {"http": "tcp/80"}}),
        ("p2", {"unknown": {"zz": _pack([1, {"deep": [b"x", None, 1.5]}])}, "agent": "9.9.9"}),
    ):
        entry = simulation.view(name).members[simulation.key(name)].entry
        simulation.call(name, "set_entry", replace(entry, **fields))
    simulation.kill_host("p4")
    simulation.run_for(5)
    simulation.lose_disk("p4")
    simulation.start("p4")
    simulation.run_for(5)
    simulation.partition(NAMES[::2], NAMES[1::2])
    simulation.run_for(5)
    for name in PEERS[:6]:
        entry = simulation.view(name).members[simulation.key(name)].entry
        simulation.call(name, "set_entry", replace(entry, description="cut off"))
    simulation.run_for(1)
    simulation.heal()
    simulation.run_for(10)
    unknown = sign_record(
        members()["p1"].identity, Kind.ENTRY, MESH, node_key("p1"), 999, bytes(8), bytes(32), b"later"
    )
    under_unknown = Items([(unknown.header, unknown.signature, unknown.body)])
    simulation.call("p2", "receive", next(iter(simulation.engine("p2").links())), encode(under_unknown))
    simulation.run_for(1)
    simulation.kill_host("p21")
    simulation.call("p3", "announce_restart")
    simulation.call("p3", "leave")
    simulation.call("p5", "revoke", make_revocation(authority_key(), MESH, node_key("p10")))
    simulation.run_for(25)  # p21 is pruned
    missing = set(get_args(Message)) - {type(decode(frame)) for frame in frames}
    assert not missing, f"no frame of {missing}"
    return list(frames)


def everything(frames: list[bytes]) -> Items:
    """All records, removals and certificates of some frames."""
    items = [item for item in map(items_of, frames) if item is not None]
    return Items(
        list(dict.fromkeys(triple for item in items for triple in item.records)),
        list(dict.fromkeys(data for item in items for data in item.removals)),
        [own.certificate.der for own in members().values()],
        True,
    )


def items_of(frame: bytes) -> Items | None:
    """The items that a frame carries, if it is one that can."""
    try:
        message = decode(frame)
    except FrameError:
        return None
    return message if isinstance(message, Items) else message.yours if isinstance(message, Hello) else None


class Mutator:
    """Makes frames of the frames in `pool`, to which the fuzzer adds what led somewhere new.

    `authors` are those in whose name it can sign, with weights; `keys` are the node keys that it writes about.
    """

    def __init__(self, rng: Random, frames: list[bytes], authors: Mapping[str, int], keys: Sequence[bytes]) -> None:
        self.pool = list(frames)
        self._rng = rng
        self._authors = list(authors)
        self._weights = list(authors.values())
        self._keys = keys
        self._items = everything(frames)
        self._records = [decode_record(*triple) for triple in self._items.records]
        self._questions = [frame for frame in frames if isinstance(decode(frame), WantCertificates)]
        self._numbers = count(1000)

    def frame(self) -> bytes:
        """The next one."""
        rng = self._rng
        make = rng.choices(
            (self._of_bytes, self._of_values, self._signed, self._items_anew, self._large), (300, 400, 200, 95, 5)
        )[0]
        frame = make()
        if rng.random() < 0.1:
            frame = rng.choice(MUTATIONS)(frame, rng)
        return frame[: MAX_FRAME + rng.randrange(2)]

    # Of the bytes and of the values

    def _of_bytes(self) -> bytes:
        rng = self._rng
        frame = rng.choice(self.pool)
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            if rng.random() < 0.2:
                other = rng.choice(self.pool)
                frame = frame[: rng.randrange(len(frame) + 1)] + other[rng.randrange(len(other) + 1) :]
            else:
                frame = rng.choice(MUTATIONS)(frame, rng)
        return frame

    def _of_values(self) -> bytes:
        frame = self._rng.choice(self.pool)
        for _ in range(self._rng.choice((1, 1, 2, 4))):
            frame = self._changed(frame)
        return frame

    def _changed(self, data: bytes) -> bytes:
        """MessagePack with one value changed, however deep, also within bytes that are MessagePack themselves."""
        try:
            return _pack(self._change(_unpack(data)))
        except UNREADABLE:
            return flip(data, self._rng)

    def _change(self, value: object) -> object:
        rng = self._rng
        if isinstance(value, list) and value and rng.random() < 0.85:
            at = rng.randrange(len(value))
            return [*value[:at], self._change(value[at]), *value[at + 1 :]]
        if isinstance(value, dict) and value and rng.random() < 0.85:
            key = rng.choice(list(value))
            return {**value, key: self._change(value[key])}
        if isinstance(value, bytes) and len(value) > 8 and value[0] & 0xE0 == 0x80 and rng.random() < 0.6:
            return self._changed(value)
        return self._other(value)

    def _other(self, value: object) -> object:
        rng = self._rng
        if rng.random() < 0.3:
            return rng.choice((*VALUES, [value], msgspec.Raw(deep(rng)), self._donated()))
        if isinstance(value, bool) or not isinstance(value, int | bytes | list):
            return rng.choice(VALUES)
        if isinstance(value, int):
            return rng.choice((*_NUMBERS, value + 1, value - 1))
        if isinstance(value, bytes):
            return rng.choice(
                (flip(value, rng), value[:-1], value + b"\0", rng.randbytes(len(value)), self._key(), value * 2)
            )
        return rng.choice((self._again(value), value[1:], value[::-1], [], [*value, rng.choice(VALUES)]))

    def _again(self, value: list[object]) -> list[object]:
        """The values more than once, but no more than fit a frame."""
        size = len(_pack(value))
        return value * min(self._rng.choice((2, 3, 20, 1500)), MAX_FRAME // size + 1)

    def _donated(self) -> object:
        try:
            value = _unpack(self._rng.choice(self.pool))
        except UNREADABLE:
            return b""
        while isinstance(value, list) and value and self._rng.random() < 0.8:
            value = self._rng.choice(value)
        return value

    # What a certified node may sign

    def _signed(self) -> bytes:
        rng = self._rng
        triples = [self._triple() for _ in range(rng.choice((1, 1, 1, 2, 5)))]
        removals = [_pack([rng.choice(list(Cause)), *self._triple()[:2]]) for _ in range(rng.choice((0, 0, 1)))]
        items = Items(triples, removals, sync=rng.random() < 0.5)
        if rng.random() < 0.1:
            return encode(
                Hello(
                    PROTOCOLS[0],
                    PROTOCOLS[1] + rng.randrange(2),
                    MESH,
                    rng.randbytes(8),
                    rng.randbytes(32),
                    items,
                    rng.random() < 0.5,
                    rng.choice([None, "198.18.0.1", "fd00::1", "::", "no address"]),
                )
            )
        return encode(items)

    def _triple(self) -> _Triple:
        """A record of the mesh, changed and signed again, mostly by an author for itself."""
        rng = self._rng
        own = members()[rng.choices(self._authors, self._weights)[0]]
        record = rng.choice(self._records)
        body = self._body(record)
        header = [
            1,
            int(record.kind if rng.random() < 0.95 else rng.choice(list(Kind))),
            MESH if rng.random() < 0.97 else "office",
            own.certificate.grant.node_key if rng.random() < 0.95 else self._key(),
            rng.choices((next(self._numbers), rng.choice(_NUMBERS), record.number), (300, 1, 9))[0],
            record.instance if rng.random() < 0.5 else rng.randbytes(8),
            own.certificate.fingerprint if rng.random() < 0.95 else rng.randbytes(32),
            sha256(body).digest(),
        ]
        raw = _pack(header) if rng.random() < 0.95 else self._changed(_pack(header))
        signature = own.identity.sign(b"smegmesh/record\0" + raw)
        return raw, signature if rng.random() < 0.95 else flip(signature, rng), body

    def _body(self, record: Record) -> bytes:
        rng = self._rng
        if record.kind is Kind.LEAVE:
            return b"" if rng.random() < 0.9 else rng.randbytes(3)
        if rng.random() < 0.3:
            return self._changed(record.body)
        if record.kind is Kind.VERDICT:
            accused = sorted({self._key() for _ in range(rng.randrange(6))})
            split = rng.randrange(len(accused) + 1)
            numbers = [rng.choice((0, 1, 1000, MAX_NUMBER)) for _ in accused]
            fields: dict[str, object] = {"d": b"".join(accused[:split]), "m": b"".join(accused[split:]), "n": numbers}
            return _pack({name: value for name, value in fields.items() if value})
        fields = _unpack(record.body)
        if rng.random() < 0.3:
            fields.pop("e", None), fields.pop("l", None)
            fields |= {"r": "client", "h": self._key(), "b": self._key()}
        if rng.random() < 0.3:
            fields |= {rng.choice("neladwkx"): rng.choice(VALUES)}
        return _pack(fields)

    def _key(self) -> bytes:
        rng = self._rng
        return rng.choice((rng.choice(self._keys), rng.choice(self._keys), bytes(32), rng.randbytes(32)))

    # Well-formed, and much

    def _items_anew(self) -> bytes:
        rng = self._rng
        kind = rng.randrange(5)
        if kind == 0:
            return encode(WantItems([self._slot() for _ in range(rng.choice((0, 1, 40)))]))
        if kind == 1:
            return encode(WantNodes([self._prefix() for _ in range(rng.choice((0, 1, 40)))]))
        if kind == 2:
            digests = [rng.randbytes(32) for _ in range(16)]
            return encode(Nodes(inner=[(self._prefix(), digests) for _ in range(rng.choice((1, 40)))]))
        if kind == 3:
            leaf = [(*self._slot(), (rng.choice(_NUMBERS[:-1]), rng.randbytes(32))) for _ in range(rng.randrange(3))]
            return encode(Nodes(leaves=[(self._prefix(), leaf) for _ in range(rng.choice((1, 40)))]))
        every = self._items
        some = [rng.choice(every.records) for _ in range(rng.randrange(9))]
        ders = [rng.choice((der, flip(der, rng), der[:-1])) for der in rng.sample(every.certificates, rng.randrange(3))]
        return encode(Items(some, rng.sample(every.removals, rng.randrange(2)), ders, rng.random() < 0.5))

    def _large(self) -> bytes:
        rng = self._rng
        kind = rng.randrange(8)
        if kind == 0:
            return encode(WantItems([self._slot() for _ in range(MAX_ITEMS)]))
        if kind == 1:
            return encode(WantNodes([self._prefix() for _ in range(MAX_NODES)]))
        if kind == 2:
            tag, fingerprints = _unpack(rng.choice(self._questions))
            return _pack([tag, fingerprints * (MAX_ITEMS // len(fingerprints))])
        if kind == 3:
            return encode(Nodes(inner=[(self._prefix(), [rng.randbytes(32)] * 16) for _ in range(MAX_NODES)]))
        if kind == 4:
            return encode(Nodes(leaves=[(b"", [])] * MAX_NODES))
        if kind == 5:
            return encode(Items([self._triple() for _ in range(rng.choice((20, 500)))]))
        if kind == 6:
            stranger = [*_unpack(self._records[0].header)[:6], rng.randbytes(32), sha256(b"").digest()]
            headers = (_pack([*stranger[:4], 2000 + number, *stranger[5:]]) for number in range(3000))
            return encode(Items([(header, bytes(64), b"") for header in headers]))
        return encode(Items(certificates=[rng.randbytes(40) for _ in range(MAX_ITEMS)]))

    def _slot(self) -> Slot:
        return Slot(self._rng.choice(_MAPS), self._key())

    def _prefix(self) -> bytes:
        rng = self._rng
        digits = 17 if rng.random() < 0.02 else 16
        return bytes(rng.randrange(digits) for _ in range(rng.choice((0, 1, 2, 2, 3, 3, 10, 64))))
