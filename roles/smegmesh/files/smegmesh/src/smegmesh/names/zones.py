"""The two zones of a mesh: its names under `MESH.DOMAIN`, and the names of its addresses under ip6.arpa.

A zone is asked with the labels before its apex. It says what a name has, nothing for one that is there only because
others end in it, and None for one that is not there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import islice

from smegmesh.gossip.view import View
from smegmesh.identity.address import mesh_prefix, node_address, node_hash
from smegmesh.names.message import MAX_NAME, Records, Type, wire_label, wire_name
from smegmesh.names.register import PLACE_SIZE, Register
from smegmesh.names.words import LEAST, spell

MOST_RECORDS = 256  # of one type that a name has; many more fit into no message
_MAX_APEX = MAX_NAME - 64  # so that any label before it makes a name
_REMEMBERED = 256  # names, with what they have
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
        self._found: dict[tuple[str, ...], Records] = {}  # what names have, until the next change

    def follow(self, view: View, now: float) -> None:
        """Take over a view; `now` is seconds since the epoch."""
        before = self.register.changes
        self.register.follow(view)
        if self.register.changes != before:
            self._serial = max(self._serial + 1, int(now)) & 0xFFFFFFFF
            self._found.clear()

    def find(self, labels: Sequence[str]) -> Records | None:
        """Members by their names, and services."""
        if not labels:
            return self.apex()
        name = tuple(labels)
        found = self._found.get(name)
        if found is None:
            found = self._find(name)
            if found is not None:
                if len(self._found) >= _REMEMBERED:
                    self._found.clear()
                self._found[name] = found
        return found

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

    def _find(self, labels: Sequence[str]) -> Records | None:
        *service, last = labels
        if last.startswith("_"):
            return self._offered(labels, None)
        holders = self.register.holders(last)
        if service:
            return self._offered(service, frozenset(holders))
        served = islice(self.register.served(holders), MOST_RECORDS)
        found = [node_address(self._mesh_id, key).packed for key, _known in served]
        return {Type.AAAA: found} if found else None

    def _offered(self, labels: Sequence[str], among: frozenset[bytes] | None) -> Records | None:
        """What these members, or all, offer, by labels like `_https`, `_tcp`."""
        if len(labels) > 2 or not all(label.startswith("_") for label in labels):
            return None
        *service, protocol = (label[1:] for label in labels)
        if not service:
            return _NOTHING if self.register.offers(protocol, among) else None
        keys = self.register.offering(service[0], protocol)
        offering = sorted(keys if among is None else among.intersection(keys))
        members = list(islice(self.register.served(offering), MOST_RECORDS))
        if not members:
            return None
        targets: dict[bytes, bytes] = {}  # what each says of itself, by where it is
        for key, known in members:
            host = self._host(key)
            for each in known.services:
                if host is not None and (each.name, each.protocol) == (service[0], protocol):
                    targets.setdefault(_SRV.pack(0, 0, each.port) + host, each.text)
        found = list(islice(targets.items(), MOST_RECORDS))
        return {
            Type.SRV: [target for target, _text in found],
            Type.TXT: list(dict.fromkeys(text for _target, text in found)),
        }

    def _host(self, key: bytes) -> bytes | None:
        """The name of a member."""
        label = self.register.name_of(key)
        return wire_label(label) + self.forward if label is not None else None
