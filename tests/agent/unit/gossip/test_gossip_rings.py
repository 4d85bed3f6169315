"""Rings: everyone computes the same neighbours, whoever is asked."""

from __future__ import annotations

import pytest

from smegmesh.gossip.rings import Rings, Subset
from smegmesh.simulation.credentials import node_key

_KEYS = [node_key(f"p{number}") for number in range(12)]


def _rings(keys: list[bytes]) -> Rings:
    rings = Rings(3)
    for key in keys:
        rings.add(key)
    return rings


@pytest.mark.parametrize("count", range(1, 13))
def test_neighbours_are_mutual_and_at_most_six(count: int) -> None:
    keys = _KEYS[:count]
    rings = _rings(keys)
    for key in keys:
        near = rings.nearest(key)
        assert key not in near
        assert min(count - 1, 1) <= len(near) <= 6
        assert all(key in rings.nearest(other) for other in near)


def test_skipping_is_like_not_being_there() -> None:
    """Whoever is left out, and however many: one after the other all, and back again, and peers that come and go."""
    out = set[bytes]()
    rings = _rings(_KEYS[1:])
    alive = Subset(rings, out)

    def look() -> None:
        rest = _rings([key for key in rings.keys if key not in out])
        for key in _KEYS:
            assert alive.nearest(key) == rest.nearest(key)

    look()
    for key in _KEYS:
        out.add(key)
        alive.changed(key)
        look()
    rings.remove(_KEYS[5])
    rings.add(_KEYS[0])
    for key in (_KEYS[5], _KEYS[0]):
        alive.changed(key)
        look()
    for key in _KEYS:
        out.discard(key)
        alive.changed(key)
        look()


@pytest.mark.parametrize("count", [0, 1, 12])
def test_rings_of_all_at_once_are_those_of_one_by_one(count: int) -> None:
    at_once, one_by_one = Rings.of(3, _KEYS[:count]), _rings(_KEYS[:count])
    assert at_once.keys == one_by_one.keys
    assert at_once.count == one_by_one.count == 3
    assert [at_once.nearest(key) for key in _KEYS] == [one_by_one.nearest(key) for key in _KEYS]


def test_the_order_of_arrival_does_not_matter() -> None:
    one, other = _rings(_KEYS), _rings(list(reversed(_KEYS)))
    other.add(b"x" * 32)
    other.remove(b"x" * 32)
    other.remove(b"y" * 32)
    assert len(one) == len(other) == 12
    assert all(list(map(list, one.walks(key))) == list(map(list, other.walks(key))) for key in _KEYS)


def test_a_copy_and_what_it_is_of_go_their_own_ways() -> None:
    rings = _rings(_KEYS[:8])
    copy = rings.copy()
    again = copy.copy()
    copy.add(_KEYS[8])
    rings.remove(_KEYS[0])
    for found, keys in ((rings, _KEYS[1:8]), (copy, _KEYS[:9]), (again, _KEYS[:8])):
        assert found.keys == sorted(keys)
        assert [found.nearest(key) for key in _KEYS] == [_rings(keys).nearest(key) for key in _KEYS]


def test_who_is_on_no_ring_has_neighbours_too() -> None:
    rings = _rings(_KEYS[:11])
    outside = _KEYS[11]
    assert outside not in rings
    near = rings.nearest(outside)
    rings.add(outside)
    assert near == rings.nearest(outside)


def test_the_graph_is_small_in_diameter() -> None:
    keys = [node_key(f"n{number}") for number in range(300)]
    rings = _rings(keys)
    reached, frontier, hops = {keys[0]}, {keys[0]}, 0
    while len(reached) < len(keys):
        frontier = {near for key in frontier for near in rings.nearest(key)} - reached
        reached |= frontier
        hops += 1
    assert hops <= 6
