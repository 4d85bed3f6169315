"""What the API says of the members of a mesh: the view and the device, read by many at the price of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from msgspec.structs import replace

from smegmesh.control import types
from smegmesh.crdt.entry import Role
from smegmesh.daemon.threads import in_thread
from smegmesh.dataplane.plane import DeviceState
from smegmesh.gossip.view import Member, View
from smegmesh.identity.address import node_address
from smegmesh.identity.keys import encode_key
from smegmesh.routing.plan import way_to

_FRESH = 30  # an answer is as good as new for so many times as long as it took to make
_KEPT = 60.0  # seconds that an answer is kept after the last who asked


class MemberReader:
    """Answers `read`: the same list to all who ask within thirty times as long as it took to make.

    So a thirtieth of the time at most goes into answers, however many ask, and in a small mesh they are of this moment.
    """

    def __init__(
        self,
        view: Callable[[], View],
        role: Role,
        device: Callable[[], Awaitable[DeviceState | None]],
        clock: Callable[[], float],
    ) -> None:
        self._view = view
        self._role = role
        self._device = device
        self._clock = clock
        self._reports = MemberReports(role)
        self._asked = float("-inf")
        self._answer: list[types.Member] = []
        self._good_until = float("-inf")
        self._reading = asyncio.Lock()

    async def read(self) -> list[types.Member]:
        """The members, sorted by name; the list must not be changed."""
        async with self._reading:
            began = self._asked = self._clock()
            if began >= self._good_until:
                device = await self._device()
                self._answer = await in_thread(self._reports.read, self._view(), device)
                ended = self._clock()
                self._good_until = ended + _FRESH * (ended - began)
        return self._answer

    def forget(self) -> None:
        """Something was changed here: who asks next is to see it."""
        self._good_until = float("-inf")

    def viewed(self) -> None:
        """There is another view. What nobody has asked for lately takes no room until somebody does."""
        if self._answer and self._clock() - self._asked > _KEPT:
            self._reports, self._answer = MemberReports(self._role), []
            self.forget()


class MemberReports:
    """The members as the API has them, for a node of some role; what a view does not change is made once."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._seen: View | None = None
        self._made: dict[bytes, tuple[types.Member, bytes]] = {}  # without figures; the key of the tunnel that has them
        self._homes: dict[bytes, tuple[bytes | None, bytes | None]] = {}  # of clients
        self._sorted: list[tuple[types.Member, bytes]] = []

    def read(self, view: View, device: DeviceState | None) -> list[types.Member]:
        """The members by name, with what the device knows of them. O(members), most of it small."""
        if view is not self._seen:
            self._follow(view)
            self._sorted = sorted(self._made.values(), key=lambda made: (made[0].name, made[0].node_key))
        if device is None:
            return [member for member, _tunnel in self._sorted]
        now = time.time()
        return [_with_figures(member, device, tunnel, now) for member, tunnel in self._sorted]

    def _follow(self, view: View) -> None:
        for key in self._stale(view):
            member = view.members.get(key)
            if member is None:
                self._made.pop(key, None)
                self._homes.pop(key, None)
                continue
            self._made[key] = _member_report(view, self._role, member)
            if member.entry.role is Role.CLIENT:
                self._homes[key] = member.entry.home, member.entry.backup
            else:
                self._homes.pop(key, None)
        self._seen = view

    def _stale(self, view: View) -> Iterable[bytes]:
        """Whose report may be another one than by the last view."""
        before = self._seen
        if before is None:
            return list(view.members)
        changed = view.changed_since(before)
        if self._role is Role.CLIENT and (changed or view.unreachable != before.unreachable):
            return {*self._made, *view.members}  # all may be reached another way
        changed |= {key for key, homes in self._homes.items() if not changed.isdisjoint(homes)}
        leaders = {before.leader, view.leader} if before.leader != view.leader else set()
        return changed | {key for key in leaders if key is not None}


def member_reports(view: View, role: Role, device: DeviceState | None) -> list[types.Member]:
    """The members, sorted by name, with what the device of this node, of that role, knows of them."""
    return MemberReports(role).read(view, device)


def _member_report(view: View, role: Role, member: Member) -> tuple[types.Member, bytes]:
    entry = member.entry
    way = way_to(view, role, member.node_key)
    carrier = view.members[way] if way is not None else member
    report = types.Member(
        name=entry.name,
        role=entry.role.value,
        node_key=encode_key(member.node_key),
        address=str(member.address),
        liveness=member.liveness.value,
        number=member.number,
        alias=entry.alias,
        description=entry.description,
        leader=member.node_key == view.leader,
        own=member.node_key == view.node_key,
        home=name_of(view, entry.home),
        backup=name_of(view, entry.backup),
        endpoints=list(entry.endpoints),
        services=dict(entry.services),
        advertise=list(entry.advertise),
        bridge=entry.bridge,
        static_peers={name: str(node_address(view.mesh_id, key)) for name, key in entry.static_peers.items()},
        through=carrier.entry.name if carrier.node_key != member.node_key else None,
        version=entry.agent,
    )
    return report, carrier.entry.tunnel_key


def _with_figures(member: types.Member, device: DeviceState, tunnel: bytes, now: float) -> types.Member:
    peer = device.peers.get(tunnel)
    if peer is None:
        return member
    age = max(now - peer.handshake, 0.0) if peer.handshake else None
    preshared = peer.preshared_key is not None
    return replace(member, preshared_key=preshared, handshake_age=age, received=peer.received, sent=peer.sent)


def name_of(view: View, node_key: bytes | None) -> str | None:
    """The name of a member, the key of who is none."""
    if node_key is None:
        return None
    member = view.members.get(node_key)
    return member.entry.name if member is not None else encode_key(node_key)
