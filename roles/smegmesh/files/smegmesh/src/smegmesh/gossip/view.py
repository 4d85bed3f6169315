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
        down or unknown. For the own node one that it cannot reach itself comes last.
        """
        client_member = self.members.get(client)
        if client_member is None:
            return None
        entry = client_member.entry
        usable = [key for key in (entry.home, entry.backup) if key is not None and self._lives(key)]
        if client == self.node_key:
            usable.sort(key=lambda key: key in self.unreachable)
        return usable[0] if usable else None

    def changed_since(self, before: View) -> set[bytes]:
        """Node keys of the members that came, went or are another member than in an earlier view."""
        keys = self.members.keys() | before.members.keys()
        return {key for key in keys if self.members.get(key) != before.members.get(key)}

    def _lives(self, key: bytes) -> bool:
        member = self.members.get(key)
        return member is not None and member.liveness is not Liveness.DOWN
