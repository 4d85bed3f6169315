"""The answers: which zone a question is for, and what is said (RFC 1035, 2308, 8482). Nothing that comes raises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from smegmesh.gossip.view import View
from smegmesh.names.message import (
    IN,
    PLAIN_SIZE,
    TCP_SIZE,
    UDP_SIZE,
    MessageError,
    Query,
    Rcode,
    Record,
    Records,
    Type,
    is_query,
    read_query,
    text_name,
    write_answer,
    write_failure,
    zone_pointer,
)
from smegmesh.names.zones import MeshZones

TTL = 5  # seconds; as long as a host that died may still be named
_Find = Callable[[Sequence[str]], Records | None]


class NameServer:
    """Answers for the meshes whose views it is given, under one domain. `clock` says seconds since the epoch."""

    def __init__(self, domain: str, clock: Callable[[], float], ttl: int = TTL) -> None:
        self._domain = domain
        self._clock = clock
        self._ttl = ttl
        self._meshes: dict[str, MeshZones] = {}
        self._refused: dict[str, str] = {}
        self._zones: dict[bytes, tuple[MeshZones, _Find]] = {}  # by apex
        self._parents: frozenset[bytes] = frozenset()  # names that the apex of a zone ends in

    def follow(self, view: View) -> None:
        """Answer for a mesh as this view says."""
        if view.mesh_id not in self._meshes and not self._add(view):
            return
        self._meshes[view.mesh_id].follow(view, self._clock())

    def drop(self, mesh_id: str) -> None:
        """Answer for a mesh no longer."""
        self._refused.pop(mesh_id, None)
        if self._meshes.pop(mesh_id, None) is not None:
            self._index()

    def domains(self, mesh_id: str) -> list[str]:
        """The apexes of the zones of a mesh, as text without a dot at its end."""
        zones = self._meshes.get(mesh_id)
        return [text_name(apex) for apex in (zones.forward, zones.reverse)] if zones is not None else []

    def problems(self, mesh_id: str) -> list[str]:
        """What is not as it should be with the names of a mesh, such as names that several nodes go by."""
        if mesh_id in self._refused:
            return [self._refused[mesh_id]]
        return self._meshes[mesh_id].register.conflicts() if mesh_id in self._meshes else []

    def answer(self, data: bytes, *, tcp: bool) -> bytes | None:
        """The answer to a message; None to one that gets none."""
        if not is_query(data):
            return None
        try:
            query = read_query(data)
        except MessageError as error:
            return write_failure(data, error.rcode)
        return self._answer(query, TCP_SIZE if tcp else _udp_size(query))

    def _answer(self, query: Query, limit: int) -> bytes:
        write = partial(write_answer, query, limit=limit, ttl=self._ttl)
        if query.edns is not None and query.edns.version > 0:
            return write(Rcode.BADVERS, authoritative=False)
        depth = next((depth for depth, at in enumerate(query.labels) if query.name[at:] in self._zones), None)
        if depth is None or query.rrclass != IN or query.type in (Type.AXFR, Type.IXFR):
            return write(Rcode.REFUSED, authoritative=False)
        apex = query.labels[depth]
        zones, find = self._zones[query.name[apex:]]
        records = find([_label(query.name, at) for at in query.labels[:depth]])
        if records is None and query.name in self._parents:
            records = {}
        answers = _chosen(records, query.type) if records else []
        if answers:
            return write(Rcode.NOERROR, answers=answers)
        (soa,) = zones.apex()[Type.SOA]
        rcode = Rcode.NOERROR if records is not None else Rcode.NXDOMAIN
        return write(rcode, authority=[Record(Type.SOA, soa, zone_pointer(apex))])

    def _add(self, view: View) -> bool:
        """Whether the mesh can have names."""
        try:
            self._meshes[view.mesh_id] = MeshZones(view.mesh_id, view.node_key, self._domain, self._ttl)
        except ValueError as error:
            self._refused[view.mesh_id] = str(error)
            return False
        self._index()
        return True

    def _index(self) -> None:
        self._zones = {
            apex: (zones, find)
            for zones in self._meshes.values()
            for apex, find in ((zones.forward, zones.find), (zones.reverse, zones.find_reverse))
        }
        self._parents = frozenset(parent for apex in self._zones for parent in _parents(apex))


def _chosen(records: Records, rrtype: int) -> list[Record]:
    """Those of a type; for ANY of one that is there, which is enough (RFC 8482)."""
    chosen = next(iter(records)) if rrtype == Type.ANY else rrtype
    return [Record(chosen, data) for data in records.get(chosen, ())]


def _udp_size(query: Query) -> int:
    return min(max(query.edns.size, PLAIN_SIZE), UDP_SIZE) if query.edns is not None else PLAIN_SIZE


def _label(name: bytes, at: int) -> str:
    return name[at + 1 : at + 1 + name[at]].decode("latin-1")  # any byte may be in it


def _parents(name: bytes) -> list[bytes]:
    found = []
    while name[0]:
        name = name[1 + name[0] :]
        found.append(name)
    return found
