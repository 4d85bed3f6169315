"""Durability: what changed since it was last made durable."""

from __future__ import annotations

from collections.abc import Iterable

from smegmesh.gossip.codec import Slot
from smegmesh.gossip.events import Persist
from smegmesh.gossip.replica import Replica

_NEVER = float("inf")


class Durability:
    """Collects changes. What others say may wait a moment, as they would say it again; the own number may not."""

    def __init__(self, replica: Replica, delay: float, durable: Iterable[bytes]) -> None:
        self._replica = replica
        self._delay = delay
        self._durable = set(durable)  # fingerprints of the certificates that are
        self._dirty: dict[Slot, None] = {}
        self._due = _NEVER

    def changed(self, slot: Slot, now: float) -> None:
        """A slot has another content."""
        self._dirty[slot] = None
        self._due = min(self._due, now + self._delay)

    def next_timer(self) -> float:
        """When `take` should be called at the latest."""
        return self._due

    def take(self, number: int) -> Persist:
        """The event that makes all changes durable, and the own number."""
        dirty, self._dirty, self._due = self._dirty, {}, _NEVER
        records = dict(pair for pair in map(self._replica.stored, dirty) if pair is not None)
        return Persist(records, self._new_certificates(dirty), number)

    def _new_certificates(self, slots: Iterable[Slot]) -> dict[bytes, bytes]:
        found = {}
        for slot in slots:
            thing = self._replica.thing(slot)
            fingerprint = None if thing is None else thing.certificate
            certificate = None if fingerprint is None else self._replica.certificates.get(fingerprint)
            if certificate is not None and certificate.fingerprint not in self._durable:
                self._durable.add(certificate.fingerprint)
                found[certificate.fingerprint] = certificate.der
        return found
