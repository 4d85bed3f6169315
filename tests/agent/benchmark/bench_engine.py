"""One engine that knows many: what a comparison with another moves, and how much memory it takes."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from math import log
from pathlib import Path
from random import Random

from section import Figure, Section
from usage import memory

from smegmesh.crdt.digest import FANOUT
from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.held import MapKind
from smegmesh.crdt.record import Kind, Record, sign_record
from smegmesh.gossip.engine import Engine, Send, Settings, Stored
from smegmesh.gossip.replica import encode_record, stored_slot
from smegmesh.simulation.credentials import authority, credentials
from smegmesh.simulation.traffic import Traffic, wire_size

MESH = "simulated"
KNOWN = 10_000
DIFFERENCES = (0, 1, 10, 100, 1000)
EQUAL, LEVEL = 0.5, 1.2  # kB at most: two comparisons of equal maps; a difference, for each level of the tree
MEMORY = {3000: 24.0, 10_000: 80.0}  # members known -> MB at most
METHOD = f"""\
Two engines that know {KNOWN} members, some of whose entries the one knows under a higher number, are linked for six
seconds, in which each compares once beside what the link begins with. Bytes of comparisons in both directions, the
entries among them, with TLS records and the headers of packets. At most: {EQUAL:g} kB, which are a digest and its
answer for each of the two, and {LEVEL:g} kB for each difference and level of the tree, of which there are log16 of
{KNOWN}. Memory: growth of the resident memory of a fresh process while it reads what is stored and loads it into an
engine, what is stored included."""


def measure() -> Section:
    stored = {count: _stored(count) for count in MEMORY}
    moved = {count: _moved(stored[KNOWN], count) for count in DIFFERENCES}
    figures = [
        Figure(f"{count} entries differ: moved", size / 1000, "kB", EQUAL + LEVEL * count * log(KNOWN, FANOUT))
        for count, size in moved.items()
    ]
    figures += [
        Figure(f"memory of an engine that knows {count}", _memory(stored[count]), "MB", bound)
        for count, bound in MEMORY.items()
    ]
    return Section("An engine that knows many", METHOD, tuple(figures))


def _stored(count: int) -> Stored:
    names = [f"p{number}" for number in range(count)]
    records = dict(_as_stored(record(name, 1)) for name in names)
    certificates = [credentials(name).certificate for name in names]
    return Stored(records, {one.fingerprint: one.der for one in certificates}, 1)


def _as_stored(entry: Record) -> tuple[bytes, bytes]:
    return stored_slot(MapKind.ENTRY, entry.node_key), encode_record(entry)


def record(name: str, number: int) -> Record:
    """What a member says of itself."""
    own = credentials(name)
    key = own.certificate.grant.node_key
    instance = Random(name).randbytes(8)  # what its engine draws first from its randomness
    body = encode_entry(_entry(name))
    return sign_record(own.identity, Kind.ENTRY, MESH, key, number, instance, own.certificate.fingerprint, body)


def _entry(name: str) -> Entry:
    address = f"{name}.example"
    key = credentials(name).certificate.grant.node_key
    return Entry(name, Role.PEER, key, endpoints=(f"{address}:51820",), links=(f"{address}:4000",))


def _engine(name: str, stored: Stored) -> Engine:
    own = credentials(name)
    engine = Engine(Settings(MESH), own.identity, own.certificate, authority(), Random(name), 0.0, stored)
    engine.set_entry(_entry(name), 0.0)
    return engine


def _moved(stored: Stored, differing: int) -> int:
    """Bytes of a comparison, by one of whom the other knows so many newer entries."""
    newer = dict(_as_stored(record(f"p{number}", 2)) for number in range(2, 2 + differing))
    engines = [_engine("p0", stored), _engine("p1", Stored({**stored.records, **newer}, stored.certificates, 1))]
    for engine, other in zip(engines, ("p1", "p0"), strict=True):
        engine.events()
        engine.link_up(1, credentials(other).certificate, other == "p1", 0.0, None)
    traffic = Traffic()
    for now in (0.0, 1.0, 2.0, 6.0):
        _talk(engines, traffic, now)
    assert engines[0].view().digest == engines[1].view().digest
    return traffic.bytes["anti_entropy"]


def _talk(engines: list[Engine], traffic: Traffic, now: float) -> None:
    """Bring to each what the other sends, until both are silent."""
    for engine in engines:
        engine.timer(now)
    while frames := [(target, frame) for target, engine in enumerate(reversed(engines)) for frame in _frames(engine)]:
        for target, frame in frames:
            traffic.count(frame, wire_size(frame))
            engines[target].receive(1, frame, now)


def _frames(engine: Engine) -> Iterator[bytes]:
    return (event.frame for event in engine.events() if isinstance(event, Send))


def _memory(stored: Stored) -> float:
    """MB that an engine takes, measured in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "stored"
        path.write_bytes(pickle.dumps((dict(stored.records), dict(stored.certificates))))
        command = [sys.executable, "-c", f"import bench_engine; bench_engine.load({str(path)!r})"]
        here = Path(__file__).parent
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=here)
        return int(answer.stdout) / 1e6


def load(path: str) -> None:
    """Load what is stored into an engine, and print by how many bytes that made this process grow."""
    _engine("p0", Stored({}, {}, 0))  # what any engine needs is there
    gc.collect()
    before = memory(os.getpid()).resident
    records, certificates = pickle.loads(Path(path).read_bytes())
    engine = _engine("p0", Stored(records, certificates, 1))
    gc.collect()
    print(memory(os.getpid()).resident - before)
    assert engine.size == len(records)
