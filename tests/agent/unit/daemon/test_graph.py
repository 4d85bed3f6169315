"""The topology out of a view: who keeps links with whom, who carries whom, what lies beyond."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address

from smegmesh.crdt.entry import BridgedRoute, Entry, Role
from smegmesh.daemon.graph import GraphReader, make_graph
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.keys import encode_key

PEERS = [bytes([number]) * 32 for number in range(1, 41)]
CLIENT, GONE = b"c" * 32, b"g" * 32


def view(down: frozenset[bytes] = frozenset(), home: bytes = PEERS[0]) -> View:
    entries = {key: Entry(f"p{number}", Role.PEER, key) for number, key in enumerate(PEERS)}
    routes = (BridgedRoute(("office",)), BridgedRoute(("office", "lab")), BridgedRoute(("office",), "2001:db8:2::/48"))
    entries[PEERS[3]] = Entry("bridge", Role.PEER, PEERS[3], bridge=True, routes=routes)
    entries[PEERS[4]] = Entry("exit", Role.PEER, PEERS[4], advertise=("2001:db8:1::/48",))
    entries[CLIENT] = Entry("laptop", Role.CLIENT, CLIENT, home=home, backup=PEERS[1])
    members = {
        key: Member(key, IPv6Address(1), entry, 1, Liveness.DOWN if key in down else Liveness.ALIVE)
        for key, entry in entries.items()
    }
    return View("prod", PEERS[0], members, PEERS[0], b"")


def edges(kind: str, seen: View) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in make_graph(seen).edges if edge.kind == kind}


def test_every_peer_that_lives_is_on_the_rings_and_all_are_connected() -> None:
    down = frozenset(PEERS[10:20])
    links = edges("ring", view(down))
    reached = {encode_key(PEERS[0])}
    while more := {end for link in links for end in link if reached & {*link}} - reached:
        reached |= more
    assert reached == {encode_key(key) for key in PEERS if key not in down}
    assert all(2 <= sum(encode_key(key) in link for link in links) <= 12 for key in PEERS if key not in down)


def test_who_carries_a_client_now_is_its_home() -> None:
    laptop = encode_key(CLIENT)
    first, second = encode_key(PEERS[0]), encode_key(PEERS[1])
    assert (edges("home", view()), edges("backup", view())) == ({(laptop, first)}, {(laptop, second)})
    failed = view(frozenset({PEERS[0]}))
    assert (edges("home", failed), edges("backup", failed)) == ({(laptop, second)}, {(laptop, first)})
    assert edges("home", view(home=GONE)) == {(laptop, second)}


async def test_it_is_made_once_for_a_view() -> None:
    seen = view()
    reader = GraphReader(lambda: seen)
    first = await reader.read()
    assert all(each is first for each in await asyncio.gather(*(reader.read() for _ in range(5))))
    seen = view(frozenset({PEERS[0]}))
    assert (await reader.read()) == make_graph(seen) != first


def test_what_lies_beyond_is_there_once_and_every_edge_has_its_ends() -> None:
    graph = make_graph(view())
    beyond = [(node.kind, node.name) for node in graph.nodes if node.kind in ("mesh", "prefix")]
    assert beyond == [("mesh", "office"), ("prefix", "2001:db8:1::/48")]
    assert edges("bridge", view()) == {(encode_key(PEERS[3]), "mesh:office")}
    assert edges("exit", view()) == {(encode_key(PEERS[4]), "prefix:2001:db8:1::/48")}
    ids = [node.id for node in graph.nodes]
    assert len(ids) == len({*ids}) == len(PEERS) + 3
    assert {end for edge in graph.edges for end in (edge.source, edge.target)} <= {*ids}
