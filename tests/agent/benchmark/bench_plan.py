"""From a view of a mesh to bytes for the kernel, on this machine: the pure parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle

import peers
import routed
from section import Figure, Section, processor_seconds

from smegmesh.crdt.entry import Entry, Role
from smegmesh.dataplane import wireguard_messages as wireguard
from smegmesh.dataplane.diff import WantedPeer, diff
from smegmesh.dataplane.peer_table import PeerTable
from smegmesh.dataplane.plane import DeviceState, Endpoint
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.routing.plan import LocalPolicy, Plan, make_plan
from smegmesh.routing.planner import Planner

MESH = "prod"
POLICY = LocalPolicy(role=Role.PEER)
METHOD = f"""\
Processor time of single calls on this machine, no kernel involved; the median of seven. The view has
{peers.COUNT} members, a third of them clients, each carried by a peer; one change is a client that has moved
to its backup, which the view knows. The plan and the difference of one change are those the agent makes:
of what changed, not of everything. The routing is that of a peer that accepts all of {routed.PREFIXES} prefixes,
each advertised by two of {routed.EXITS} exits, with the plan that follows from it; one change is an exit that is
found down, or alive again."""


def measure() -> Section:
    before = view()
    after = moved(before)
    plan = make_plan(before, POLICY)
    wanted = resolved(plan)
    held = PeerTable({})
    held.advance(diff(wanted, held))
    change = Planner(before, POLICY).follow(after, POLICY)
    new_wanted = resolved(make_plan(after, POLICY))
    assert len(diff(new_wanted, held, change.peers)) == len(diff(new_wanted, held)) == 2
    changes = peers.changes()
    messages = [memoryview(payload) for payload in wireguard.set_peers("wg0", changes)]
    return Section(
        "From view to kernel messages",
        METHOD,
        (
            Figure("plan of a view", processor_seconds(lambda: make_plan(before, POLICY))),
            Figure("plan, one change", processor_seconds(one_change(before))),
            Figure(f"{routed.WHAT}, from scratch", processor_seconds(routed.from_scratch()), bound=0.13),
            Figure(f"{routed.WHAT}, one change", processor_seconds(routed.one_change()), bound=0.03),
            Figure("difference to an empty device", processor_seconds(lambda: diff(wanted, PeerTable({})))),
            Figure("difference, nothing changed", processor_seconds(lambda: diff(wanted, held))),
            Figure("difference, one change", processor_seconds(lambda: diff(new_wanted, held, change.peers))),
            Figure(
                f"messages for {peers.COUNT} peers encoded",
                processor_seconds(lambda: list(wireguard.set_peers("wg0", changes))),
            ),
            Figure(f"messages of {peers.COUNT} peers decoded", processor_seconds(lambda: decoded(messages))),
        ),
    )


def one_change(before: View) -> Callable[[], object]:
    """Each call makes the plan of a view in which the client has moved to its other home."""
    after = moved(before)
    changed = frozenset(after.changed_since(before))
    views = cycle(
        routed.NextView(MESH, each.node_key, each.members, each.leader, each.digest, changed=changed)
        for each in (after, before)
    )
    planner = Planner(before, POLICY)
    return lambda: planner.follow(next(views), POLICY)


def resolved(plan: Plan) -> dict[bytes, WantedPeer]:
    return {
        key: WantedPeer(peer, where := peer.endpoint and address(peer.endpoint)).carried_out(where)
        for key, peer in plan.peers.items()
    }


def decoded(messages: list[memoryview]) -> DeviceState:
    reader = wireguard.DeviceReader()
    for payload in messages:
        reader.read(payload)
    return reader.state()


def address(endpoint: str) -> Endpoint:
    host, _, port = endpoint.rpartition(":")
    return host, int(port)


def view(count: int = peers.COUNT) -> View:
    chance = random.Random(3)
    keys = [chance.randbytes(32) for _ in range(count)]
    carriers = keys[: count * 2 // 3]
    half = len(carriers) // 2
    members = {}
    for number, key in enumerate(keys):
        if number < len(carriers):
            entry = Entry(f"n{number}", Role.PEER, key, endpoints=(f"198.18.{number >> 8}.{number & 255}:51820",))
        else:
            # Never this node itself, the first key: what it carries itself is planned in another way.
            home, backup = carriers[1 + number % half], carriers[1 + half + number % (half - 2)]
            entry = Entry(f"n{number}", Role.CLIENT, key, home=home, backup=backup)
        members[key] = Member(key, node_address(MESH, key), entry, 1, Liveness.ALIVE)
    return View(MESH, keys[0], members, min(carriers), bytes(32))


def moved(before: View) -> View:
    """The view after one client has made its backup its home."""
    client = next(member for member in before.members.values() if member.entry.role is Role.CLIENT)
    entry = replace(client.entry, home=client.entry.backup, backup=client.entry.home)
    members: Mapping[bytes, Member] = {**before.members, client.node_key: replace(client, entry=entry)}
    return replace(before, members=members)
