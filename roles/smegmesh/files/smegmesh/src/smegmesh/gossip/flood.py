"""Flood: what is new goes at once to all other links, then coalesced for a moment a link.

A link's outbox names places in the maps, not contents: what changed twice before it
was sent is sent once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from smegmesh.crdt.record import Record
from smegmesh.gossip.codec import MAX_ITEMS, SOFT_FRAME, Items, Slot
from smegmesh.gossip.links import Link
from smegmesh.gossip.replica import Replica, Thing, size_of


class Flood:
    """Fills and empties the outboxes of the links."""

    def __init__(self, replica: Replica, delay: float) -> None:
        self._replica = replica
        self._delay = delay
        self._escorted: set[Slot] = set()  # what takes its certificate along, as that is new here too

    def news(self, slot: Slot, links: Iterable[Link], source: int | None, sync: bool) -> None:
        """Put a change into the outboxes of all links but the one it came from.

        What a comparison of digests brought is no news for a link whose own first
        comparison is still to come: that one will find what is missing there.
        """
        thing = self._replica.thing(slot)
        certificate = None if thing is None else thing.certificate
        if certificate is not None and self._replica.certificates.first_relay(certificate):
            self._escorted.add(slot)
        for link in links:
            if link.number != source and not (sync and link.agreed is None):
                link.outbox[slot] = None

    def due(self, links: Iterable[Link], now: float) -> Iterator[tuple[Link, Items]]:
        """The frames to send now; empties the outboxes they come from."""
        links = list(links)
        for link in links:
            if link.outbox and now >= link.flushed + self._delay:
                slots, link.outbox = link.outbox, {}
                link.flushed = now
                for items in pack(self._replica, slots, self._escorted):
                    yield link, items
        if self._escorted and not any(link.outbox for link in links):
            self._escorted.clear()

    def next_timer(self, links: Iterable[Link]) -> float:
        """When an outbox is due."""
        return min((link.flushed + self._delay for link in links if link.outbox), default=float("inf"))


def pack(
    replica: Replica, slots: Iterable[Slot], escorted: Iterable[Slot] = (), *, sync: bool = False
) -> Iterator[Items]:
    """The contents of slots in frames of a moderate size, with the certificates of those escorted."""
    escorts = set(escorted)
    batch = _Batch()
    for slot in slots:
        thing = replica.thing(slot)
        if thing is None:
            continue
        certificate = None if thing.certificate is None else replica.certificates.get(thing.certificate)
        escort = certificate.der if certificate is not None and slot in escorts else b""
        if not batch.fits(thing, escort):
            yield batch.items(sync)
            batch = _Batch()
        batch.add(thing, escort)
    if batch.size:
        yield batch.items(sync)


class _Batch:
    """What goes into one frame."""

    def __init__(self) -> None:
        self.size = 0
        self._records: list[tuple[bytes, bytes, bytes]] = []
        self._removals: list[bytes] = []
        self._certificates: dict[bytes, None] = {}

    def fits(self, thing: Thing, escort: bytes) -> bool:
        """Whether the frame stays moderate; an empty one takes anything."""
        if not self.size:
            return True
        room = len(self._records) + len(self._removals) < MAX_ITEMS
        return room and self.size + size_of(thing) + len(escort) <= SOFT_FRAME

    def add(self, thing: Thing, escort: bytes) -> None:
        if isinstance(thing, Record):
            self._records.append((thing.header, thing.signature, thing.body))
        else:
            self._removals.append(thing.encode())
        if escort:
            self._certificates[escort] = None
        self.size += size_of(thing) + len(escort)

    def items(self, sync: bool) -> Items:
        return Items(self._records, self._removals, list(self._certificates), sync)
