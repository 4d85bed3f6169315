"""From a view of a mesh to bytes for the kernel, on this machine: the pure parts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import peers
from section import Figure, Section, processor_seconds

from smegmesh.crdt.entry import Entry, Role
from smegmesh.dataplane import wireguard_messages as wireguard
from smegmesh.dataplane.diff import advance, diff
from smegmesh.dataplane.plane import DeviceState, Endpoint
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.routing.plan import LocalPolicy, make_plan

MESH = "prod"
METHOD = f"""\
Processor time of single calls on this machine, no kernel involved; the median of seven. The view has
{peers.COUNT} members, a third of them clients, each carried by a peer; one change is a client that has moved
to its backup."""


def measure() -> Section:
    before, after = view(), moved(view())
    policy = LocalPolicy(role=Role.PEER)
    plan, new_plan = make_plan(before, policy), make_plan(after, policy)
    endpoints = {peer.endpoint: resolved(peer.endpoint) for peer in plan.peers.values() if peer.endpoint}
    applied = {key: peer.endpoint for key, peer in plan.peers.items() if peer.endpoint}
    empty = DeviceState(bytes(32), 51820, 0, {})
    all_new = diff(plan, endpoints, empty, {})
    state = replace(empty, peers=advance({}, all_new))
    changes = peers.changes()
    messages = [memoryview(payload) for payload in wireguard.set_peers("wg0", changes)]
    assert len(diff(new_plan, endpoints, state, applied)) == 2
    return Section(
        "From view to kernel messages",
        METHOD,
        (
            Figure("plan of a view", processor_seconds(lambda: make_plan(before, policy))),
            Figure("difference to an empty device", processor_seconds(lambda: diff(plan, endpoints, empty, {}))),
            Figure("difference, nothing changed", processor_seconds(lambda: diff(plan, endpoints, state, applied))),
            Figure("difference, one change", processor_seconds(lambda: diff(new_plan, endpoints, state, applied))),
            Figure(
                f"messages for {peers.COUNT} peers encoded",
                processor_seconds(lambda: list(wireguard.set_peers("wg0", changes))),
            ),
            Figure(f"messages of {peers.COUNT} peers decoded", processor_seconds(lambda: decoded(messages))),
        ),
    )


def decoded(messages: list[memoryview]) -> DeviceState:
    reader = wireguard.DeviceReader()
    for payload in messages:
        reader.read(payload)
    return reader.state()


def resolved(endpoint: str) -> Endpoint:
    host, _, port = endpoint.rpartition(":")
    return host, int(port)


def view() -> View:
    chance = random.Random(3)
    keys = [chance.randbytes(32) for _ in range(peers.COUNT)]
    carriers = keys[: peers.COUNT * 2 // 3]
    members = {}
    for number, key in enumerate(keys):
        if number < len(carriers):
            entry = Entry(f"n{number}", Role.PEER, key, endpoints=(f"198.18.{number >> 8}.{number & 255}:51820",))
        else:
            # Never this node itself, the first key: what it carries itself is planned in another way.
            home, backup = carriers[1 + number % 1000], carriers[1001 + number % 998]
            entry = Entry(f"n{number}", Role.CLIENT, key, home=home, backup=backup)
        members[key] = Member(key, node_address(MESH, key), entry, 1, Liveness.ALIVE)
    return View(MESH, keys[0], members, min(carriers), bytes(32))


def moved(before: View) -> View:
    """The view after one client has made its backup its home."""
    client = next(member for member in before.members.values() if member.entry.role is Role.CLIENT)
    entry = replace(client.entry, home=client.entry.backup, backup=client.entry.home)
    members: Mapping[bytes, Member] = {**before.members, client.node_key: replace(client, entry=entry)}
    return replace(before, members=members)
