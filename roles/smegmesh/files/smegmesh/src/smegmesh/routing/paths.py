"""Paths through meshes: which of two is shorter, and which of several bridges and exits serves.

All of it is computed from hashes of what everybody knows, so that all nodes agree without asking: a
bridge is active in both of its meshes or in none, and the way there is the way back.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Network

Path = tuple[str, ...]  # mesh ids, the next one first, the last one where the destination is
Cost = tuple[int, int]  # how many meshes, then the sum of the weights of the pairs on the way
NOTHING: Cost = (0, 0)


@lru_cache(maxsize=1 << 16)
def pair_weight(one: str, other: str) -> int:
    """The weight of going from one mesh to another, and back."""
    return int.from_bytes(_hash(b"smegmesh/pair", *sorted((one.encode(), other.encode())))[:8], "big")


def step(mesh: str, following: str, cost: Cost) -> Cost:
    """The cost of a way from a mesh, given that from the following one."""
    return cost[0] + 1, cost[1] + pair_weight(mesh, following)


def path_cost(mesh: str, path: Path) -> Cost:
    """The cost of a way from a mesh.

    Costs add up and are the same both ways; two ways of equal cost are as likely as a collision of 64 bits. So
    there is one shortest path between two meshes, and each part of it is the shortest path between its ends.
    """
    cost = NOTHING
    for one, following in zip((mesh, *path), path, strict=False):
        cost = step(one, following, cost)
    return cost


def active_bridge(one: str, other: str, bridges: Iterable[bytes]) -> bytes:
    """Node key of the one of several bridges that forwards between two meshes.

    Rendezvous hashing (Thaler and Ravishankar, 1998), keyed on the pair: load spreads over pairs.
    """
    pair = sorted((one.encode(), other.encode()))
    return max(bridges, key=lambda key: _hash(b"smegmesh/bridge", *pair, key))


def preferred_exit(receiver: bytes | None, prefix: IPv6Network, exits: Iterable[bytes]) -> bytes:
    """Node key of the one of several exits that a receiver uses for a prefix; one for all without a receiver.

    Rendezvous hashing: an exit that goes moves its own receivers only, and takes the same ones when it is back.
    """
    return max(exits, key=lambda key: _hash(b"smegmesh/exit", str(prefix).encode(), receiver or b"", key))


def _hash(*parts: bytes) -> bytes:
    return sha256(b"\0".join(parts)).digest()
