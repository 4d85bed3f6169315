"""Bad frames from a certified neighbour: each kind is counted by its name and dropped, and nobody else is hurt.

`p0` is the engine under test, `p1` an honest neighbour, `p2` the one that sends what is
bad, `p9` a member whom it forges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import get_args

import msgspec
import pytest
from gossip_table import MESH, Party, Table

from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.fault import Fault
from smegmesh.crdt.held import MapKind
from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.record import Kind, Record, sign_record
from smegmesh.crdt.removal import Cause, leave, prune, revoke
from smegmesh.crdt.verdict import Accusation, encode_verdict
from smegmesh.gossip.codec import (
    MAX_FRAME,
    PROTOCOLS,
    Hello,
    Items,
    Nodes,
    Ping,
    Pong,
    Root,
    Slot,
    WantItems,
    WantNodes,
    encode,
)
from smegmesh.gossip.engine import Close, Persist, Send, Settings, Stored
from smegmesh.gossip.view import Liveness
from smegmesh.identity.revocation import make_revocation
from smegmesh.simulation.credentials import authority_key, credentials, node_key

_HASH = bytes(range(32))
_DEEP = b"\x91" * 100_000 + b"\xc0"
_pack = msgspec.msgpack.encode


@dataclass
class Scene:
    """The engine under test with both of its neighbours, and what it counted beyond `before`."""

    table: Table
    one: Party
    honest: Party
    bad: Party
    to_honest: int
    to_bad: int

    def __post_init__(self) -> None:
        self.before = self.one.engine.counters.copy()

    def hear(self, frame: bytes, link: int | None = None) -> list[bytes]:
        """A frame from the bad neighbour, or on another link; returns what it is answered."""
        link = self.to_bad if link is None else link
        self.one.engine.receive(link, frame, self.table.now)
        sent = []
        for event in self.one.engine.events():
            self.one.events.append(event)
            if isinstance(event, Send) and event.link == link:
                sent.append(event.frame)
        return sent

    def state(self) -> object:
        return self.one.engine.view(), self.one.engine.view().digest, self.one.engine.links()

    def counted(self) -> Counter[str]:
        return self.one.engine.counters - self.before

    def closed(self) -> list[int]:
        return [event.link for event in self.one.found(Close) if isinstance(event, Close)]


@pytest.fixture
def make(table: Table) -> Callable[..., Scene]:
    def made(**settings: object) -> Scene:
        one = table.party("p0", **settings)
        honest, bad = table.party("p1"), table.party("p2")
        to_honest, _far = table.link(one, honest)
        to_bad, _far = table.link(one, bad)
        table.wait(1)
        return Scene(table, one, honest, bad, to_honest, to_bad)

    return made


def _record(
    name: str, number: int = 1, *, by: str | None = None, mesh: str = MESH, kind: Kind = Kind.ENTRY, **fields: object
) -> Record:
    """What `name` says, or what `by` forges in its name."""
    body = b"" if kind is Kind.LEAVE else encode_entry(Table().entry(name, **fields))  # type: ignore[arg-type]
    return _signed(name, body, number, by=by, mesh=mesh, kind=kind)


def _signed(
    name: str, body: bytes, number: int = 1, *, by: str | None = None, mesh: str = MESH, kind: Kind = Kind.ENTRY
) -> Record:
    identity, fingerprint = credentials(by or name).identity, credentials(name).certificate.fingerprint
    return sign_record(identity, kind, mesh, node_key(name), number, b"instance", fingerprint, body)


def _triple(record: Record) -> tuple[bytes, bytes, bytes]:
    return record.header, record.signature, record.body


def _items(*records: Record | tuple[bytes, bytes, bytes], of: str | None = None) -> bytes:
    """A frame of records, with the certificate of a node if one is named."""
    triples = [_triple(record) if isinstance(record, Record) else record for record in records]
    return encode(Items(triples, certificates=[] if of is None else [credentials(of).certificate.der]))


def _removal(*removals: bytes) -> bytes:
    return encode(Items(removals=list(removals)))


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


# The kinds: by name, frames of a kind, and the word that counts them


def _truncated() -> Iterator[bytes]:
    frame = _items(_record("p2", 99))
    yield from (frame[:end] for end in range(len(frame)))
    yield b"\x94\x03\xdc\x3e\x80"  # 16000 records, none of which is there
    yield _items((b"\x98\x01\x01", bytes(64), b""))


def _oversize() -> Iterator[bytes]:
    yield bytes(MAX_FRAME + 1)
    yield _items((bytes(513), bytes(64), b""))
    yield _items(replace(_record("p2", 99), body=bytes(64 * 1024 + 1)))
    yield _removal(bytes(2049))


def _wrong_types() -> Iterator[bytes]:
    for value in (None, True, -1, 1.5, "text", b"bytes", [], {}, {"tag": 3}, msgspec.msgpack.Ext(5, b"x")):
        yield _pack(value)
        yield _pack([value])
        yield _pack([5, value])
        yield _pack([3, [[b"", b"", value] if value != b"bytes" else b""]])
    yield _pack([99])
    yield _pack([9, [[4, _HASH]]])
    yield _pack([7, [b""] * 1025])
    yield _pack([10, float("nan")])
    header = msgspec.msgpack.decode(_record("p2", 99).header)
    for at, value in ((0, 2), (1, 4), (2, b"mesh"), (3, "key"), (4, -1), (4, 2**63), (5, b"long instance"), (6, None)):
        yield _items((_pack([*header[:at], value, *header[at + 1 :]]), bytes(64), b""))
    yield _items(_signed("p2", _pack({"n": "p2", "r": "king", "k": node_key("p2")}), 99))


def _deep() -> Iterator[bytes]:
    yield b"\x92\x01" + _DEEP
    yield _items(_signed("p2", b"\x81\xa2zz" + _DEEP[-60_000:], 99))


def _malformed() -> Iterator[bytes]:
    yield b"\xc1"
    yield encode(Ping()) + b"more"
    record = _record("p2", 99)
    yield _items((b"\xdc\x00\x08" + record.header[1:], record.signature, record.body))
    yield _removal(b"\xdc\x00\x03" + prune(record).encode()[1:])


def _wrong_mesh() -> Iterator[bytes]:
    yield _items(_record("p2", 99, mesh="office"))
    yield _items(_record("p2", 99, mesh="office", kind=Kind.LEAVE))
    yield _removal(prune(_record("p2", 99, mesh="office")).encode())
    yield _removal(leave(_record("p2", 99, mesh="office", kind=Kind.LEAVE)).encode())
    yield _removal(revoke(node_key("p1"), make_revocation(authority_key(), "office", node_key("p1"))).encode())


def _signatures() -> Iterator[bytes]:
    true = _record("p1", 99)
    yield _items(replace(true, signature=_flip(true.signature)))
    yield _items(replace(true, signature=bytes(64)))
    yield _items(replace(true, signature=true.signature[:63]))
    yield _items(_record("p1", 99, by="p2"))
    yield _removal(leave(_record("p1", 99, by="p2", kind=Kind.LEAVE)).encode())
    yield _removal(prune(_record("p1", 99, by="p2")).encode())
    revocation = make_revocation(authority_key("another"), MESH, node_key("p1"))
    yield _removal(revoke(node_key("p1"), revocation).encode())


def _bodies() -> Iterator[bytes]:
    true = _record("p1", 99)
    yield _items(replace(true, body=_flip(true.body)))
    yield _items(replace(true, body=b""))


def _certificates() -> Iterator[bytes]:
    own = credentials("p2")
    for der in (b"", b"rubbish", own.certificate.der[:-1], _flip(own.certificate.der), bytes(100_000)):
        yield encode(Items(certificates=[der]))
    yield encode(Items(certificates=[credentials("p2", issuer="another").certificate.der]))
    for name in ("p2", "p9"):  # a member, a stranger: the certificate that they name is another member's
        fingerprint = credentials("p1").certificate.fingerprint
        false = sign_record(own.identity, Kind.ENTRY, MESH, node_key(name), 99, b"instance", fingerprint, b"")
        yield _items(false)
        yield _removal(prune(false).encode())


def _grants() -> Iterator[bytes]:
    yield _items(_signed("p2", _record("p1").body, 99))
    yield _items(_record("p2", 99, bridge=True))
    yield _items(_record("p2", 99, advertise=("::/0",)))
    own = credentials("p8", meshes=("office",))
    body, fingerprint = _record("p8").body, own.certificate.fingerprint
    stranger = sign_record(own.identity, Kind.ENTRY, MESH, node_key("p8"), 1, b"instance", fingerprint, body)
    yield encode(Items([_triple(stranger)], certificates=[own.certificate.der]))


def _contents() -> Iterator[bytes]:
    body = msgspec.msgpack.decode(_record("p2").body)
    nested = msgspec.msgpack.decode(b"\x91" * 20 + b"\xc0")
    for wrong in ({"a": "no label"}, {"d": "two\nlines"}, {"e": ["nowhere"]}, {"v": ["::/0", "::/0"]}, {"zz": nested}):
        yield _items(_signed("p2", _pack({**body, **wrong}), 99))
    yield _items(_signed("p2", _pack({"n": [1]}), 99, kind=Kind.VERDICT))
    yield _removal(_pack([Cause.LEAVE, *_triple(_record("p2", 99))[:2]]))


def _digests() -> Iterator[bytes]:
    yield encode(WantNodes([b"\x10"]))
    yield encode(WantNodes([b"", b"\xff"]))
    yield encode(Nodes(inner=[(b"\x10", [_HASH] * 16)]))
    yield encode(Nodes(inner=[(bytes(64), [_HASH] * 16)]))
    yield encode(Nodes(leaves=[(bytes(64), [(MapKind.ENTRY, _HASH, (1, _HASH))])]))


def _hellos() -> Iterator[bytes]:
    yield encode(Hello(*PROTOCOLS, MESH, b"8 bytes!", _HASH, Items()))


_KINDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "truncated": _truncated,
    "malformed": _malformed,
    "depth": _deep,
    "type": _wrong_types,
    "oversize": _oversize,
    "hello": _hellos,
    "mesh": _wrong_mesh,
    "digest": _digests,
    "certificate": _certificates,
    "grant": _grants,
    "signature": _signatures,
    "body": _bodies,
    "content": _contents,
}


@pytest.mark.parametrize("kind", _KINDS)
def test_a_bad_frame_is_counted_by_its_kind_and_changes_nothing(make: Callable[..., Scene], kind: str) -> None:
    scene = make(bad_frames=1000)
    state = scene.state()
    for number, frame in enumerate(_KINDS[kind](), 1):
        scene.one.events.clear()
        answers = scene.hear(frame)
        assert scene.counted() == {"bad_frames": number, f"bad.{kind}": number}, frame[:200].hex()
        assert scene.state() == state
        assert not answers
        assert not scene.one.events


def test_every_kind_that_is_counted_is_tested() -> None:
    assert set(_KINDS) == set(get_args(Fault))


@pytest.mark.parametrize("kind", _KINDS)
def test_a_link_that_sends_many_is_closed_and_no_other(make: Callable[..., Scene], kind: str) -> None:
    scene = make()
    limit = Settings(MESH).bad_frames
    frame = list(_KINDS[kind]())[-1]
    for _ in range(limit - 1):
        scene.hear(frame)
    assert scene.to_bad in scene.one.engine.links()
    scene.hear(frame)
    assert scene.closed() == [scene.to_bad]
    assert list(scene.one.engine.links().values()) == [scene.honest.key]
    assert scene.hear(frame) == []
    assert scene.counted()["bad_frames"] == limit
    scene.table.wait(1)
    assert scene.hear(encode(Ping()), scene.to_honest) == [encode(Pong())]
    scene.table.link(scene.bad, scene.one)
    assert scene.bad.key in scene.one.engine.links().values(), "a new link is judged by what it sends itself"


def test_all_kinds_together_are_too_many(make: Callable[..., Scene]) -> None:
    scene = make(bad_frames=len(_KINDS))
    for frames in _KINDS.values():
        assert scene.to_bad in scene.one.engine.links()
        scene.hear(next(frames()))
    assert scene.closed() == [scene.to_bad]


def test_a_frame_of_many_bad_ones_is_not_read_to_its_end(make: Callable[..., Scene]) -> None:
    """Each costs the check of a signature, and one frame may hold thousands."""
    scene = make()
    scene.hear(_items(*(_record("p1", number, by="p2") for number in range(100, 200))))
    assert scene.counted() == {"bad_frames": 20, "bad.signature": 20}
    assert scene.closed() == [scene.to_bad]


# Before and instead of a hello


def test_what_comes_before_the_hello_is_bad(make: Callable[..., Scene]) -> None:
    scene = make()
    scene.one.engine.link_up(99, credentials("p8").certificate, False, scene.table.now)
    state = scene.state()
    for message in (Ping(), Root(_HASH), WantNodes([b""]), WantItems([Slot(MapKind.ENTRY, _HASH)])):
        scene.hear(encode(message), 99)
    scene.hear(_items(_record("p8"), of="p8"), 99)
    assert scene.counted() == {"bad_frames": 5, "bad.hello": 5}
    assert scene.state() == state


def test_a_hello_of_another_mesh_ends_the_link_at_once(make: Callable[..., Scene]) -> None:
    scene = make()
    scene.one.engine.link_up(99, credentials("p8").certificate, False, scene.table.now)
    scene.hear(encode(Hello(*PROTOCOLS, "off\nice", b"8 bytes!", _HASH, Items([_triple(_record("p1", 99))]))), 99)
    assert scene.counted() == {"bad_frames": 1, "bad.mesh": 1}
    assert scene.closed() == [99]
    assert all(event.reason.isprintable() for event in scene.one.found(Close) if isinstance(event, Close))


# Replayed and stale: dropped, but no misbehaviour


def test_what_is_replayed_is_dropped_and_the_link_stays(make: Callable[..., Scene]) -> None:
    scene = make(bad_frames=1)
    entry = _items(_record("p9", 7), of="p9")
    gone = _removal(leave(_record("p9", 8, kind=Kind.LEAVE)).encode())
    back = _items(_record("p9", 9), of="p9")
    for frame in (entry, gone, back):
        scene.hear(frame)
    before, state = scene.counted(), scene.state()
    for _ in range(100):
        for frame in (gone, back):
            assert scene.hear(frame) == []
            assert scene.hear(frame, scene.to_honest) == []
    assert before == {}
    assert scene.counted() == {"duplicate": 400}
    assert scene.state() == state
    assert not scene.closed()


def test_what_is_stale_is_dropped_and_the_link_stays(make: Callable[..., Scene]) -> None:
    scene = make(bad_frames=1)
    scene.hear(_removal(leave(_record("p9", 8, kind=Kind.LEAVE)).encode()))
    scene.hear(_items(_record("p9", 9), of="p9"))
    state = scene.state()
    for number in range(1, 9):
        scene.hear(_items(_record("p9", number), of="p9"))
        scene.hear(_items(_record("p9", number, kind=Kind.LEAVE)))
        scene.hear(_removal(prune(_record("p9", number)).encode()))
        scene.hear(_items(_record("p9", number, by="p2")))  # cheaper to drop than to check
    counted = scene.counted()
    assert counted.keys() <= {"stale", "duplicate"}
    assert counted["stale"] >= 31, "all but the leave that is held"
    assert counted.total() == 32
    assert scene.state() == state
    assert not scene.closed()


def test_what_is_replayed_after_a_restart_does_not_bring_back_what_was(make: Callable[..., Scene]) -> None:
    scene = make(bad_frames=1)
    scene.hear(_items(_record("p9", 7), of="p9"))
    scene.hear(_removal(leave(_record("p9", 8, kind=Kind.LEAVE)).encode()))
    scene.table.wait(1)
    records, certificates = scene.one.stored()
    again = scene.table.party("p0", stored=Stored(records, certificates, 99), bad_frames=1)
    link, _far = scene.table.link(again, scene.honest)
    view = again.engine.view()
    assert node_key("p9") not in view.members
    for number in range(1, 8):
        again.engine.receive(link, _items(_record("p9", number), of="p9"), scene.table.now)
    assert again.engine.view() == view
    assert link in again.engine.links()


# Forged to block the true one


def _forgeries(true: Record) -> dict[str, Iterable[Record]]:
    name, number = "p9", true.number
    own = credentials("p2")
    under_own = sign_record(
        own.identity, Kind.ENTRY, MESH, true.node_key, number, b"instance", own.certificate.fingerprint, true.body
    )
    return {
        # the hash of the header breaks the tie: eight of them are on both sides of the true one
        "same key and number": [_record(name, number, by="p2", description=str(at)) for at in range(8)],
        "same header, another signature": [replace(true, signature=_flip(true.signature))],
        "same signature, another body": [replace(true, body=_flip(true.body))],
        "a number above all": [_record(name, MAX_NUMBER, by="p2")],
        "a leave": [_record(name, MAX_NUMBER, by="p2", kind=Kind.LEAVE)],
        "under its own certificate": [under_own],
    }


_FORGERIES = tuple(_forgeries(_record("p9", 5)))


@pytest.mark.parametrize("forgery", _FORGERIES)
@pytest.mark.parametrize("certificate", ["known", "unknown", "in the forger's frame"])
@pytest.mark.parametrize("from_forger", [False, True], ids=["another brings it", "the forger brings it"])
def test_a_forgery_does_not_block_the_true_one(
    make: Callable[..., Scene], forgery: str, certificate: str, from_forger: bool
) -> None:
    scene = make()
    if certificate == "known":
        scene.hear(_items(_record("p9", 1), of="p9"), scene.to_honest)
    true = _record("p9", 5, description="the true one")
    forgeries = _forgeries(true)[forgery]
    state = scene.state()
    scene.hear(_items(*forgeries, of="p9" if certificate == "in the forger's frame" else None))
    assert scene.state() == state
    link = scene.to_bad if from_forger else scene.to_honest
    scene.hear(_items(true), link)
    scene.hear(encode(Items(certificates=[credentials("p9").certificate.der])), link)
    member = scene.one.engine.view().members[node_key("p9")]
    assert (member.number, member.entry.description) == (5, "the true one")
    counted = scene.counted()
    assert counted["bad_frames"] + counted.get("stale", 0) == len(list(forgeries))
    assert not scene.closed()


def test_what_waited_counts_against_who_sent_it_not_who_brings_the_certificate(make: Callable[..., Scene]) -> None:
    scene = make(bad_frames=3)
    for number in range(3):
        scene.hear(_items(_record("p9", 5 + number, by="p2")))
    assert scene.counted() == {}, "nobody can tell yet"
    scene.hear(_items(_record("p9", 4), of="p9"), scene.to_honest)
    assert scene.counted() == {"bad_frames": 3, "bad.signature": 3}
    assert scene.closed() == [scene.to_bad]
    assert scene.one.engine.view().members[node_key("p9")].number == 4


def test_what_was_forged_before_it_came_does_not_close_the_link_of_the_true_one(make: Callable[..., Scene]) -> None:
    scene = make(bad_frames=3)
    for number in range(3):
        scene.hear(_items(_record("p9", 5 + number, by="p2")))
    scene.table.link(scene.table.party("p9"), scene.one)
    assert scene.closed() == [scene.to_bad]
    assert node_key("p9") in scene.one.engine.links().values()
    assert node_key("p9") in scene.one.engine.view().members


def test_of_what_waited_only_so_much_is_checked(make: Callable[..., Scene]) -> None:
    """Thousands may wait; whoever sent them may be gone by then."""
    scene = make()
    scene.hear(_items(*(_record("p9", 5 + number, by="p2") for number in range(100))))
    scene.one.engine.link_down(scene.to_bad, scene.table.now)
    scene.hear(_items(_record("p9", 4), of="p9"), scene.to_honest)
    assert scene.counted() == {"bad_frames": 20, "bad.signature": 20}
    assert scene.one.engine.view().members[node_key("p9")].number == 4
    assert list(scene.one.engine.links().values()) == [scene.honest.key]


# Answers


def test_a_node_of_the_tree_that_is_told_often_counts_once(make: Callable[..., Scene]) -> None:
    scene = make()
    once, leaf = (b"", [_HASH] * 16), (b"", [])
    for often, single in (
        (Nodes(inner=[once] * 1024), Nodes(inner=[once])),
        (Nodes(leaves=[leaf] * 1024), Nodes(leaves=[leaf])),
    ):
        assert scene.hear(encode(often)) == scene.hear(encode(single)) != []


# Accusations


@pytest.mark.parametrize(
    ("above", "raises"), [(0, 1), (MAX_NUMBER // 2, 0)], ids=["of the present number", "of one that was never used"]
)
def test_an_accusation_by_the_dead_is_answered_only_if_a_number_answers_it(
    make: Callable[..., Scene], above: int, raises: int
) -> None:
    """A verdict may name any number. One that was never used would have the accused raise its own without end."""
    scene = make()
    scene.table.link(scene.honest, scene.bad)
    scene.table.parties.pop("p2")
    for party in (scene.one, scene.honest):
        party.peers = {link: peer for link, peer in party.peers.items() if peer[0] is not scene.bad}
    scene.table.wait(5)
    assert scene.one.engine.view().members[scene.bad.key].liveness is Liveness.DOWN
    number = scene.one.engine.view().members[scene.one.key].number
    scene.one.events.clear()
    verdict = encode_verdict({scene.one.key: Accusation(number + above)})
    scene.hear(_items(_signed("p2", verdict, 99, kind=Kind.VERDICT)), scene.to_honest)
    scene.table.wait(2)
    assert (scene.one.engine.view().members[scene.one.key].number > number) is bool(raises)
    assert len({event.number for event in scene.one.found(Persist) if isinstance(event, Persist)}) <= 1 + raises
