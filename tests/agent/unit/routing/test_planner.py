"""The planner: what its property test would seldom meet, and what a change costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from smegmesh.crdt.entry import Entry, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.routing.plan import LocalPolicy, make_plan
from smegmesh.routing.planner import Planner

MESH = "prod"
OWN, HOME, OTHER, FIRST, SECOND = (bytes([number]) * 32 for number in range(1, 6))
PEER = LocalPolicy(Role.PEER)


def peer(key: bytes) -> Member:
    return Member(key, node_address(MESH, key), Entry(name="p", role=Role.PEER, tunnel_key=key), 1, Liveness.ALIVE)


def client(key: bytes, home: bytes, backup: bytes | None = None) -> Member:
    entry = Entry(name="c", role=Role.CLIENT, tunnel_key=key, home=home, backup=backup)
    return Member(key, node_address(MESH, key), entry, 1, Liveness.ALIVE)


def test_an_address_passes_from_one_client_to_another() -> None:
    """Two node keys may hash to one address; a view shows one of them."""
    first = client(FIRST, HOME)
    second = replace(client(SECOND, HOME), address=first.address)
    peers = {key: peer(key) for key in (OWN, HOME)}
    with_first = View(MESH, OWN, {**peers, FIRST: first}, None, b"")
    with_second = replace(with_first, members={**peers, SECOND: second})
    planner = Planner(with_first, PEER)
    for view in (with_second, with_first) * 2:  # whatever order a set is gone through, one of them meets the other
        planner.follow(view, PEER)
        assert planner.plan == make_plan(view, PEER)


def test_a_member_that_rotates_its_key_is_told_as_the_same() -> None:
    members = {key: peer(key) for key in (OWN, HOME, OTHER)}
    view = View(MESH, OWN, members, None, b"")
    planner = Planner(view, PEER)
    new, newer = b"r" * 32, b"s" * 32
    before = HOME
    for tunnel in (new, newer):
        rotated = replace(members[HOME], entry=replace(members[HOME].entry, tunnel_key=tunnel))
        view = replace(view, members={**members, HOME: rotated})
        change = planner.follow(view, PEER)
        assert change.successors == {tunnel: before}
        assert change.peers.keys() == {tunnel, before} and change.peers[before] is None
        before = tunnel
    assert planner.follow(replace(view, members={OWN: members[OWN]}), PEER).successors == {}


class Counted(Mapping[bytes, Member]):
    """Members that count how often one is looked at, and once sealed do not let themselves be gone through."""

    def __init__(self, members: Mapping[bytes, Member]) -> None:
        self._members = members
        self.looks = 0
        self.sealed = False

    def __getitem__(self, key: bytes) -> Member:
        self.looks += 1
        return self._members[key]

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[bytes]:
        assert not self.sealed, "all members are gone through"
        return iter(self._members)


@dataclass(frozen=True, slots=True)
class Changed(View):
    """A view that knows what it says otherwise than the last one."""

    changed: frozenset[bytes] = frozenset()

    def changed_since(self, before: View) -> set[bytes]:
        return set(self.changed)


def looks(count: int, role: Role, change: Mapping[bytes, Member]) -> int:
    """How often members are looked at when one of a mesh of so many changes."""
    many = {key: peer(key) for key in (number.to_bytes(32) for number in range(1, count))}
    own = peer(OWN) if role is Role.PEER else client(OWN, HOME, OTHER)
    members = {**many, OWN: own, HOME: peer(HOME), OTHER: peer(OTHER), FIRST: client(FIRST, HOME, OTHER)}
    before, after = Counted(members), Counted({**members, **change})
    planner = Planner(View(MESH, OWN, before, None, b""), LocalPolicy(role))
    before.looks, before.sealed, after.sealed = 0, True, True
    planner.follow(Changed(MESH, OWN, after, None, b"", changed=frozenset(change)), LocalPolicy(role))
    return before.looks + after.looks


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "change",
    [client(FIRST, OTHER, HOME), client(SECOND, HOME), replace(peer(HOME), liveness=Liveness.DOWN)],
    ids=["moves", "comes", "home down"],
)
def test_a_change_costs_the_same_however_many_there_are(role: Role, change: Member) -> None:
    few, many = (looks(count, role, {change.node_key: change}) for count in (30, 3000))
    assert 0 < many == few
