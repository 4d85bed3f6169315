"""Publishing: what this node says of itself, under numbers that only go up.

state      may become
WAITING    MEMBER (first sync, or alone for 5 s), LEFT, REVOKED
MEMBER     STOPPED (the key is in use twice), LEFT, REVOKED
STOPPED    LEFT, REVOKED
LEFT
REVOKED
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from smegmesh.crdt.entry import Entry
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.order import next_number
from smegmesh.crdt.record import Kind, Record, sign_record
from smegmesh.crdt.statement import accept_entry
from smegmesh.crdt.verdict import Accusation, encode_verdict
from smegmesh.gossip.settings import Settings
from smegmesh.identity.certificate import NodeCertificate
from smegmesh.identity.keys import IdentityKey


class Standing(Enum):
    """How this node stands in the mesh."""

    WAITING = "waiting"
    MEMBER = "member"
    STOPPED = "stopped"
    LEFT = "left"
    REVOKED = "revoked"


MAY_BECOME = {
    Standing.WAITING: {Standing.MEMBER, Standing.LEFT, Standing.REVOKED},
    Standing.MEMBER: {Standing.STOPPED, Standing.LEFT, Standing.REVOKED},
    Standing.STOPPED: {Standing.LEFT, Standing.REVOKED},
    Standing.LEFT: set(),
    Standing.REVOKED: set(),
}


class Publisher:
    """Signs this node's records. Each call that returns a record used up `number`, to be durable first."""

    def __init__(
        self, identity: IdentityKey, certificate: NodeCertificate, mesh: MeshMap, instance: bytes, number: int
    ) -> None:
        self.certificate = certificate
        self.instance = instance
        self.number = number
        self.standing = Standing.WAITING
        self._identity = identity
        self._mesh = mesh
        self._encoded: tuple[Entry | None, bytes] = None, b""
        self.elsewhere: tuple[str, ...] = ()  # the endpoints that another instance last named
        self._raises: deque[float] = deque()

    @property
    def key(self) -> bytes:
        """The own node key."""
        return self.certificate.grant.node_key

    def become(self, standing: Standing) -> None:
        """Change standing as the table allows."""
        assert standing in MAY_BECOME[self.standing], (self.standing, standing)
        self.standing = standing

    def check(self, entry: Entry) -> None:
        """Raise RecordError (a ValueError) unless the own certificate allows to say this."""
        record = self._sign(Kind.ENTRY, 1, encode_entry(entry))
        accept_entry(record, self._mesh.mesh_id, self.certificate)

    def entry(self, entry: Entry) -> Record | None:
        """The record to publish if the map holds another entry of the own key than this one."""
        if entry is not self._encoded[0] and entry != self._encoded[0]:
            self._encoded = entry, encode_entry(entry)
        body = self._encoded[1]
        held = self._mesh.member(self.key)
        if (
            held is not None
            and held.record.instance == self.instance
            and held.record.body == body
            and held.record.certificate == self.certificate.fingerprint
        ):
            return None
        return self._sign(Kind.ENTRY, self._next(), body)

    def again(self, entry: Entry) -> Record:
        """The same under a higher number."""
        return self._sign(Kind.ENTRY, self._next(), encode_entry(entry))

    def verdict(self, accused: dict[bytes, Accusation]) -> Record:
        """The verdict of this node under a higher number."""
        return self._sign(Kind.VERDICT, self._next(), encode_verdict(accused))

    def leave(self) -> Record:
        """What takes the own node out of the mesh."""
        return self._sign(Kind.LEAVE, self._next(), b"")

    def foreign(self) -> bool:
        """Whether another instance wrote the entry or the verdict of the own key last."""
        held = self._mesh.get(self.key)
        if held is None:
            return False
        entry, verdict = held.entry, held.verdict
        if entry is not None and entry.record.instance != self.instance:
            self.elsewhere = entry.entry.endpoints
            return True
        return verdict is not None and verdict.record.instance != self.instance

    def next_raise(self, settings: Settings) -> float:
        """When another raise against a foreign instance may be due."""
        return self._raises[-1] + settings.own_raise_pause if self._raises else float("-inf")

    def may_raise(self, now: float, settings: Settings) -> bool:
        """Whether another raise against a foreign instance is allowed; counts it."""
        while self._raises and self._raises[0] <= now - settings.own_raise_window:
            self._raises.popleft()
        if len(self._raises) >= settings.own_raises:
            return False
        self._raises.append(now)
        return True

    def _next(self) -> int:
        self.number = next_number(self.number, self._mesh.floor(self.key))
        return self.number

    def _sign(self, kind: Kind, number: int, body: bytes) -> Record:
        return sign_record(
            self._identity,
            kind,
            self._mesh.mesh_id,
            self.key,
            number,
            self.instance,
            self.certificate.fingerprint,
            body,
        )
