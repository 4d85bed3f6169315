"""Whoever holds a statement can show the certificate it is under: to a newcomer, and to itself after a restart."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.held import MapKind
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.order import Order
from smegmesh.crdt.record import Kind, Record, sign_record
from smegmesh.crdt.removal import Removal, prune, revoke
from smegmesh.crdt.verdict import encode_verdict
from smegmesh.gossip.certificates import Certificates
from smegmesh.gossip.codec import Slot
from smegmesh.gossip.durability import Durability
from smegmesh.gossip.events import Persist
from smegmesh.gossip.knowledge import load
from smegmesh.gossip.replica import OWN, Change, Missing, Replica
from smegmesh.gossip.settings import Settings, Stored
from smegmesh.gossip.sharing import Owners, Sharing
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.identity.revocation import make_revocation
from smegmesh.simulation.credentials import authority, authority_key, credentials, node_key

_MESH = "simulated"
_KEY = node_key("p0")
_SLOTS = [Slot(kind, _KEY) for kind in MapKind]
_BODIES = {
    Kind.ENTRY: encode_entry(Entry(name="p0", role=Role.PEER, tunnel_key=_KEY)),
    Kind.VERDICT: encode_verdict({}),
    Kind.LEAVE: b"",
}

Said = tuple[str, int, int]  # what, the edition of its certificate, its number


def _certificate(edition: int) -> NodeCertificate:
    return credentials("p0", edition=edition).certificate


@cache
def _record(kind: Kind, edition: int, number: int) -> Record:
    identity, certificate = credentials("p0").identity, _certificate(edition)
    body = _BODIES[kind]
    return sign_record(identity, kind, _MESH, _KEY, number, b"instance", certificate.fingerprint, body)


@cache
def _raw(said: Said) -> Record | Removal:
    what, edition, number = said
    if what == "prune":
        return prune(_record(Kind.ENTRY, edition, number))
    if what == "revoke":
        return revoke(_KEY, make_revocation(authority_key(), _MESH, _KEY))
    return _record(Kind[what.upper()], edition, number)


def _replica() -> Replica:
    mesh = MeshMap(_MESH)
    return Replica(mesh, Certificates(authority(), mesh, Owners()), authority(), Sharing())


def _take(replica: Replica, raw: Record | Removal, asked: Replica | None = None) -> list[Change]:
    """Take what came off the wire, and its certificate if that is not at hand, from `asked` or its writer."""
    result = (
        replica.take_removal(raw.encode(), OWN) if isinstance(raw, Removal) else replica.take_record(raw.triple, OWN)
    )
    if isinstance(result, Change):
        return [result]
    if not isinstance(result, Missing):
        return []
    editions = {_certificate(edition).fingerprint: _certificate(edition) for edition in range(3)}
    known = editions.get(result.fingerprint) if asked is None else asked.certificates.get(_KEY, result.fingerprint)
    assert known is not None, "whoever has the statement has no certificate to show for it"
    taken = replica.take_certificate(known.der)
    assert len(taken) == 1
    assert isinstance(taken[0], Change)
    return [taken[0]]


def _is_what_a_newcomer_gets(replica: Replica, rng: Random) -> None:
    statements = [statement for slot in _SLOTS if (statement := replica.statement(slot)) is not None]
    rng.shuffle(statements)
    newcomer = _replica()
    for statement in statements:
        _take(newcomer, statement if isinstance(statement, Removal) else statement.record, replica)
    assert newcomer.map.root == replica.map.root


def _restarted(persisted: Iterable[Persist]) -> Replica:
    records: dict[bytes, bytes] = {}
    certificates: dict[bytes, bytes] = {}
    for event in persisted:
        records.update(event.records)
        certificates.update(event.certificates)
    sharing = Sharing()
    known = load(Settings(_MESH), authority(), Stored(records, certificates, 1), sharing).copy()
    return Replica(known.map, known.certificates, authority(), sharing)


def _lasting(replica: Replica) -> list[Order | None]:
    """What a restart must not lose; verdicts are said again."""
    held = replica.map.get(_KEY)
    return [None if held is None else held.order(kind) for kind in (MapKind.ENTRY, MapKind.REMOVAL)]


_said = st.one_of(
    st.tuples(st.sampled_from(["entry", "verdict", "leave", "prune"]), st.integers(0, 2), st.integers(1, 6)),
    st.just(("revoke", 0, 0)),
)


@given(
    st.lists(st.one_of(_said, st.sampled_from(["persist", "restart"])), max_size=15),
    st.randoms(use_true_random=False),
)
@example([("entry", 0, 1), ("leave", 0, 2), ("entry", 1, 3)], Random(1))
@example([("entry", 1, 3), ("leave", 0, 2)], Random(1))
@example([("entry", 0, 1), ("entry", 1, 3), "restart", ("leave", 0, 2), "restart"], Random(1))
@settings(max_examples=400, deadline=None)
def test_the_certificate_of_whatever_is_held_is_at_hand(course: list[Said | str], rng: Random) -> None:
    replica, durability = _replica(), Durability(0)
    persisted: list[Persist] = []
    for event in course:
        if isinstance(event, tuple):
            for change in _take(replica, _raw(event)):
                durability.changed(change, 0)
        else:
            persisted.append(durability.take(1))
            lasting = _lasting(replica)
            if event == "restart":
                replica, durability = _restarted(persisted), Durability(0)
            assert _lasting(replica) == lasting
        _is_what_a_newcomer_gets(replica, rng)


@given(st.lists(_said, max_size=15))
@settings(max_examples=200, deadline=None)
def test_a_certificate_goes_along_where_nothing_under_it_was_held(course: list[Said]) -> None:
    replica = _replica()
    for said in course:
        before = [replica.statement(slot) for slot in _SLOTS]
        fingerprints = {
            statement.certificate if isinstance(statement, Removal) else statement.record.certificate
            for statement in before
            if statement is not None
        }
        for change in _take(replica, _raw(said)):
            own = None if said[0] == "revoke" else _certificate(said[1])
            first = own is not None and own.fingerprint not in fingerprints
            assert change.first == (own if first else None)
