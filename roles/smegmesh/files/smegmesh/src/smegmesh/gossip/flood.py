"""Flood: what is new goes out at once on the links it is for, then coalesced for a moment a link.

A link's outbox has a place for each slot of the maps: what changed twice before it was
sent is sent once. While there is news all the time the moments double, up to a limit: a frame
costs its receiver more than what is in it, and in a cold start all talk to a few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from smegmesh.crdt.removal import Removal
from smegmesh.gossip.codec import MAX_ITEMS, SOFT_FRAME, Items
from smegmesh.gossip.links import Link
from smegmesh.gossip.replica import Change
from smegmesh.gossip.sharing import Statement
from smegmesh.identity.certificate import NodeCertificate

Certificates = Mapping[bytes, NodeCertificate]  # by fingerprint


class Flood:
    """Fills and empties the outboxes of the links, in pauses of `delay` up to `limit` seconds."""

    def __init__(self, delay: float, limit: float) -> None:
        self._delay = delay
        self._limit = limit
        self._full = False

    def news(self, change: Change, links: Iterable[Link]) -> None:
        """Put a change into the outboxes of these links, but the one it came from.

        What a comparison of digests brought is no news for a link whose own first
        comparison is still to come: that one will find what is missing there.
        """
        source, sync = change.source.link, change.source.sync
        for link in links:
            if link.number != source and not (sync and link.agreed is None):
                link.outbox[change.slot] = change.statement
                if change.first is not None:
                    link.escorts[change.first.fingerprint] = change.first
                self._full = True

    def due(self, links: Iterable[Link], now: float) -> Iterator[tuple[Link, Items]]:
        """The frames to send now; empties the outboxes they come from."""
        if not self._full:
            return
        self._full = False
        for link in links:
            if link.outbox and now >= link.flushed + link.pause:
                busy = now < link.flushed + 2 * link.pause
                link.pause = min(2 * link.pause, self._limit) if busy else self._delay
                statements, link.outbox = link.outbox, {}
                escorts, link.escorts = link.escorts, {}
                link.flushed = now
                for items in pack(statements.values(), escorts):
                    yield link, items
            elif link.outbox:
                self._full = True

    def next_timer(self, links: Iterable[Link]) -> float:
        """When an outbox is due."""
        if not self._full:
            return float("inf")
        return min((link.flushed + link.pause for link in links if link.outbox), default=float("inf"))


def pack(statements: Iterable[Statement], escorts: Certificates, *, sync: bool = False) -> Iterator[Items]:
    """Statements in frames of a moderate size, each with the certificate it is under if that is an escort."""
    batch = _Batch()
    for statement in statements:
        raw = statement if isinstance(statement, Removal) else statement.record
        certificate = escorts.get(raw.certificate) if escorts and raw.certificate is not None else None
        escort = b"" if certificate is None else certificate.der
        removal = raw.encode() if isinstance(raw, Removal) else None
        triple = None if isinstance(raw, Removal) else raw.triple
        size = len(escort) + (len(removal) if removal is not None else 0)
        if triple is not None:
            size += len(triple[0]) + len(triple[1]) + len(triple[2])
        if batch.size and not batch.fits(size):
            yield batch.items(sync)
            batch = _Batch()
        batch.size += size
        if triple is not None:
            batch.records.append(triple)
        elif removal is not None:
            batch.removals.append(removal)
        if escort:
            batch.certificates[escort] = None
    if batch.size:
        yield batch.items(sync)


class _Batch:
    """What goes into one frame."""

    def __init__(self) -> None:
        self.size = 0
        self.records: list[tuple[bytes, bytes, bytes]] = []
        self.removals: list[bytes] = []
        self.certificates: dict[bytes, None] = {}

    def fits(self, size: int) -> bool:
        """Whether the frame stays moderate with so many bytes more."""
        return len(self.records) + len(self.removals) < MAX_ITEMS and self.size + size <= SOFT_FRAME

    def items(self, sync: bool) -> Items:
        return Items(self.records, self.removals, list(self.certificates), sync)
