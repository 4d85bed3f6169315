"""The two zones of a mesh: its names under `MESH.DOMAIN`, and the names of its addresses under ip6.arpa.

A zone is asked with the labels before its apex. It says what a name has, nothing for one that is there only because
others end in it, and None for one that is not there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from smegmesh.gossip.view import View
from smegmesh.identity.address import mesh_prefix, node_address, node_hash
from smegmesh.names.message import MAX_NAME, Records, Type, wire_label, wire_name
from smegmesh.names.register import PLACE_SIZE, Known, Register
from smegmesh.names.words import LEAST, spell

MOST_RECORDS = 256  # of one type that a name has; many more fit into no message
_MAX_APEX = MAX_NAME - 64  # so that any label before it makes a name
_REMEMBERED = 256  # names of services
_DIGITS = 2 * PLACE_SIZE  # of an address after its mesh's prefix
_HEX = frozenset("0123456789abcdef")
_SRV = struct.Struct(">HHH")
_SOA = struct.Struct(">IIIII")
_REFRESH, _RETRY, _EXPIRE = 3600, 600, 86400  # seconds; for secondaries, of which there are none
_NOTHING: Records = {}


class MeshZones:
    """Follows the views of a mesh. ValueError if its names would be too long under the domain."""

    def __init__(self, mesh_id: str, own: bytes, domain: str, ttl: int) -> None:
        """`own` is the node key of this host, which answers; `ttl` is in seconds."""
        self.register = Register()
        self.forward = wire_name(f"{mesh_id}.{domain}")
        if len(self.forward) > _MAX_APEX:
            raise ValueError(f"no names: {mesh_id}.{domain} has more than {_MAX_APEX - 2} characters")
        self.reverse = wire_name(mesh_prefix(mesh_id).network_address.reverse_pointer.split(".", _DIGITS)[_DIGITS])
        self._mesh_id = mesh_id
        self._own = own
        self._ttl = ttl
        self._serial = 0
        self._services: dict[tuple[str, str], Records | None] = {}  # of the whole mesh

    def follow(self, view: View, now: float) -> None:
        """Take over a view; `now` is seconds since the epoch."""
        before = self.register.changes
        self.register.follow(view)
        if self.register.changes != before:
            self._serial = max(self._serial + 1, int(now)) & 0xFFFFFFFF
            self._services.clear()

    def find(self, labels: Sequence[str]) -> Records | None:
        """Members by their names, and services."""
        if not labels:
            return self.apex()
        *service, last = labels
        if last.startswith("_"):
            return self._mesh_wide(labels)
        held = list(self.register.served(self.register.holders(last)))
        if not held:
            return None
        if service:
            return self._offered(service, held)
        return {Type.AAAA: [node_address(self._mesh_id, key).packed for key, _known in islice(held, MOST_RECORDS)]}

    def find_reverse(self, labels: Sequence[str]) -> Records | None:
        """Members by the digits of their addresses, the last one first."""
        if not labels:
            return self.apex()
        if len(labels) > _DIGITS or not _HEX.issuperset(labels):
            return None
        digits = "".join(reversed(labels))
        low, high = (int(digits.ljust(_DIGITS, fill), 16) for fill in "0f")
        key = self.register.first_within(low, high)
        if key is None:
            return None
        host = self._host(key) if low == high else None
        return {Type.PTR: [host]} if host is not None else _NOTHING

    def apex(self) -> Records:
        """SOA and NS: this host answers, by its own name."""
        server = self._host(self._own) or wire_label(spell(node_hash(self._own)[:LEAST])) + self.forward
        times = _SOA.pack(self._serial, _REFRESH, _RETRY, _EXPIRE, self._ttl)
        return {Type.SOA: [server + wire_label("hostmaster") + self.forward + times], Type.NS: [server]}

    def _mesh_wide(self, labels: Sequence[str]) -> Records | None:
        """A service of all who offer it."""
        if len(labels) == 1:
            return _NOTHING if self.register.offers(labels[0][1:]) else None
        service, protocol = labels[-2].removeprefix("_"), labels[-1][1:]
        keys = self.register.offering(service, protocol) if len(labels) == 2 else ()
        if not keys or service == labels[-2]:
            return None
        if (service, protocol) not in self._services:
            if len(self._services) >= _REMEMBERED:
                self._services.clear()
            self._services[service, protocol] = self._offered(labels, self.register.served(sorted(keys)))
        return self._services[service, protocol]

    def _offered(self, labels: Sequence[str], members: Iterable[tuple[bytes, Known]]) -> Records | None:
        """What these members offer, by labels like `_https`, `_tcp`."""
        *service, protocol = labels
        offered = (
            (key, each)
            for key, known in members
            for each in known.services
            if f"_{each.protocol}" == protocol and (not service or service == [f"_{each.name}"])
        )
        first = next(offered, None)
        if first is None:
            return None
        if not service:
            return _NOTHING
        targets: dict[bytes, bytes] = {}  # what each says of itself, by where it is
        for key, each in chain([first], offered):
            host = self._host(key)
            if host is not None:
                targets.setdefault(_SRV.pack(0, 0, each.port) + host, each.text)
            if len(targets) == MOST_RECORDS:
                break
        return {Type.SRV: list(targets), Type.TXT: list(dict.fromkeys(targets.values()))}

    def _host(self, key: bytes) -> bytes | None:
        """The name of a member."""
        label = self.register.name_of(key)
        return wire_label(label) + self.forward if label is not None else None
