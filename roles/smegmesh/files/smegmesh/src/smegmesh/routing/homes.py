"""Which peers a client would rather have as home: rendezvous order.

Highest random weight hashing (Thaler and Ravishankar, 1998): every pair of client and
peer has a weight that anyone can compute, and a client ranks the peers by it. Clients
spread evenly over peers, and the loss of a peer moves the clients of that peer alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

_DOMAIN = b"smegmesh/home\0"


def weight(client: bytes, peer: bytes) -> bytes:
    """The weight of a pair of node keys, compared as bytes."""
    return sha256(_DOMAIN + client + peer).digest()


def rendezvous(client: bytes, peers: Iterable[bytes]) -> list[bytes]:
    """Node keys of peers, the one the client prefers first. The order of `peers` is irrelevant."""
    return sorted(peers, key=lambda peer: (weight(client, peer), peer), reverse=True)
