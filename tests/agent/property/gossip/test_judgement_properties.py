"""The judgement, kept up to date change by change, is what its definition says of the state it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_events import NAMES, Event, apply, batches

from gossip_members import RINGS, Members, key
from smegmesh.crdt.entry import Role
from smegmesh.gossip.view import Liveness

_KEYS = {key(name): name for name in NAMES}


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
            if writer in entries and of in accused and accused[of].number == numbers[of]
        }
        for of in entries
    }
    unaccused = {peer for peer in peers if not against[peer]}
    observers = {of: _nearest(of, unaccused) for of in peers}
    failed: dict[bytes, Liveness] = {}
    for of in sorted(entries, key=homes.__contains__):  # the peers first
        if of in homes:
            observers[of] = {home for home in homes[of] & peers if home not in failed}
        needed = len(observers[of]) // 2 + 1
        said = [against[of][observer].mute for observer in observers[of] if observer in against[of]]
        if said.count(False) >= needed:
            failed[of] = Liveness.DOWN
        elif len(said) >= needed:
            failed[of] = Liveness.MUTE
    down = {of for of, liveness in failed.items() if liveness is Liveness.DOWN}
    found = dict(failed)
    for client, named in homes.items():
        of_homes = {found.get(home, Liveness.ALIVE) for home in named & peers}
        known = all(home in members.map.entries or home in members.map.removals for home in named)
        if named and known and Liveness.ALIVE not in of_homes:
            failed[client] = Liveness.MUTE if Liveness.MUTE in of_homes else Liveness.DOWN
    return Defined(
        failed,
        observers,
        {of: _nearest(of, peers) for of in entries},
        {of: _nearest(of, peers - down) for of in entries},
    )


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


@given(st.integers(0, len(NAMES)), batches)
@settings(max_examples=500, deadline=None)
def test_judgement_by_changes_is_judgement_from_scratch(peers: int, batches: list[list[Event]]) -> None:
    members = Members()
    judgement = members.judgement
    for name in NAMES[:peers]:
        members.put(name)
    before: dict[bytes, Liveness] = {}
    version, near = judgement.version, _near(members)
    for events in batches:
        for event in events:
            apply(members, event)
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


@given(
    st.integers(0, len(NAMES)), st.lists(st.tuples(st.sampled_from((0.0, 0.1, 0.6, 4.0, 11.0)), batches), max_size=6)
)
@settings(max_examples=200, deadline=None)
def test_what_waits_in_quarantine_counts_in_the_end(peers: int, waves: list[tuple[float, list[list[Event]]]]) -> None:
    members = Members(quarantine=10.0)
    judgement = members.judgement
    for name in NAMES[:peers]:
        members.put(name)
    for pause, wave in waves:
        for events in wave:
            members.now += pause
            for event in events:
                apply(members, event)
            judgement.release(members.now)
            judgement.update(members.now)
    while (due := judgement.next_timer()) < float("inf"):
        judgement.release(due)
        judgement.update(due)
    assert _named(dict(judgement.failed())) == _named(_defined(members).failed)


def _named(failed: Mapping[bytes, Liveness]) -> dict[str, str]:
    return {_KEYS[of]: liveness.value for of, liveness in sorted(failed.items())}
