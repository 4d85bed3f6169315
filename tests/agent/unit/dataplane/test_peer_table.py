"""The table of peers against what WireGuard does with the same changes."""

from __future__ import annotations

from ipaddress import IPv6Network

from smegmesh.dataplane.peer_table import PeerTable
from smegmesh.dataplane.plane import PeerChange, PeerState

A, B, C = (letter * 32 for letter in (b"a", b"b", b"c"))
ONE, TWO = (IPv6Network(f"fd00::{number}") for number in (1, 2))


def held(*networks: IPv6Network) -> PeerState:
    return PeerState(None, frozenset(networks), 0)


def test_a_peer_that_is_not_there_is_neither_removed_nor_updated() -> None:
    table = PeerTable({A: held(ONE)})
    table.advance([PeerChange(C, remove=True), PeerChange(C, add=False, keepalive=1)])
    assert table.peers == {A: held(ONE)}


def test_an_allowed_ip_goes_to_the_last_that_is_given_it() -> None:
    table = PeerTable({A: held(ONE), B: held(TWO)})
    table.advance([PeerChange(B, allowed_ips=frozenset({ONE, TWO}))])
    assert table.peers == {A: held(), B: held(ONE, TWO)}
    assert table.owner(ONE) == B


def test_what_a_peer_loses_is_nobodys() -> None:
    table = PeerTable({A: held(ONE), B: held(TWO)})
    table.advance([PeerChange(A, remove=True, add=False), PeerChange(B, add=False, allowed_ips=frozenset())])
    assert (table.owner(ONE), table.owner(TWO)) == (None, None)
    assert table.peers == {B: held()}


def test_the_table_is_not_what_it_was_made_of() -> None:
    made_of = {A: held(ONE)}
    PeerTable(made_of).advance([PeerChange(A, remove=True, add=False)])
    assert made_of == {A: held(ONE)}
