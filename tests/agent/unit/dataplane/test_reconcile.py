"""The reconciler on the memory plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Interface, IPv6Network
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.dataplane.memory import MemoryPlane
from smegmesh.dataplane.plane import DeviceSettings, DeviceState, Endpoint, PeerChange, PlaneError
from smegmesh.dataplane.reconcile import SILENT, Reconciler
from smegmesh.dataplane.system import MemorySystem
from smegmesh.identity.keys import generate_private_key, public_key
from smegmesh.routing.plan import PeerPlan, Plan, PlanChange
from smegmesh.routing.tables import MARK

DEVICE = "smeg-prod"
A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
ONE, TWO = IPv6Network("fd00::1"), IPv6Network("fd00::2")
ENDPOINTS = {"a:1": ("198.18.0.1", 1), "a:2": ("198.18.0.2", 2)}
PLAN = Plan(
    mesh_id="prod",
    address=IPv6Interface("fd00::f/128"),
    peers={A: PeerPlan("a:1", frozenset({ONE})), B: PeerPlan(None, frozenset(), 25)},
    routes=frozenset({IPv6Network("fd00::/64")}),
    forward=True,
)


class CountingPlane(MemoryPlane):
    """Notes what is applied, counts the dumps; fails once where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.applied: list[Sequence[PeerChange]] = []
        self.dumps = 0
        self.fail_next = False

    def dump(self, device: str) -> DeviceState:
        self.dumps += 1
        return super().dump(device)

    def apply(self, device: str, changes: Sequence[PeerChange]) -> None:
        if self.fail_next:
            self.fail_next = False
            super().apply(device, changes[:1])
            raise PlaneError("the device stopped half way")
        self.applied.append(changes)
        super().apply(device, changes)


class BrokenSystem(MemorySystem):
    def set_link(self, device: str, *, mtu: int, up: bool) -> None:
        raise PlaneError("no such thing here")


SETTINGS = DeviceSettings(generate_private_key(), 51820)


@pytest.fixture
def plane() -> CountingPlane:
    return CountingPlane()


@pytest.fixture
def system() -> MemorySystem:
    return MemorySystem()


@pytest.fixture
def reconciler(plane: CountingPlane, system: MemorySystem) -> Reconciler:
    return Reconciler(plane, system, DEVICE, SETTINGS, mtu=1420)


def planned(plane: CountingPlane, plan: Plan = PLAN) -> bool:
    peers = plane.dump(DEVICE).peers
    return {key: (peer.allowed_ips, peer.keepalive) for key, peer in peers.items()} == {
        key: (peer.allowed_ips, peer.keepalive) for key, peer in plan.peers.items()
    }


def since(before: Plan, after: Plan) -> PlanChange:
    """The change from one plan to another, and no more."""
    keys = before.peers.keys() | after.peers.keys()
    changed = {key: after.peers.get(key) for key in keys if before.peers.get(key) != after.peers.get(key)}
    return PlanChange(after.address, changed, after.routes)


def test_bring_up_makes_all_of_it(plane: CountingPlane, system: MemorySystem, reconciler: Reconciler) -> None:
    assert reconciler.bring_up(PLAN, ENDPOINTS) is True
    assert planned(plane)
    assert plane.dump(DEVICE).public_key == public_key(SETTINGS.private_key)
    assert plane.dump(DEVICE).peers[A].endpoint == ("198.18.0.1", 1)
    link = system.link(DEVICE)
    assert link is not None and link.up and link.mtu == 1420
    assert system.addresses[DEVICE] == {PLAN.address}
    assert system.routes[DEVICE] == PLAN.routes
    assert reconciler.check(PLAN, ENDPOINTS) == []


def test_an_interface_that_is_there_is_adopted_untouched(
    plane: CountingPlane, system: MemorySystem, reconciler: Reconciler
) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    again = Reconciler(plane, system, DEVICE, SETTINGS, mtu=1420)
    plane.applied.clear()
    assert again.bring_up(PLAN, ENDPOINTS) is False
    assert plane.applied == []


def test_a_foreign_interface_of_the_same_name_is_left_alone(plane: CountingPlane, system: MemorySystem) -> None:
    theirs = DeviceSettings(generate_private_key(), 4242)
    plane.create(DEVICE)
    plane.configure(DEVICE, theirs)
    plane.apply(DEVICE, [PeerChange(A, allowed_ips=frozenset({TWO}))])
    before = plane.dump(DEVICE)
    with pytest.raises(PlaneError, match="with another key"):
        Reconciler(plane, system, DEVICE, SETTINGS, mtu=1420).bring_up(PLAN, ENDPOINTS)
    assert plane.dump(DEVICE) == before


def test_what_is_as_planned_is_not_touched(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    assert reconciler.apply(PlanChange(PLAN.address, {}, PLAN.routes), ENDPOINTS) == []
    assert reconciler.apply(PlanChange(PLAN.address, PLAN.peers, PLAN.routes), ENDPOINTS) == []
    assert len(plane.applied) == 1


def test_a_change_is_carried_out_on_what_is_known(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    swapped = replace(PLAN, peers={A: PeerPlan("a:1", frozenset({TWO})), B: PeerPlan(None, frozenset({ONE}), 25)})
    plane.applied.clear()
    for before, plan in ((PLAN, swapped), (swapped, PLAN)):
        dumps = plane.dumps
        assert reconciler.apply(since(before, plan), {}) == plane.applied.pop()
        assert plane.dumps == dumps + 1, "that of the plane's own apply"
        assert planned(plane, plan)


def test_a_rotated_key_takes_over_before_the_one_before_it_goes(plane: CountingPlane, system: MemorySystem) -> None:
    paused: list[int] = []
    pause = lambda _seconds: paused.append(len(plane.applied))  # noqa: E731
    reconciler = Reconciler(plane, system, DEVICE, SETTINGS, mtu=1420, pause=pause)
    reconciler.bring_up(PLAN, ENDPOINTS)
    plane.apply(DEVICE, [PeerChange(B, endpoint=("198.18.0.9", 9))])  # learned from its packets
    rotated = replace(PLAN, peers={A: PLAN.peers[A], C: PLAN.peers[B]})
    plane.applied.clear()
    reconciler.apply(replace(since(PLAN, rotated), successors={C: B}), ENDPOINTS)
    assert [[(change.key, change.remove) for change in changes] for changes in plane.applied] == [
        [(C, False)],
        [(B, True)],
    ]
    assert paused == [1], "what is under way leaves in between"
    assert planned(plane, rotated)
    assert plane.dump(DEVICE).peers[C].endpoint == ("198.18.0.9", 9)


def test_another_private_key_leaves_the_peers_alone(
    plane: CountingPlane, system: MemorySystem, reconciler: Reconciler
) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    before, private = plane.dump(DEVICE), generate_private_key()
    reconciler.rekey(private)
    assert plane.dump(DEVICE) == replace(before, public_key=public_key(private))
    assert reconciler.check(PLAN, ENDPOINTS) == []


def test_an_interface_with_the_key_before_a_rotation_is_ours(plane: CountingPlane, system: MemorySystem) -> None:
    Reconciler(plane, system, DEVICE, SETTINGS, mtu=1420).bring_up(PLAN, ENDPOINTS)
    rotated = replace(SETTINGS, private_key=generate_private_key())
    former = (public_key(SETTINGS.private_key),)
    assert Reconciler(plane, system, DEVICE, rotated, mtu=1420, former=former).bring_up(PLAN, ENDPOINTS) is False
    assert plane.dump(DEVICE).public_key == public_key(rotated.private_key)
    assert planned(plane)


def test_an_entry_that_names_another_endpoint_is_followed_once(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    moved = replace(PLAN, peers={**PLAN.peers, A: replace(PLAN.peers[A], endpoint="a:2")})
    reconciler.apply(since(PLAN, moved), {})
    assert plane.dump(DEVICE).peers[A].endpoint == ("198.18.0.1", 1), "not resolved yet"
    reconciler.apply(since(PLAN, moved), ENDPOINTS)
    assert plane.dump(DEVICE).peers[A].endpoint == ("198.18.0.2", 2)

    plane.apply(DEVICE, [PeerChange(A, endpoint=("198.18.0.9", 9))])  # it roams
    assert reconciler.check(moved, ENDPOINTS) == []
    reconciler.apply(since(PLAN, moved), ENDPOINTS)
    assert plane.dump(DEVICE).peers[A].endpoint == ("198.18.0.9", 9)


def test_what_was_known_is_doubted_after_an_error(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    swapped = replace(PLAN, peers={A: PeerPlan("a:1", frozenset({TWO})), B: PeerPlan(None, frozenset({ONE}))})
    plane.fail_next = True
    with pytest.raises(PlaneError, match="half way"):
        reconciler.apply(since(PLAN, swapped), ENDPOINTS)
    reconciler.apply(since(swapped, swapped), {})
    assert planned(plane, swapped), "it holds what it was told, whatever came in between"


def test_an_interface_that_went_away_is_made_again_by_the_next_change(
    plane: CountingPlane, system: MemorySystem, reconciler: Reconciler
) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    plane.delete(DEVICE)
    smaller = replace(PLAN, peers={A: PLAN.peers[A]})
    with pytest.raises(PlaneError, match="no such device"):
        reconciler.apply(since(PLAN, smaller), ENDPOINTS)
    reconciler.apply(since(smaller, smaller), {})
    assert planned(plane, smaller)
    assert plane.dump(DEVICE).peers[A].endpoint == ("198.18.0.1", 1), "the endpoints of all are still known"


def test_a_remake_that_fails_forgets_nothing(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    plane.delete(DEVICE)
    plane.fail_next = True
    with pytest.raises(PlaneError, match="half way"):
        reconciler.check(PLAN, ENDPOINTS)
    assert plane.devices == {}
    reconciler.apply(since(PLAN, PLAN), {})
    assert planned(plane)


def test_routes_follow_the_plan(system: MemorySystem, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    wider = replace(PLAN, routes=PLAN.routes | {IPv6Network("fd01::/64")})
    assert reconciler.apply(since(PLAN, wider), {}) == []
    assert system.routes[DEVICE] == wider.routes


def test_check_repairs_and_tells(plane: CountingPlane, system: MemorySystem, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    plane.apply(DEVICE, [PeerChange(B, remove=True)])
    plane.devices[DEVICE] = replace(plane.dump(DEVICE), listen_port=1)
    system.addresses.clear()
    system.set_link(DEVICE, mtu=1280, up=False)
    assert len(reconciler.check(PLAN, ENDPOINTS)) == 4
    assert planned(plane)
    assert plane.dump(DEVICE).listen_port == 51820
    assert reconciler.check(PLAN, ENDPOINTS) == []

    plane.delete(DEVICE)
    assert reconciler.check(PLAN, ENDPOINTS) == [f"{DEVICE} was gone"]
    assert planned(plane)


def test_a_comparison_tells_what_a_check_would_repair_and_repairs_nothing(
    plane: CountingPlane, system: MemorySystem, reconciler: Reconciler
) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    assert reconciler.compare() == []
    stranger = b"c" * 32
    plane.apply(DEVICE, [PeerChange(B, remove=True), PeerChange(stranger), PeerChange(A, allowed_ips=frozenset({TWO}))])
    plane.devices[DEVICE] = replace(plane.dump(DEVICE), listen_port=1)
    system.addresses.clear()
    system.routes.clear()
    system.set_link(DEVICE, mtu=1280, up=False)
    plane.applied.clear()
    found = reconciler.compare()
    assert {each.peer: each.what for each in found if each.peer} == {
        stranger: "nobody planned this peer",
        B: "it is missing",
        A: "it has other allowed IPs, or another keepalive",
    }
    assert [each.what for each in found if each.peer is None] == [
        "it has another port",
        "it is not up with MTU 1420",
        "it has lost its address fd00::f/128",
        "it has other routes",
    ]
    assert plane.applied == [] and reconciler.compare() == found
    reconciler.check(PLAN, ENDPOINTS)
    assert reconciler.compare() == []
    plane.delete(DEVICE)
    assert [each.what for each in reconciler.compare()] == ["it is gone"]


def test_a_peer_that_follows_its_name_was_changed_by_nobody(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    reconciler.apply(PlanChange(PLAN.address, {A: PLAN.peers[A]}, PLAN.routes), {"a:1": ("198.18.0.7", 1)})
    assert reconciler.compare() == []
    assert reconciler.check(PLAN, {"a:1": ("198.18.0.7", 1)}) == [f"{DEVICE} had 1 {SILENT}"]
    assert plane.dump(DEVICE).peers[A].endpoint == ("198.18.0.7", 1)


def test_a_check_is_of_the_whole_plan(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    smaller = replace(PLAN, peers={B: PLAN.peers[B]})
    assert reconciler.check(smaller, {}) == [f"{DEVICE} had 1 peers that were not as planned"]
    assert planned(plane, smaller)


def test_a_failed_check_puts_everything_in_doubt(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    plane.apply(DEVICE, [PeerChange(A, remove=True)])
    plane.fail_next = True
    with pytest.raises(PlaneError, match="half way"):
        reconciler.check(PLAN, ENDPOINTS)
    plane.apply(DEVICE, [PeerChange(B, remove=True)])
    reconciler.apply(since(PLAN, PLAN), {})
    assert planned(plane)


def test_our_interface_with_another_key_is_given_ours_again(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    plane.configure(DEVICE, DeviceSettings(generate_private_key(), 4242))
    plane.fail_next = True
    with pytest.raises(PlaneError, match="half way"):
        reconciler.apply(since(PLAN, replace(PLAN, peers={})), {})
    reconciler.apply(since(PLAN, PLAN), {})
    assert plane.dump(DEVICE).public_key == public_key(SETTINGS.private_key)


def test_the_mark_of_its_packets_is_set_and_kept(plane: CountingPlane, system: MemorySystem) -> None:
    marked = Reconciler(plane, system, DEVICE, replace(SETTINGS, fwmark=MARK), mtu=1420)
    marked.bring_up(PLAN, ENDPOINTS)
    assert plane.dump(DEVICE).fwmark == MARK
    plane.configure(DEVICE, SETTINGS)
    assert marked.check(PLAN, ENDPOINTS) == [f"{DEVICE} had another mark"]
    assert plane.dump(DEVICE).fwmark == MARK


def test_a_failure_leaves_no_new_interface_behind_but_an_adopted_one(plane: CountingPlane) -> None:
    broken = Reconciler(plane, BrokenSystem(), DEVICE, SETTINGS, mtu=1420)
    with pytest.raises(PlaneError):
        broken.bring_up(PLAN, ENDPOINTS)
    assert plane.devices == {}

    Reconciler(plane, MemorySystem(), DEVICE, SETTINGS, mtu=1420).bring_up(PLAN, ENDPOINTS)
    with pytest.raises(PlaneError):
        broken.bring_up(PLAN, ENDPOINTS)
    assert planned(plane)
    with pytest.raises(PlaneError):
        broken.apply(since(PLAN, PLAN), {})


def test_a_port_of_another_device_is_refused(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    other = Reconciler(plane, MemorySystem(), "smeg-office", SETTINGS, mtu=1420)
    with pytest.raises(PlaneError, match="UDP port 51820 is in use by smeg-prod"):
        other.bring_up(PLAN, ENDPOINTS)
    assert list(plane.devices) == [DEVICE]


def test_renew_takes_one_peer_away_and_gives_it_back(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    plane.apply(DEVICE, [PeerChange(B, endpoint=("198.18.0.7", 7))])
    plane.applied.clear()
    reconciler.renew(B)
    reconciler.renew(b"x" * 32)
    assert [[change.key for change in changes] for changes in plane.applied] == [[B, B]]
    assert planned(plane)
    assert plane.dump(DEVICE).peers[B].endpoint == ("198.18.0.7", 7), "a learned endpoint is not forgotten"
    assert reconciler.check(PLAN, ENDPOINTS) == []


def test_a_renewal_that_fails_half_way_is_mended(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    plane.fail_next = True
    with pytest.raises(PlaneError, match="half way"):
        reconciler.renew(A)
    reconciler.apply(since(PLAN, PLAN), {})
    assert planned(plane)


def test_a_check_lets_a_silent_peer_follow_its_name(plane: CountingPlane, system: MemorySystem) -> None:
    now = 1_000_000.0
    reconciler = Reconciler(plane, system, DEVICE, SETTINGS, mtu=1420, wall=lambda: now)
    reconciler.bring_up(PLAN, ENDPOINTS)
    moved = {**ENDPOINTS, "a:1": ("198.18.0.3", 1)}
    hear(plane, A, ("198.18.0.9", 9), now)
    assert reconciler.check(PLAN, moved) == []
    reconciler.apply(PlanChange(PLAN.address, PLAN.peers, PLAN.routes), moved)
    assert plane.dump(DEVICE).peers[A].endpoint == ("198.18.0.9", 9), "it is heard"
    now += 181
    assert "another address" in reconciler.check(PLAN, moved)[0]
    assert plane.dump(DEVICE).peers[A].endpoint == ("198.18.0.3", 1)
    hear(plane, A, ("198.18.0.9", 9), now)
    now += 181
    assert reconciler.check(PLAN, moved) == [], "what was learned since is newer"


def hear(plane: CountingPlane, key: bytes, endpoint: Endpoint, when: float) -> None:
    """Packets of a peer came from there."""
    state = plane.devices[DEVICE]
    peers = {**state.peers, key: replace(state.peers[key], endpoint=endpoint, handshake=when)}
    plane.devices[DEVICE] = replace(state, peers=peers)


def test_take_down_leaves_nothing(plane: CountingPlane, reconciler: Reconciler) -> None:
    reconciler.bring_up(PLAN, ENDPOINTS)
    reconciler.take_down()
    assert plane.devices == {}
    plane.create(DEVICE)
    plane.configure(DEVICE, DeviceSettings(generate_private_key(), 4242))
    with pytest.raises(PlaneError, match="with another key"):
        reconciler.bring_up(PLAN, ENDPOINTS)


KEYS = st.sampled_from([bytes([number]) * 32 for number in range(5)])
NETWORKS = [IPv6Network(f"fd00::{number:x}") for number in range(6)]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Up to five peers; an allowed IP has one owner."""
    keys = draw(st.lists(KEYS, min_size=1, unique=True))
    owners = {network: draw(st.sampled_from(keys)) for network in NETWORKS}
    named = st.sampled_from([None, "a:1", "a:2", "unresolved:1"])
    peers = {
        key: PeerPlan(draw(named), frozenset(network for network, owner in owners.items() if owner == key))
        for key in keys
    }
    return replace(PLAN, peers=peers)


@given(st.lists(plans(), min_size=2, max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_a_check_finds_nothing_whatever_was_followed(course: list[Plan], data: st.DataObject) -> None:
    """Change after change, while applies fail, sessions are renewed and the interface vanishes."""
    plane = CountingPlane()
    reconciler = Reconciler(plane, MemorySystem(), DEVICE, SETTINGS, mtu=1420)
    reconciler.bring_up(course[0], ENDPOINTS)
    for before, plan in pairwise(course):
        event = data.draw(st.sampled_from(["", "", "fails", "vanishes", "renewed"]))
        plane.fail_next = event == "fails"
        if event == "vanishes":
            plane.delete(DEVICE)
        elif event == "renewed" and DEVICE in plane.devices:
            reconciler.renew(data.draw(KEYS))
        try:
            reconciler.apply(since(before, plan), ENDPOINTS)
        except PlaneError:
            reconciler.apply(since(plan, plan), {})
    plane.fail_next = False
    gone = DEVICE not in plane.devices
    assert reconciler.check(course[-1], ENDPOINTS) == ([f"{DEVICE} was gone"] if gone else [])
    assert planned(plane, course[-1])
    assert reconciler.check(course[-1], ENDPOINTS) == []


def test_no_secret_is_in_a_repr() -> None:
    assert SETTINGS.private_key.hex() not in repr(SETTINGS)
    assert repr(SETTINGS.private_key) not in repr(SETTINGS)
