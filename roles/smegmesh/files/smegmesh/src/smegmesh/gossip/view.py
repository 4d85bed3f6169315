"""The view: the immutable picture of a mesh at a moment.

The gossip engine makes views; routing turns them into plans, the control room
shows them. Keys of members are node keys (32 bytes, the WireGuard public key a
node was born with).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address

from smegmesh.crdt.digest import DigestTree
from smegmesh.crdt.entry import Entry
from smegmesh.crdt.held import Held
from smegmesh.identity.address import node_address


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


class Members(Mapping[bytes, Member]):
    """The members by node key, read from a snapshot of the map: made at no cost, each member when it is asked for."""

    __slots__ = ("_counted", "_failed", "_hidden", "_mesh_id", "_tree")

    def __init__(
        self, mesh_id: str, tree: DigestTree, failed: Mapping[bytes, Liveness], hidden: Collection[bytes]
    ) -> None:
        """`tree`, `failed` (who is not alive) and `hidden` (whom to leave out) must not change any more."""
        self._mesh_id = mesh_id
        self._tree = tree
        self._failed = failed
        self._hidden = hidden
        self._counted: Counter[Liveness] | None = None

    def __getitem__(self, key: bytes) -> Member:
        held = self._tree.get(key)
        if held is None or not self._shows(held):
            raise KeyError(key)
        return self._member(held)

    def __contains__(self, key: object) -> bool:
        held = self._tree.get(key) if isinstance(key, bytes) else None
        return held is not None and self._shows(held)

    def __iter__(self) -> Iterator[bytes]:
        return (held.key for held in self._tree if self._shows(held))

    def __len__(self) -> int:
        return sum(1 for _key in self)

    def may_differ(self, before: Members) -> set[bytes]:
        """Keys among which are all members that came, went or are another one. Costs what differs."""
        failed = self._failed.items() ^ before._failed.items() if self._failed is not before._failed else ()
        hidden = {*self._hidden} ^ {*before._hidden}
        return {*self._tree.differing(before._tree), *(key for key, _liveness in failed), *hidden}

    def liveness(self) -> Counter[Liveness]:
        """How many there are of each; makes none of them, and counts once."""
        if self._counted is None:
            self._counted = Counter(self._failed.get(key, Liveness.ALIVE) for key in self)
        return self._counted

    def _shows(self, held: Held) -> bool:
        return held.present and held.key not in self._hidden

    def _member(self, held: Held) -> Member:
        assert held.entry is not None
        return Member(
            held.key,
            node_address(self._mesh_id, held.key),
            held.entry.entry,
            held.entry.record.number,
            self._failed.get(held.key, Liveness.ALIVE),
        )


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

    def liveness(self) -> Counter[Liveness]:
        """How many members are alive, mute and down."""
        if isinstance(self.members, Members):
            return self.members.liveness()
        return Counter(member.liveness for member in self.members.values())

    def changed_since(self, before: View) -> set[bytes]:
        """Node keys of the members that came, went or are another member than in an earlier view.

        Between two views of one engine it costs what changed, not what there is.
        """
        if isinstance(self.members, Members) and isinstance(before.members, Members):
            keys = self.members.may_differ(before.members)
        else:
            keys = {*self.members, *before.members}
        return {key for key in keys if self.members.get(key) != before.members.get(key)}

    def _lives(self, key: bytes) -> bool:
        member = self.members.get(key)
        return member is not None and member.liveness is not Liveness.DOWN
