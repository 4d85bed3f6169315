"""Which peer carries which clients, kept up to date at the cost of what changed."""

from __future__ import annotations

from collections.abc import Iterable, Set
from ipaddress import IPv6Address, IPv6Network

from smegmesh.crdt.entry import Role
from smegmesh.gossip.view import Liveness, View
from smegmesh.routing.plan import carrier_of, homes, host_network


class Carriers:
    """The clients that each peer carries, by the view that was followed last."""

    def __init__(self, view: View) -> None:
        self._naming: dict[bytes, set[bytes]] = {}  # clients by the node that they name as home or backup
        self._carried: dict[bytes, set[IPv6Network]] = {}  # addresses of clients by carrier
        self._name(view, view.members)
        for key in view.members:
            self._give(_carriage(view, key))

    def carried(self, key: bytes) -> Set[IPv6Network]:
        """The addresses of the clients that a peer carries."""
        return self._carried.get(key, frozenset())

    def follow(self, before: View, view: View, changed: Set[bytes]) -> set[bytes]:
        """Go from one view to the next, where `changed` are other members.

        Returns the node keys of the clients that changed hands, and of the peers on both sides.
        """
        clients = set(changed)
        for key in changed:
            if _standing(before, key) != _standing(view, key):
                clients |= self._naming.get(key, set())
        self._unname(before, changed)
        self._name(view, changed)
        hands = {key: (_carriage(before, key), _carriage(view, key)) for key in clients}
        moved = {key: (old, new) for key, (old, new) in hands.items() if old != new}
        # All is taken before anything is given: an address may pass from one client to another.
        for old, _new in moved.values():
            self._take(old)
        for _old, new in moved.values():
            self._give(new)
        return moved.keys() | {carriage[0] for each in moved.values() for carriage in each if carriage is not None}

    def _name(self, view: View, clients: Iterable[bytes]) -> None:
        for client in clients:
            for named in homes(view, client):
                self._naming.setdefault(named, set()).add(client)

    def _unname(self, view: View, clients: Iterable[bytes]) -> None:
        for client in clients:
            for named in homes(view, client):
                naming = self._naming[named]
                naming.remove(client)
                if not naming:
                    del self._naming[named]

    def _give(self, carriage: _Carriage) -> None:
        if carriage is not None:
            carrier, address = carriage
            self._carried.setdefault(carrier, set()).add(host_network(address))

    def _take(self, carriage: _Carriage) -> None:
        if carriage is not None:
            carrier, address = carriage
            self._carried[carrier].remove(host_network(address))
            if not self._carried[carrier]:
                del self._carried[carrier]


_Carriage = tuple[bytes, IPv6Address] | None  # by whom a client is carried, and its address


def _carriage(view: View, client: bytes) -> _Carriage:
    carrier = carrier_of(view, client)
    return None if carrier is None else (carrier, view.members[client].address)


def _standing(view: View, key: bytes) -> tuple[Role, bool] | None:
    """What matters of a member to those that name it as their home or backup."""
    member = view.members.get(key)
    return None if member is None else (member.entry.role, member.liveness is Liveness.DOWN)
