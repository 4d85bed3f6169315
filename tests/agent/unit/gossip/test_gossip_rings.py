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
    dead, out = set(_KEYS[3:9]), set[bytes]()
    rings = _rings(_KEYS)
    alive = Subset(rings, out)
    for key in dead:
        out.add(key)
        alive.changed(key)
    rest = _rings([key for key in _KEYS if key not in dead])
    for key in _KEYS:
        if key not in dead:
            assert alive.rings.nearest(key) == rest.nearest(key)
    assert _KEYS[3] in rings
    for key in dead:
        out.discard(key)
        alive.changed(key)
    assert alive.rings is rings, "without anybody left out it is the rings themselves"


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
