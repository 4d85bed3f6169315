"""Rendezvous order: what a client may rely on."""

from __future__ import annotations

from collections import Counter

from smegmesh.routing.homes import rendezvous


def keys(count: int, kind: bytes) -> list[bytes]:
    return [(kind + bytes([number])).ljust(32, b"\0") for number in range(count)]


def test_the_order_is_the_same_whatever_order_peers_come_in() -> None:
    peers = keys(9, b"peer")
    assert rendezvous(b"c" * 32, peers) == rendezvous(b"c" * 32, reversed(peers))
    assert sorted(rendezvous(b"c" * 32, peers)) == peers


def test_the_loss_of_a_peer_moves_its_own_clients_only() -> None:
    peers = keys(7, b"peer")
    for client in keys(50, b"client"):
        order = rendezvous(client, peers)
        for lost in peers:
            left = [peer for peer in peers if peer != lost]
            assert rendezvous(client, left) == [peer for peer in order if peer != lost]


def test_clients_spread_over_peers() -> None:
    peers = keys(5, b"peer")
    chosen = Counter(rendezvous(client, peers)[0] for client in keys(250, b"client"))
    assert min(chosen[peer] for peer in peers) > 25


def test_nobody_to_choose_from() -> None:
    assert rendezvous(b"c" * 32, []) == []
