"""The view: the immutable picture of a mesh at a moment.

The gossip engine makes views; routing turns them into plans, the control room
shows them. Keys of members are node keys (32 bytes, the WireGuard public key a
node was born with).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address

from smegmesh.crdt.entry import Entry


class Liveness(str, Enum):
    """What the observers of a member agree on."""

    ALIVE = "alive"
    MUTE = "mute"  # the agent is gone, its host still answers through the tunnel
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Member:
    """A node whose entry lies above its horizon."""

    node_key: bytes
    address: IPv6Address
    entry: Entry
    number: int
    liveness: Liveness


@dataclass(frozen=True, slots=True)
class View:
    """Members by node key (the own node included), who leads, and the root digest.

    `digest` is equal on two nodes exactly when all their maps of this mesh are.
    `unreachable` are nodes that this node alone has disqualified: their tunnel
    answered none of its last probes.
    """

    mesh_id: str
    node_key: bytes
    members: Mapping[bytes, Member]
    leader: bytes | None
    digest: bytes
    unreachable: frozenset[bytes] = frozenset()

    def home_of(self, client: bytes) -> bytes | None:
        """Node key of the peer that carries a client's traffic now, None if nobody does.

        The named home unless it is down, else the named backup unless that is
        down or unknown. For the own node what it cannot reach itself is as good as down.
        """
        entry = self.members[client].entry
        for key in (entry.home, entry.backup):
            member = self.members.get(key) if key is not None else None
            if member is None or member.liveness is Liveness.DOWN:
                continue
            if client == self.node_key and key in self.unreachable:
                continue
            return key
        return None
