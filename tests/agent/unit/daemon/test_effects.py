"""Events in the engine's order, whatever becomes of a commit."""

from __future__ import annotations

import logging

import pytest
from daemons import eventually

from smegmesh.daemon import effects
from smegmesh.daemon.effects import Effects
from smegmesh.daemon.journal import NodeLogger
from smegmesh.gossip.events import Close, Event, Persist, Probe, Send, ViewChanged
from smegmesh.store import StoreDamaged, StoreError


class Disk:
    """Commits and carried-out events in one list; the disk may be full."""

    def __init__(self) -> None:
        self.full = False
        self.attempts = 0
        self.done: list[Event] = []
        log = NodeLogger(logging.getLogger("test"), {"mesh": "prod"})
        self.damage: StoreDamaged | None = None
        self.given_up: list[StoreDamaged] = []
        self.effects = Effects(self.commit, self.done.append, self.given_up.append, log, retry=0.01)

    def commit(self, event: Persist) -> None:
        self.attempts += 1
        if self.full:
            raise StoreError("no space left on the disk", "free some")
        if self.damage:
            raise self.damage
        self.done.append(event)


def persist(number: int) -> Persist:
    return Persist({b"slot": bytes([number])}, {b"print": b"der"}, number)


async def test_events_are_carried_out_at_once_and_in_order() -> None:
    disk = Disk()
    events = [Send(1, b"a"), persist(1), Send(1, b"b"), Probe(frozenset(), 1.0)]
    disk.effects.add(events)
    assert disk.done == events


async def test_what_follows_a_failed_commit_comes_later_in_order_and_once() -> None:
    disk = Disk()
    disk.full = True
    first = [Send(1, b"a"), persist(1), Send(1, b"b"), persist(2), Send(2, b"c")]
    disk.effects.add(first)
    assert disk.done == first[:1]
    assert disk.effects.problem == "no space left on the disk: free some"
    second = [Send(3, b"d"), ViewChanged()]
    disk.effects.add(second)
    assert disk.done == first[:1]
    assert disk.attempts == 1, "more events are no reason to try again before the time"
    disk.full = False
    await eventually(lambda: disk.effects.problem is None, "the commit is made")
    assert disk.done == first + second
    disk.effects.add([Send(1, b"e")])
    assert disk.done == [*first, *second, Send(1, b"e")]


async def test_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    disk.full = True
    disk.effects.add([persist(1)])
    await eventually(lambda: disk.attempts > 3, "it is tried again and again")
    disk.full = False
    await eventually(lambda: disk.done, "it is made")
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "mesh=prod: no space left on the disk: free some"
    ]


async def test_after_the_end_nothing_is_tried_any_more() -> None:
    disk = Disk()
    disk.full = True
    disk.effects.add([persist(1), Send(1, b"a")])
    disk.effects.close()
    disk.full = False
    disk.effects._advance()
    assert disk.done == []


async def test_a_long_wait_keeps_what_nobody_makes_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "MOST_HELD", 10)
    disk = Disk()
    disk.full = True
    disk.effects.add([persist(1), Close(7, "silent")])
    for number in range(2, 30):
        disk.effects.add([Persist({bytes([number]): b"x"}, {}, number), Send(1, b"a"), ViewChanged()])
    disk.effects.add([Probe(frozenset({b"k"}), 0.5)])
    disk.full = False
    await eventually(lambda: disk.effects.problem is None, "the commit is made")
    commits = [event for event in disk.done if isinstance(event, Persist)]
    assert {slot for commit in commits for slot in commit.records} == {b"slot", *(bytes([n]) for n in range(2, 30))}
    assert max(commit.number for commit in commits) == 29
    assert isinstance(disk.done[0], Persist)
    assert Close(7, "silent") in disk.done
    assert disk.done[-1] == Probe(frozenset({b"k"}), 0.5)
    assert len(disk.done) <= 20


async def test_a_damaged_database_is_given_up_and_nothing_follows() -> None:
    disk = Disk()
    disk.damage = StoreDamaged("state.db: damaged", "restart smegd")
    disk.effects.add([persist(1), Send(1, b"a")])
    disk.effects.close()
    assert disk.given_up == [disk.damage]
    assert disk.done == []
