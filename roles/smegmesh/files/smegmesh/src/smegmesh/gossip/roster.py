"""The roster: the members as others see them, kept up to date piece by piece, and the view made of it."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address
from types import MappingProxyType

from smegmesh.crdt.entry import Role
from smegmesh.crdt.statement import SignedEntry
from smegmesh.gossip.view import Liveness, Member, View


class Roster:
    """Members by node key. Of two with one address the lower key has it, the other is left out."""

    def __init__(self, mesh_id: str, own: bytes, address_of: Callable[[str, bytes], IPv6Address]) -> None:
        self._mesh_id = mesh_id
        self._own = own
        self._address_of = address_of
        self._members: dict[bytes, Member] = {}
        self._peers: list[bytes] = []
        self._at: dict[IPv6Address, list[bytes]] = {}
        self._link_addresses: dict[str, set[bytes]] = {}
        self._leader: bytes | None = None
        self._unreachable: frozenset[bytes] = frozenset()
        self._changed = True
        self._view: View | None = None

    @property
    def peers(self) -> Sequence[bytes]:
        """The node keys of all peers, in ascending order."""
        return self._peers

    def get(self, key: bytes) -> Member | None:
        return self._members.get(key)

    def put(self, key: bytes, signed: SignedEntry | None) -> bytes | None:
        """A member's entry changed; None: it is no member any more. Returns the node whose address it has, if any."""
        old = self._members.pop(key, None)
        self._index(old, present=False)
        self._changed = True
        if signed is None:
            return None
        liveness = Liveness.ALIVE if old is None else old.liveness
        address = self._address_of(self._mesh_id, key) if old is None else old.address
        self._members[key] = new = Member(key, address, signed.entry, signed.record.number, liveness)
        self._index(new, present=True)
        holders = self._at[address]
        return holders[0] if holders[0] != key else holders[1] if len(holders) > 1 else None

    def judge(self, key: bytes, liveness: Liveness) -> None:
        """A member's liveness changed."""
        old = self._members.get(key)
        if old is not None and old.liveness is not liveness:
            self._members[key] = Member(key, old.address, old.entry, old.number, liveness)
            self._changed = True

    def lead(self, leader: bytes | None) -> None:
        """Who leads."""
        self._changed |= leader != self._leader
        self._leader = leader

    def disqualify(self, unreachable: frozenset[bytes]) -> None:
        """Whom this node alone cannot reach."""
        self._changed |= unreachable != self._unreachable
        self._unreachable = unreachable

    def known_at(self, address: str) -> bool:
        """Whether some member names this address for links."""
        return address in self._link_addresses

    def took_change(self) -> bool:
        """Whether the view is another one than when this was last asked."""
        changed, self._changed = self._changed, False
        if changed:
            self._view = None
        return changed

    def view(self, digest: bytes) -> View:
        """The picture now; made anew only when something changed."""
        if self._changed or self._view is None or self._view.digest != digest:
            members = self._view.members if self._view is not None and not self._changed else self._visible()
            self._view = View(self._mesh_id, self._own, members, self._leader, digest, self._unreachable)
        return self._view

    def _visible(self) -> MappingProxyType[bytes, Member]:
        members = dict(self._members)
        for holders in self._at.values():
            for key in holders[1:]:
                del members[key]
        return MappingProxyType(members)

    def _index(self, member: Member | None, *, present: bool) -> None:
        if member is None:
            return
        holders = self._at.setdefault(member.address, [])
        _put(holders, member.node_key, present)
        if not holders:
            del self._at[member.address]
        _put(self._peers, member.node_key, present and member.entry.role is Role.PEER)
        for address in member.entry.links:
            keys = self._link_addresses.setdefault(address, set())
            (keys.add if present else keys.discard)(member.node_key)
            if not keys:
                del self._link_addresses[address]


def _put(ordered: list[bytes], key: bytes, present: bool) -> None:
    """Add a key to an ascending list, or take it out."""
    at = bisect_left(ordered, key)
    held = at < len(ordered) and ordered[at] == key
    if present and not held:
        insort(ordered, key)
    elif held and not present:
        del ordered[at]
