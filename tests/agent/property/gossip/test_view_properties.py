"""What two views say has changed is what a member by member comparison finds, whatever they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from mesh_events import Event, apply, batches

from gossip_members import Members, key, one_address
from smegmesh.crdt.pool import Pool
from smegmesh.gossip.roster import Roster
from smegmesh.gossip.view import Member, View
from smegmesh.simulation.sharing import SharedPool


def _differences(before: dict[bytes, Member], after: dict[bytes, Member]) -> set[bytes]:
    return {of for of in before.keys() | after.keys() if before.get(of) != after.get(of)}


def _views(members: Members, course: list[list[Event]]) -> list[tuple[View, dict[bytes, Member]]]:
    """A view after each batch, and what it showed then."""
    roster = Roster(key("a"), members.map, members.directory, members.judgement)
    views = []
    for events in [[], *course]:
        for event in events:
            apply(members, event)
        members.judgement.update()
        roster.touch()
        view = roster.view()
        views.append((view, dict(view.members)))
    return views


@pytest.mark.parametrize("pool", [Pool, SharedPool])
@given(course=batches, other=batches)
@settings(max_examples=100, deadline=None)
def test_changed_since_is_the_naive_comparison(
    pool: Callable[[], Pool], course: list[list[Event]], other: list[list[Event]]
) -> None:
    """Between any two views of one engine, either way, and of two engines."""
    with one_address("a", "b", "c"):
        parts = pool()
        views = [*_views(Members(pool=parts), course), _views(Members(pool=parts), other)[-1]]
        for (before, old), (after, new) in product(views, views):
            assert after.changed_since(before) == _differences(old, new)
            assert replace(after, members=new).changed_since(before) == _differences(old, new)
            assert after.changed_since(replace(before, members=old)) == _differences(old, new)


@given(batches)
@settings(max_examples=100, deadline=None)
def test_a_view_is_a_value_and_a_mapping(course: list[list[Event]]) -> None:
    with one_address("a", "b", "c"):
        members = Members()
        for view, shown in _views(members, course):
            assert dict(view.members) == shown, "whatever happened since"
            assert len(view.members) == len(shown)
            assert all((key(name) in view.members) == (key(name) in shown) for name in "abcdef")
            assert view.members.get(b"") is None
        assert shown.keys() == members.map.members.keys() - members.directory.hidden
        assert all(member.liveness is members.judgement.liveness(of) for of, member in shown.items())
