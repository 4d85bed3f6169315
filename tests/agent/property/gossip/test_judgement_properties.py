"""The judgement, kept up to date change by change, is what its definition says of the state it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from gossip_members import RINGS, Members, key
from smegmesh.crdt.entry import Role
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.view import Liveness

_NAMES = "abcdef"
_KEYS = {key(name): name for name in _NAMES}
_name = st.sampled_from(_NAMES)


# The definition, computed from scratch


@dataclass(frozen=True)
class Defined:
    """What the maps say of the members, by the definition alone."""

    failed: Mapping[bytes, Liveness]
    observers: Mapping[bytes, set[bytes]]
    neighbours: Mapping[bytes, set[bytes]]  # of each member, the dead included
    live_neighbours: Mapping[bytes, set[bytes]]


def _nearest(of: bytes, peers: set[bytes]) -> set[bytes]:
    """The next of these peers in each direction of each ring."""
    found = set()
    for ring in range(RINGS):
        order = sorted(peers - {of} | {of}, key=lambda each: sha256(b"smegmesh/ring\0" + bytes([ring]) + each).digest())
        at = order.index(of)
        found |= {order[at - 1], order[(at + 1) % len(order)]}
    return found - {of}


def _defined(members: Members) -> Defined:
    entries = {of: signed.entry for of, signed in members.map.members.items()}
    numbers = {of: signed.record.number for of, signed in members.map.members.items()}
    peers = {of for of, entry in entries.items() if entry.role is Role.PEER}
    homes = {
        of: {home for home in (entry.home, entry.backup) if home is not None}
        for of, entry in entries.items()
        if entry.role is Role.CLIENT
    }
    against = {
        of: {
            writer: accused[of]
            for writer, accused in members.verdicts.items()
            if writer in entries and of in accused and accused[of].number >= numbers[of]
        }
        for of in entries
    }
    unaccused = {peer for peer in peers if not against[peer]}
    observers = {of: homes[of] & unaccused if of in homes else _nearest(of, unaccused) for of in entries}
    failed = {}
    for of in entries:
        needed = len(observers[of]) // 2 + 1
        said = [against[of][observer].mute for observer in observers[of] if observer in against[of]]
        if said.count(False) >= needed:
            failed[of] = Liveness.DOWN
        elif len(said) >= needed:
            failed[of] = Liveness.MUTE
    down = {of for of, liveness in failed.items() if liveness is Liveness.DOWN}
    for client, named in homes.items():
        if named and not named & (peers - down):
            failed[client] = Liveness.DOWN
    return Defined(
        failed,
        observers,
        {of: _nearest(of, peers) for of in entries},
        {of: _nearest(of, peers - down) for of in entries},
    )


# What happens to a mesh

_events = st.one_of(
    st.tuples(st.just("peer"), _name),
    st.tuples(st.just("client"), _name, st.lists(_name, max_size=2, unique=True)),
    st.tuples(st.just("remove"), _name),
    st.tuples(st.just("silent"), st.sets(_name, min_size=1, max_size=3)),
    st.tuples(st.just("heard"), _name),
    st.tuples(st.just("accuse"), _name, st.dictionaries(_name, st.tuples(st.integers(-1, 1), st.booleans()))),
)


def _apply(members: Members, event: tuple[object, ...]) -> None:
    kind, *rest = event
    match kind, rest:
        case "peer", [name]:
            members.put(name)
        case "client", [name, homes]:
            members.put(name, *homes, client=True)
        case "remove", [name]:
            members.remove(name)
        case "silent", [names]:  # the others accuse them, members or not
            more = {key(name): Accusation(members.map.floor(key(name))) for name in names}
            for writer in sorted({*_NAMES} - names):
                members.accuse(writer, members.verdicts.get(key(writer), {}) | more)
        case "heard", [name]:  # nobody accuses it any more
            for writer in _NAMES:
                verdict = members.verdicts.get(key(writer), {})
                members.accuse(writer, {of: said for of, said in verdict.items() if of != key(name)})
        case "accuse", [writer, accused]:  # by numbers about the present: void, good, good after the next raise too
            floors = {name: members.map.floor(key(name)) for name in accused}
            said = {key(name): Accusation(max(floors[name] + by, 0), mute) for name, (by, mute) in accused.items()}
            members.accuse(writer, said)


def _near(members: Members) -> list[dict[bytes, set[bytes]]]:
    """Who is near whom, as others keep it by the judgement's version."""
    judgement, peers = members.judgement, members.directory.peers
    found = (
        {of: judgement.observers(of) for of in members.map.members},
        {of: judgement.observed(of) for of in peers},
        {of: judgement.neighbours(of, live=False) for of in peers},
        {of: judgement.neighbours(of, live=True) for of in peers},
    )
    return [{of: others for of, others in near.items() if others} for near in found]


@given(st.integers(0, len(_NAMES)), st.lists(st.lists(_events, min_size=1, max_size=4), max_size=12))
@settings(max_examples=500, deadline=None)
def test_judgement_by_changes_is_judgement_from_scratch(peers: int, batches: list[list[tuple[object, ...]]]) -> None:
    members = Members()
    judgement = members.judgement
    for name in _NAMES[:peers]:
        members.put(name)
    before: dict[bytes, Liveness] = {}
    version, near = judgement.version, _near(members)
    for events in batches:
        for event in events:
            _apply(members, event)
        changed = judgement.update()
        assert not judgement.pending
        defined = _defined(members)
        failed = dict(judgement.failed())
        assert _named(failed) == _named(defined.failed)
        assert judgement.down == {of for of, liveness in failed.items() if liveness is Liveness.DOWN}
        assert changed == {of for of in before.keys() | failed.keys() if before.get(of) != failed.get(of)}
        for of in members.map.members:
            assert judgement.observers(of) == defined.observers[of]
            assert judgement.neighbours(of, live=False) == defined.neighbours[of]
            assert judgement.neighbours(of, live=True) == defined.live_neighbours[of]
            if not judgement.against(of):
                assert judgement.observed(of) == {
                    other for other in defined.observers if of in defined.observers[other]
                }
        now = _near(members)
        if judgement.version == version:
            assert now == near, "who keeps it by the version would not notice"
        before, version, near = failed, judgement.version, now


def _named(failed: Mapping[bytes, Liveness]) -> dict[str, str]:
    return {_KEYS[of]: liveness.value for of, liveness in sorted(failed.items())}
