"""What a certified neighbour can make an engine keep is bounded, whatever it sends and for how long."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from random import Random

import msgspec
from gossip_table import MESH, Party, Table

from smegmesh.crdt.digest import MapKind
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.record import Kind, sign_record
from smegmesh.crdt.removal import Cause
from smegmesh.crdt.verdict import MAX_ACCUSED, Accusation, encode_verdict
from smegmesh.gossip.codec import (
    MAX_ITEMS,
    MAX_NODES,
    MAX_WANTED,
    Items,
    Message,
    Nodes,
    Ping,
    Restart,
    Root,
    Slot,
    WantCertificates,
    WantItems,
    WantNodes,
    encode,
)
from smegmesh.simulation.credentials import credentials

_MIB = 1024 * 1024
#: Some 20 MiB are what waits for certificates (16 as it is counted), 10 the largest verdict of the sender, read and
#: indexed by whom it accuses, 4 the remembered places of 16 384 keys.
_BOUND = 40 * _MIB
#: A second flood adds what is remembered of each record that was taken, 200 bytes for up to 65 536 of them.
_AGAIN = _MIB // 2
_THINGS = 100_000
_pack = msgspec.msgpack.encode


class Flood:
    """Distinct, well-formed and useless things: another seed, other things.

    `numbers` are of the sender's own records; a flood of half the `size` has half of each kind.
    """

    def __init__(self, table: Table, sender: Party, seed: int, numbers: Iterator[int], size: float) -> None:
        self.things = 0
        self._size = size
        self._own = credentials(sender.name)
        self._entry = table.entry(sender.name)
        self._random = Random(seed)
        self._numbers = numbers

    def frames(self) -> Iterator[bytes]:
        for message, things in self._messages():
            self.things += things
            yield encode(message)

    def _messages(self) -> Iterator[tuple[Message, int]]:
        random = self._random
        for _ in self._times(150):
            yield Items([self._stranger(Kind.VERDICT, random.randbytes(64_000))]), 1
        for _ in self._times(12):
            yield Items([self._stranger(Kind.ENTRY, b"x") for _ in range(2000)]), 2000
        for _ in self._times(6):
            yield Items(removals=[self._stranger_pruned() for _ in range(2000)]), 2000
        yield from ((Items([self._own_verdict()]), 1) for _ in self._times(4))
        yield from ((Items([self._own_entry()]), 1) for _ in self._times(400))
        keys = [random.randbytes(32) for _ in range(MAX_ITEMS)]
        yield WantItems([Slot(random.choice(list(MapKind)), key) for key in keys]), MAX_ITEMS
        yield WantCertificates([(key, random.randbytes(32)) for key in keys[:MAX_WANTED]]), MAX_WANTED
        for _ in self._times(4):
            yield WantNodes([self._prefix(64) for _ in range(MAX_NODES)]), MAX_NODES
        for _ in self._times(2):
            yield Nodes(inner=[(self._prefix(60), [random.randbytes(32)] * 16) for _ in range(MAX_NODES)]), MAX_NODES
            yield Nodes(leaves=[(self._prefix(64), []) for _ in range(MAX_NODES)]), MAX_NODES
        yield Items(certificates=[self._own.certificate.der] * 1000), 1
        for _ in self._times(1000):
            yield from ((Ping(), 1), (Root(random.randbytes(32)), 1), (Restart(random.random() * 120), 1))

    def _times(self, number: int) -> range:
        return range(round(number * self._size))

    def _prefix(self, longest: int) -> bytes:
        return bytes(self._random.randrange(16) for _ in range(self._random.randrange(3, longest)))

    def _stranger(self, kind: Kind, body: bytes) -> tuple[bytes, bytes, bytes]:
        """A record under a certificate that nobody has; its signature cannot be checked."""
        random = self._random
        key, instance, certificate = random.randbytes(32), random.randbytes(8), random.randbytes(32)
        number = random.randrange(1, MAX_NUMBER)
        header = _pack([1, kind, MESH, key, number, instance, certificate, sha256(body).digest()])
        return header, random.randbytes(64), body

    def _stranger_pruned(self) -> bytes:
        header, signature, _body = self._stranger(Kind.ENTRY, b"x")
        return _pack([Cause.PRUNE, header, signature])

    def _own_record(self, kind: Kind, body: bytes) -> tuple[bytes, bytes, bytes]:
        certificate = self._own.certificate
        record = sign_record(
            self._own.identity,
            kind,
            MESH,
            certificate.grant.node_key,
            next(self._numbers),
            self._random.randbytes(8),
            certificate.fingerprint,
            body,
        )
        return record.header, record.signature, record.body

    def _own_entry(self) -> tuple[bytes, bytes, bytes]:
        return self._own_record(Kind.ENTRY, encode_entry(self._entry))

    def _own_verdict(self) -> tuple[bytes, bytes, bytes]:
        accused = {self._random.randbytes(32): Accusation(MAX_NUMBER) for _ in range(MAX_ACCUSED)}
        return self._own_record(Kind.VERDICT, encode_verdict(accused))


def _retained() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_what_a_neighbour_makes_an_engine_keep_is_bounded(table: Table) -> None:
    one, honest, bad = table.party("p0", bad_frames=1), table.party("p1"), table.party("p2")
    table.link(one, honest)
    link, _far = table.link(one, bad)
    table.wait(1)
    numbers = count(MAX_NUMBER - 10_000)
    tracemalloc.start()
    try:
        before = _retained()
        kept = []
        things = 0
        for seed, size in ((1, 1), (2, 0.5)):
            flood = Flood(table, bad, seed, numbers, size)
            for frame in flood.frames():
                one.engine.receive(link, frame, table.now)
                one.engine.events()
            things += flood.things
            kept.append(_retained() - before)
    finally:
        tracemalloc.stop()
    assert things >= _THINGS
    assert link in one.engine.links(), "nothing of it was bad"
    assert kept[0] < _BOUND
    assert kept[1] < kept[0] + _AGAIN
