"""The conversation on a link: what each message calls for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TypeVar

from smegmesh.crdt.digest import LEAF_ITEMS
from smegmesh.crdt.fault import Fault
from smegmesh.crdt.held import MapKind
from smegmesh.crdt.map import MapFull
from smegmesh.crdt.record import RecordError
from smegmesh.gossip.antientropy import answer_root, descend, describe
from smegmesh.gossip.codec import (
    MAX_FRAME,
    MAX_WANTED,
    SOFT_FRAME,
    FrameError,
    Hello,
    Items,
    Message,
    Nodes,
    Ping,
    Pong,
    Restart,
    Root,
    Same,
    Slot,
    WantCertificates,
    WantItems,
    WantNodes,
    decode,
    negotiate,
)
from smegmesh.gossip.flood import pack
from smegmesh.gossip.links import Link, Links
from smegmesh.gossip.observed import outside_address
from smegmesh.gossip.observers import Observers
from smegmesh.gossip.publishing import Publisher, Standing
from smegmesh.gossip.replica import Change, Missing, Refused, Replica, Source
from smegmesh.gossip.settings import Settings
from smegmesh.gossip.topology import Topology
from smegmesh.gossip.traffic import Traffic
from smegmesh.identity.address import mesh_prefix
from smegmesh.identity.certificate import MAX_CERTIFICATE, CertificateError

#: Certificates of a frame, and nodes of the digest tree (each a leaf of items of 90 bytes at most).
_CERTIFICATES = MAX_FRAME // MAX_CERTIFICATE - 1
_NODES = SOFT_FRAME // (LEAF_ITEMS * 96)


T = TypeVar("T")
Taken = Change | Missing | Slot | None


class Conversation:
    """Reads frames and answers them. `send` and `close` act on a link; what it learns goes to the parts.

    `received` counts what was read, `equal` is when a root digest of another node was last equal to the own one.
    """

    def __init__(
        self,
        settings: Settings,
        replica: Replica,
        links: Links,
        observers: Observers,
        publisher: Publisher,
        counters: Counter[str],
        send: Callable[[Link, Message], None],
        close: Callable[[Link, str], None],
        changed: Callable[[Change], None],
        topology: Topology,
    ) -> None:
        self._settings = settings
        self._replica = replica
        self._map = replica.map
        self._links = links
        self._observers = observers
        self._publisher = publisher
        self._counters = counters
        self.received = Traffic()
        self.equal: float | None = None
        self._send = send
        self._close = close
        self._changed = changed
        self._topology = topology
        self._overlay = (mesh_prefix(settings.mesh_id),)

    def hear(self, link: Link, frame: bytes, now: float) -> bool:
        """Act on a frame; says whether it may call for conclusions beyond the map. Bad ones are counted."""
        try:
            message = decode(frame)
            self.received.count(message, len(frame))
            self._handle(link, message, now)
        except ValueError as error:  # a FrameError, or a prefix that is none
            self._bad(link, error)
            return False
        return isinstance(message, Hello | Restart)

    def _handle(self, link: Link, message: Message, now: float) -> None:
        if isinstance(message, Hello):
            self._hello(link, message, now)
        elif not link.ready:
            raise FrameError("a hello must come first", "hello")
        elif isinstance(message, Ping):
            self._send(link, Pong())
        elif isinstance(message, Items):
            self._items(link, message)
        elif isinstance(message, Root):
            self._agree(link, message.root, now)
            self._send(link, answer_root(self._map.tree, message))
        elif isinstance(message, Same):
            self._agree(link, message.root, now)
        elif isinstance(message, WantNodes):
            self._describe(link, message.prefixes)
        elif isinstance(message, Nodes):
            give, questions = descend(self._map.tree, message)
            for question in questions:
                self._send(link, question)
            self._give(link, give.slots, give.new)
        elif isinstance(message, WantItems):
            self._give(link, message.slots, message.new)
        elif isinstance(message, WantCertificates):
            self._give_certificates(link, message.wanted)
        elif isinstance(message, Restart):
            self._observers.away(link.node_key, message.seconds, now)

    def greet(self, link: Link) -> None:
        """Say hello, and what is known of the other side."""
        self._released(self._replica.release(link.certificate.fingerprint))
        near = self._topology.is_near(link.node_key)
        introduced = [] if near or link.dialled else self._topology.neighbours_of(link.node_key)
        yours = next(self._about(link.node_key, *introduced), Items(sync=True))
        oldest, newest = self._settings.protocols
        mesh_id, instance = self._settings.mesh_id, self._publisher.instance
        sees = None if link.remote is None else str(link.remote)
        self._send(link, Hello(oldest, newest, mesh_id, instance, self._map.root, yours, near, sees))
        if self._map.revoked(link.node_key):
            self._close(link, "it is revoked")

    def tell_of(self, link: Link, key: bytes) -> None:
        """Send all that is known of a node."""
        for items in self._about(key):
            self._send(link, items)

    def _about(self, key: bytes, *introduced: bytes) -> Iterator[Items]:
        """All that is known of a node, and the entries of those it is introduced to, with the certificates."""
        slots = [*(Slot(kind, key) for kind in MapKind), *(Slot(MapKind.ENTRY, other) for other in introduced)]
        found = [statement for statement in map(self._replica.statement, slots) if statement is not None]
        return pack(found, self._replica.certificates.under(found), sync=True)

    def _hello(self, link: Link, hello: Hello, now: float) -> None:
        if link.ready:
            raise FrameError("a second hello", "hello")
        if hello.mesh_id != self._settings.mesh_id:
            self._count("mesh")
            self._close(link, f"it belongs to mesh {hello.mesh_id!r}")
            return
        if negotiate(self._settings.protocols, (hello.oldest, hello.newest)) is None:
            self._counters["protocol_refused"] += 1
            self._close(link, f"it speaks protocols {hello.oldest} to {hello.newest} only")
            return
        link.instance = hello.instance
        link.sees = None if hello.sees is None else outside_address(hello.sees, self._overlay)
        duplicate = self._links.settle(link)
        if duplicate is not None:
            self._close(duplicate, "another link with the node stays")
        self._observers.linked(link.node_key, now)
        self._items(link, hello.yours)
        if self._publisher.standing is Standing.WAITING:
            self._publisher.become(Standing.MEMBER)
        if self._links.get(link.number) is None:
            return
        self._agree(link, hello.root, now)
        if link.agreed is None and link.dialled:
            link.compared = now
            if hello.near or self._topology.is_client:
                self._send(link, Root(self._map.root))

    def _items(self, link: Link, items: Items) -> None:
        source = Source(link.number, items.sync)
        for der in items.certificates:
            try:
                self._released(self._replica.take_certificate(der))
            except CertificateError as error:
                if self._bad(link, error):
                    return
        missing: dict[tuple[bytes, bytes], None] = {}
        records = self._each(link, lambda triple: self._replica.take_record(triple, source), items.records)
        removals = self._each(link, lambda data: self._replica.take_removal(data, source), items.removals)
        for result in chain(records, removals):
            if isinstance(result, Change):
                link.spare(result.slot)
                self._changed(result)
            elif isinstance(result, Missing):
                missing[result.node_key, result.fingerprint] = None
            elif result is not None:  # the other side has it, too
                link.spare(result)
        wanted = list(missing)
        for at in range(0, len(wanted), MAX_WANTED):
            self._send(link, WantCertificates(wanted[at : at + MAX_WANTED]))

    def _each(self, link: Link, take: Callable[[T], Taken], things: list[T]) -> Iterator[Taken]:
        """Take things as long as the link does not send too many bad ones."""
        for thing in things:
            try:
                yield take(thing)
            except RecordError as error:
                if self._bad(link, error):
                    return

    def _released(self, results: Iterable[Change | Refused]) -> None:
        """Act on what had waited for a certificate; what was bad counts against who sent it, not who brought that."""
        for result in results:
            if isinstance(result, Change):
                self._changed(result)
            else:
                number = result.source.link
                self._bad(None if number is None else self._links.get(number), result.error)

    def _give(self, link: Link, slots: list[Slot], new: list[Slot]) -> None:
        """Send what slots hold, with certificates where the other side has nothing of a node."""
        for wanted, escorted in ((slots, False), (new, True)):
            found = [self._replica.statement(slot) for slot in dict.fromkeys(wanted)]
            statements = [statement for statement in found if statement is not None]
            escorts = self._replica.certificates.under(statements) if escorted else {}
            for items in pack(statements, escorts, sync=True):
                self._send(link, items)

    def _describe(self, link: Link, prefixes: list[bytes]) -> None:
        wanted = list(dict.fromkeys(prefixes))
        for at in range(0, len(wanted), _NODES):
            self._send(link, describe(self._map.tree, wanted[at : at + _NODES]))

    def _give_certificates(self, link: Link, wanted: list[tuple[bytes, bytes]]) -> None:
        known = (self._replica.certificates.get(*names) for names in dict.fromkeys(wanted))
        ders = [certificate.der for certificate in known if certificate is not None]
        for at in range(0, len(ders), _CERTIFICATES):
            self._send(link, Items(certificates=ders[at : at + _CERTIFICATES], sync=True))

    def _agree(self, link: Link, root: bytes, now: float) -> None:
        if root != self._map.root:
            return
        self.equal = now
        if link.agreed is None:
            link.agreed = now
            self._links.changed()

    def _bad(self, link: Link | None, error: ValueError) -> bool:
        """Count what was bad against the link that sent it; says whether that has sent too much by now."""
        if isinstance(error, MapFull):  # the limit is ours, the link is not to blame
            self._counters["map_full"] += 1
            return False
        self._count(_fault(error))
        if link is None:
            return False
        link.bad += 1
        if link.bad < self._settings.bad_frames:
            return False
        if self._links.get(link.number) is not None:
            self._close(link, f"sent {link.bad} bad frames, the last: {error}")
        return True

    def _count(self, fault: Fault) -> None:
        self._counters["bad_frames"] += 1
        self._counters[f"bad.{fault}"] += 1


def _fault(error: ValueError) -> Fault:
    if isinstance(error, FrameError | RecordError):
        return error.fault
    return "certificate" if isinstance(error, CertificateError) else "digest"
