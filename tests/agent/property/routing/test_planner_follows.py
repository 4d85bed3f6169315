"""The planner, view by view, against the definition: the plan of each view made from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Network
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.crdt.entry import Entry, PairTags, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.routing.carriers import Carriers
from smegmesh.routing.plan import Allowed, LocalPolicy, PeerPlan, Plan, make_plan
from smegmesh.routing.planner import Planner
from smegmesh.routing.preshared import Keyring, make_keyring
from smegmesh.routing.static_peers import StaticPeer, StaticPeers
from smegmesh.routing.tunnels import Tunnels

MESH = "prod"
KEYS = [bytes([number + 1]) * 32 for number in range(7)]
OWN, FIRST, SECOND = KEYS[:3]
# FIRST and SECOND hash to one address: a view shows the one or the other.
ADDRESSES = {key: node_address(MESH, FIRST if key == SECOND else key) for key in KEYS}
STATIC = [bytes([number]) * 32 for number in (91, 92)]
BEYOND = [mesh_prefix("office"), IPv6Network("2001:db8:10::/48"), IPv6Network("::/0")]
Members = Mapping[bytes, Member]
Step = tuple[View, LocalPolicy, Allowed]


KEYRING = make_keyring(MESH, "own", {str(key[0]): (b"1" * 32, b"2" * 32) for key in KEYS[:3]})
TAGS = [
    PairTags((new.tag, old.tag), accepted)
    for new, old in KEYRING.keys.values()
    for accepted in ((), (old.tag,), (new.tag, old.tag))
]
# Some that are nobody's, and some that members were born with.
static_keys = st.sampled_from([(), STATIC[:1], STATIC[1:], STATIC, *zip(KEYS, STATIC * 4, strict=False)])


@st.composite
def entries(draw: st.DrawFn, key: bytes) -> Entry:
    """Homes and backups may be anybody, the endpoints any, and now and then the tunnel key is another's."""
    role = draw(st.sampled_from(Role))
    named = st.sampled_from([*KEYS, None]) if role is Role.CLIENT else st.none()
    return Entry(
        name=str(key[0]),
        role=role,
        tunnel_key=draw(st.sampled_from([key, key, key, *KEYS])),
        endpoints=draw(st.sampled_from([(), ("a:1",), ("b:2", "a:1"), ("[::7]:1", "9.9.9.9:1")])),
        home=draw(named),
        backup=draw(named),
        preshared=draw(st.sampled_from([{}, *({"own": tags} for tags in TAGS)])),
        static_peers={str(number): static for number, static in enumerate(draw(static_keys))},
    )


@st.composite
def members(draw: st.DrawFn, key: bytes) -> Member:
    return Member(key, ADDRESSES[key], draw(entries(key)), 1, draw(st.sampled_from(Liveness)))


@st.composite
def steps(draw: st.DrawFn, before: Members) -> Members:
    """A few come, go, say something else, or are found to be more or less alive."""
    after = dict(before)
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=3, unique=True)):
        old = after.pop(key, None)
        what = draw(st.sampled_from(["says", "lives", "goes"])) if old is not None else "comes"
        if what in ("says", "comes"):
            after[key] = draw(members(key))
        elif what == "lives":
            after[key] = replace(old, liveness=draw(st.sampled_from(Liveness)))
    return after


beyond = st.dictionaries(
    st.sampled_from(KEYS), st.frozensets(st.sampled_from(BEYOND), min_size=1, max_size=2), max_size=2
)


@st.composite
def courses(draw: st.DrawFn) -> list[Step]:
    """Views that follow each other, with the policy and what is beyond the mesh at each."""
    role = draw(st.sampled_from(Role))
    known: Members = {key: draw(members(key)) for key in KEYS}
    course = []
    for _ in range(6):
        shown = {key: member for key, member in known.items() if key != SECOND or FIRST not in known}
        unreachable = draw(st.frozensets(st.sampled_from(KEYS), max_size=2))
        view = View(MESH, OWN, shown, None, b"", unreachable)
        families = frozenset(draw(st.sampled_from(["46", "46", "4", "6"])))
        behind = draw(st.sampled_from([frozenset(), frozenset(BEYOND[1:2])]))
        static = tuple(
            StaticPeer(key, draw(st.sampled_from([None, "a:1"])), behind=behind) for key in draw(static_keys)
        )
        keyring = draw(st.sampled_from([Keyring(), KEYRING]))
        policy = LocalPolicy(role, draw(st.sampled_from([0, 0, 0, 25])), frozenset(map(int, families)), static, keyring)
        course.append((view, policy, draw(beyond)))
        known = draw(steps(known))
    return course


@given(courses())
@settings(max_examples=300, deadline=None)
def test_the_plan_is_that_of_the_view_and_a_change_says_no_more_than_what_changed(
    course: list[Step],
) -> None:
    planner = Planner(*course[0])
    plan = planner.plan
    assert plan == make_plan(*course[0])
    for view, policy, allowed in course[1:]:
        before, change = plan, planner.follow(view, policy, allowed)
        plan = planner.plan
        assert plan == make_plan(view, policy, allowed)
        assert change.peers == differences(before, plan)
        assert (change.address, change.routes) == (plan.address, plan.routes)


@given(courses())
@settings(max_examples=200, deadline=None)
def test_nothing_is_kept_of_what_is_over(course: list[Step]) -> None:
    carriers, tunnels, static = Carriers(course[0][0]), Tunnels(course[0][0]), StaticPeers(course[0][0])
    for (before, *_), (view, *_) in pairwise(course):
        changed = view.changed_since(before)
        carriers.follow(before, view, changed)
        tunnels.follow(before, view, changed)
        static.follow(before, view, changed)
        assert vars(carriers) == vars(Carriers(view))
        assert vars(tunnels) == vars(Tunnels(view))
        assert vars(static) == vars(StaticPeers(view))


def differences(before: Plan, after: Plan) -> dict[bytes, PeerPlan | None]:
    keys = before.peers.keys() | after.peers.keys()
    return {key: after.peers.get(key) for key in keys if before.peers.get(key) != after.peers.get(key)}
