"""Static peers, from the declaration to what the plan takes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from smegmesh.declaration import StaticPeer
from smegmesh.declaration.choose import FIRST_PORT
from smegmesh.routing import static_peers
from smegmesh.store.static_keys import drop_static_keys, ensure_static_key


def prepare_static_peers(
    state: Path, mesh_id: str, declared: Collection[StaticPeer]
) -> tuple[static_peers.StaticPeer, ...]:
    """With their preshared keys: what is missing is made, what is over removed.

    Raises StoreError, OSError.
    """
    drop_static_keys(state, mesh_id, [peer.public_key for peer in declared if peer.preshared_key])
    return tuple(
        static_peers.StaticPeer(
            peer.public_key,
            peer.endpoint.text(FIRST_PORT) if peer.endpoint is not None else None,
            peer.keepalive,
            ensure_static_key(state, mesh_id, peer.public_key) if peer.preshared_key else None,
            frozenset(peer.allowed_ips),
        )
        for peer in declared
    )
