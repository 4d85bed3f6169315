"""The members for many readers: what a view leaves as it was is made once, and the device is asked once for all."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from random import Random

import pytest

from smegmesh.control.types import Event
from smegmesh.crdt.entry import Entry, Role
from smegmesh.daemon.members import MemberReader, MemberReports, member_reports
from smegmesh.daemon.watching import Watcher
from smegmesh.dataplane.plane import DeviceState
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.keys import encode_key

OWN = bytes(32)
KEYS = [OWN, *(bytes([number]) * 32 for number in range(1, 6))]


def member(key: bytes, role: Role, liveness: Liveness, homes: tuple[bytes | None, bytes | None], number: int) -> Member:
    home, backup = homes if role is Role.CLIENT else (None, None)
    entry = Entry(f"n{KEYS.index(key)}", role, key, home=home, backup=backup, alias=f"alias-{number}")
    return Member(key, IPv6Address(KEYS.index(key)), entry, number, liveness)


def some_view(chance: Random, before: View | None) -> View:
    """Any at all, or one that differs from another in one member."""
    everybody = [OWN, *(key for key in KEYS[1:] if chance.random() < 0.7)]
    changed = everybody if before is None else [chance.choice(KEYS)]
    members = dict(before.members) if before is not None else {}
    for key in changed:
        homes = chance.choice([None, *KEYS]), chance.choice([None, *KEYS])
        role, liveness = chance.choice([*Role]), chance.choice([*Liveness])
        members[key] = member(key, role, liveness, homes, chance.randint(1, 3))
    if chance.random() < 0.3:
        members.pop(chance.choice(KEYS[1:]), None)
    leader, unreachable = chance.choice([None, *KEYS]), frozenset(chance.sample(KEYS, chance.randint(0, 2)))
    return View("prod", OWN, members, leader, b"", unreachable)


def some_views(seed: int) -> list[View]:
    chance = Random(seed)
    views = [some_view(chance, None)]
    for _ in range(20):
        views.append(some_view(chance, views[-1] if chance.random() < 0.8 else None))
    return views


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("role", Role)
def test_what_follows_the_views_is_what_the_last_one_says(seed: int, role: Role) -> None:
    reports = MemberReports(role)
    for view in some_views(seed):
        assert reports.read(view, None) == member_reports(view, role, None)


@pytest.mark.parametrize("seed", range(50))
def test_who_follows_the_events_knows_the_members(seed: int) -> None:
    """Who is there, how, and who leads: all of it can be told from the first view and the events since."""
    first, *views = some_views(seed)
    known = {encode_key(key): each.liveness.value for key, each in first.members.items()}
    leader = first.leader and encode_key(first.leader)
    events: list[Event] = []
    watcher = Watcher(first, events.append)
    for view in views:
        watcher.follow(view)
    for event in events:
        assert event.mesh == "prod"
        if event.kind == "leader":
            leader = event.node_key
        elif event.kind == "left":
            del known[event.node_key]
        else:
            assert (event.node_key in known) == (event.kind == "liveness")
            assert known.get(event.node_key) != event.liveness
            known[event.node_key] = event.liveness
    assert known == {encode_key(key): each.liveness.value for key, each in views[-1].members.items()}
    assert leader == (views[-1].leader and encode_key(views[-1].leader))


@pytest.mark.parametrize("seed", range(50))
def test_what_changed_last_is_a_member_unless_only_the_leader_did(seed: int) -> None:
    first, *views = some_views(seed)
    events: list[Event] = []
    watcher = Watcher(first, events.append)
    for view in views:
        events.clear()
        before = watcher.last
        watcher.follow(view)
        of_members = [event for event in events if event.kind != "leader"]
        if not events:
            assert watcher.last is before
        else:
            assert watcher.last in (of_members or events)
    watcher.alarm("a key is in use twice")
    assert watcher.last is None or watcher.last.kind != "alarm"


class Device:
    """A device that takes a while to be read, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.read = 0

    async def state(self) -> DeviceState | None:
        self.read += 1
        self.now += 1.0
        return None


def reader(device: Device, view: Callable[[], View]) -> MemberReader:
    return MemberReader(view, Role.PEER, device.state, lambda: device.now)


async def test_many_readers_are_one_to_the_device() -> None:
    device = Device()
    seen = View("prod", OWN, {OWN: member(OWN, Role.PEER, Liveness.ALIVE, (None, None), 1)}, OWN, b"")
    reading = reader(device, lambda: seen)
    answers = await asyncio.gather(*(reading.read() for _ in range(20)))
    assert device.read == 1 and all(answer is answers[0] for answer in answers)
    device.now += 29.9  # it took a second, so it is as good as new for thirty
    assert await reading.read() is answers[0]
    device.now += 0.2
    assert await reading.read() is not answers[0]
    assert device.read == 2


async def test_what_nobody_asks_for_is_not_held() -> None:
    device = Device()
    seen = View("prod", OWN, {OWN: member(OWN, Role.PEER, Liveness.ALIVE, (None, None), 1)}, OWN, b"")
    reading = reader(device, lambda: seen)
    (answer,) = await reading.read()
    held = sys.getrefcount(answer)
    device.now += 59
    reading.viewed()
    assert sys.getrefcount(answer) == held
    device.now += 2
    reading.viewed()
    assert sys.getrefcount(answer) < held
    assert len(await reading.read()) == 1


async def test_who_has_changed_something_sees_it() -> None:
    device = Device()
    own = member(OWN, Role.PEER, Liveness.ALIVE, (None, None), 1)
    seen = View("prod", OWN, {OWN: own}, OWN, b"")
    reading = reader(device, lambda: seen)
    assert (await reading.read())[0].number == 1
    seen = replace(seen, members={OWN: replace(own, number=2)})
    assert (await reading.read())[0].number == 1
    reading.forget()
    assert (await reading.read())[0].number == 2
