"""The directory, kept up to date change by change, is the one made from the members there are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_events import ADDRESSES, NAMES, Event, apply, comings_and_goings

from gossip_members import RINGS, Members, key, one_address
from smegmesh.crdt.entry import Role
from smegmesh.crdt.removal import Cause
from smegmesh.gossip.directory import Directory, Effect
from smegmesh.gossip.rings import Rings

#: These have one address.
_ALIKE = ("a", "b", "c")

_courses = st.lists(comings_and_goings, max_size=30)


def _state(of: Directory) -> dict[str, object]:
    """All that it says."""
    return {
        "rings": [[list(walk) for walk in of.rings.walks(key(name))] for name in NAMES],
        "peers": of.peers,
        "clients": {home: sorted(clients) for home, clients in of.clients.items()},
        "hidden": of.hidden,
        "pruned": of.pruned,
        "known_at": [of.known_at(address) for address in (*ADDRESSES, "three.example:4000")],
    }


def _defined(members: Members) -> dict[str, object]:
    """What it is to say, from the map alone."""
    entries = {of: signed.entry for of, signed in members.map.members.items()}
    peers = sorted(of for of, entry in entries.items() if entry.role is Role.PEER)
    rings = Rings(RINGS)
    for peer in peers:
        rings.add(peer)
    homes = {of: {entry.home, entry.backup} - {None} for of, entry in entries.items() if entry.role is Role.CLIENT}
    named = {home for both in homes.values() for home in both}
    alike = sorted(key(name) for name in _ALIKE if key(name) in entries)
    removals = members.map.removals
    return {
        "rings": [[list(walk) for walk in rings.walks(key(name))] for name in NAMES],
        "peers": peers,
        "clients": {home: sorted(client for client, both in homes.items() if home in both) for home in named},
        "hidden": set(alike[1:]),
        "pruned": {of for of in removals if removals[of].cause is Cause.PRUNE and of not in entries},
        "known_at": [
            *(any(address in entry.links for entry in entries.values()) for address in ADDRESSES),
            False,  # not in the bootstrap list, so nobody asks
        ],
    }


def _membership(members: Members, name: str) -> tuple[bool, bool, set[bytes | None]]:
    """Whether a node is a member, whether a peer, and which homes it names."""
    signed = members.map.member(key(name))
    if signed is None:
        return False, False, set()
    return True, signed.entry.role is Role.PEER, {signed.entry.home, signed.entry.backup} - {None}


@given(_courses, _courses)
@settings(max_examples=200, deadline=None)
def test_a_directory_follows_every_change(events: list[Event], later: list[Event]) -> None:
    with one_address(*_ALIKE):
        members = Members(ADDRESSES)
        for event in events:
            name = str(event[1])
            before = _membership(members, name)
            effect = apply(members, event)
            after = _membership(members, name)
            assert effect == Effect(*(old != new for old, new in zip(before, after, strict=True)))
            assert _state(members.directory) == _defined(members)
        copy, was = members.directory.copy(), _defined(members)
        for event in later:
            apply(members, event)
        assert _state(copy) == was, "a copy goes its own way"
        assert _state(members.directory) == _defined(members)


@given(_courses, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_directory_is_the_same_whatever_the_order_of_what_is_loaded(events: list[Event], rng: object) -> None:
    """As at a start, from a disk that has entries and removals in any order."""
    with one_address(*_ALIKE):
        members, loaded = Members(ADDRESSES), Members(ADDRESSES)
        for event in events:
            apply(members, event)
        stored = [*members.map.entries.values(), *members.map.removals.values()]
        rng.shuffle(stored)  # type: ignore[attr-defined]
        for said in stored:
            loaded.take(said)
        assert loaded.map.root == members.map.root
        assert _state(loaded.directory) == _state(members.directory)


@given(st.permutations(_ALIKE), st.sets(st.sampled_from(_ALIKE)))
def test_of_those_with_one_address_the_lowest_key_has_it(order: tuple[str, ...], gone: set[str]) -> None:
    with one_address(*_ALIKE):
        members = Members()
        for name in order:
            before = len(members.directory.hidden)
            members.put(name)
            there = sorted(key(other) for other in order[: order.index(name) + 1])
            assert members.directory.hidden == set(there[1:])
            if len(members.directory.hidden) > before:
                keeps, loses = members.directory.collision(key(name), members.map.tree)
                assert keeps == there[0]
                assert loses == (key(name) if key(name) != keeps else there[1])
        for name in gone:
            members.remove(name)
        left = sorted(key(name) for name in {*_ALIKE} - gone)
        assert members.directory.hidden == set(left[1:])
