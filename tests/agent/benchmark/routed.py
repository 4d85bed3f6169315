"""A mesh with exits that is measured: what a peer's routing and plan cost, whole and after one change."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle

from smegmesh.crdt.entry import Entry, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.routing.choices import Joined
from smegmesh.routing.follow import Follower
from smegmesh.routing.host import Place, make_routing
from smegmesh.routing.offers import Accepted, make_offers, offers_anything
from smegmesh.routing.plan import LocalPolicy, PlanChange, make_plan
from smegmesh.routing.planner import Planner

MESH = "prod"
POLICY = LocalPolicy(role=Role.PEER)
MEMBERS, PREFIXES, EXITS = 3000, 300, 60
WHAT = f"routing of {MEMBERS} members and {PREFIXES} prefixes"


@dataclass(frozen=True, slots=True)
class NextView(View):
    """A view that knows what it shows otherwise than the one before."""

    changed: frozenset[bytes] = frozenset()

    def changed_since(self, before: View) -> set[bytes]:
        return set(self.changed)


def from_scratch() -> Callable[[], object]:
    """Each call makes offers, routing and plan of a view."""
    view = _view()

    def make() -> object:
        offers = make_offers(view, [key for key, member in view.members.items() if offers_anything(member.entry)])
        place = _place(view)
        routing = make_routing(view.node_key, {MESH: replace(place, joined=replace(place.joined, offers=offers))})
        return make_plan(view, POLICY, routing.allowed[MESH])

    return make


def one_change() -> Callable[[], object]:
    """Each call follows a view in which an exit is down, or back."""
    before = _view()
    after = _without_an_exit(before)
    changed = frozenset(after.changed_since(before))
    views = cycle(
        NextView(MESH, each.node_key, each.members, each.leader, each.digest, changed=changed)
        for each in (after, before)
    )
    place = _place(before)
    follower = Follower(before.node_key)
    follower.put(before, place)
    planner = Planner(before, POLICY, follower.routing.allowed[MESH])

    def follow() -> PlanChange:
        view = next(views)
        follower.put(view, place)
        return planner.follow(view, POLICY, follower.routing.allowed[MESH])

    assert len(follow().peers) > 1, "what was the exit's goes to others"
    return follow


def _place(view: View) -> Place:
    return Place("wg-prod", 51820, node_address(MESH, view.node_key), Joined(accepted=Accepted(every=True)))


def _view() -> View:
    chance = random.Random(4)
    keys = [chance.randbytes(32) for _ in range(MEMBERS)]
    peers, exits = keys[: MEMBERS * 2 // 3], keys[1 : 1 + EXITS]
    advertised: dict[bytes, list[str]] = {}
    for number in range(1, PREFIXES + 1):
        for key in chance.sample(exits, 2):
            advertised.setdefault(key, []).append(f"2001:db8:{number:x}::/48")
    members = {}
    for number, key in enumerate(keys):
        entry = Entry(f"n{number}", Role.PEER, key, endpoints=(f"198.18.{number >> 8}.{number & 255}:51820",))
        if number >= len(peers):
            home, backup = chance.sample(peers[1:], 2)
            entry = Entry(f"n{number}", Role.CLIENT, key, home=home, backup=backup)
        entry = replace(entry, advertise=tuple(advertised.get(key, ())))
        members[key] = Member(key, node_address(MESH, key), entry, 1, Liveness.ALIVE)
    return View(MESH, keys[0], members, min(peers), bytes(32))


def _without_an_exit(view: View) -> View:
    advertising = (member for member in view.members.values() if member.entry.advertise)
    member = max(advertising, key=lambda each: len(each.entry.advertise))
    return replace(view, members={**view.members, member.node_key: replace(member, liveness=Liveness.DOWN)})
