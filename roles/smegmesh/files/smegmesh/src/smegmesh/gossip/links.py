"""The links of this node: what is known of each, and which of two with one node stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from smegmesh.gossip.codec import Slot
from smegmesh.gossip.observed import Address
from smegmesh.gossip.sharing import Statement
from smegmesh.identity.certificate import NodeCertificate


@dataclass(slots=True)
class Link:
    """A link that is up. Times are monotonic seconds."""

    number: int
    node_key: bytes
    certificate: NodeCertificate
    dialled: bool
    up: float
    heard: float
    instance: bytes = b""  # of the other side, from its hello
    pinged: float = float("-inf")
    compared: float = float("-inf")
    joining: bool = False  # dialled by a bootstrap address: until digests agreed, it is for learning
    agreed: float | None = None  # when digests were first equal
    surplus: float | None = None  # since when nobody needs it
    check: bool = False  # digests are to be compared at once
    due: float = float("inf")  # when something is to be done on it
    bad: int = 0
    remote: Address | None = None  # of the other side, None where that tells it nothing
    sees: Address | None = None  # address of this node as the other side sees it, from its hello
    outbox: dict[Slot, Statement] = field(default_factory=dict)
    escorts: dict[bytes, NodeCertificate] = field(default_factory=dict)  # to go along with the outbox, by fingerprint
    flushed: float = float("-inf")
    pause: float = 0.0  # from then until the outbox is emptied again

    @property
    def ready(self) -> bool:
        """Whether the other side said hello."""
        return bool(self.instance)

    def spare(self, slot: Slot) -> None:
        """The other side has what the slot holds: it need not be sent."""
        if self.outbox.pop(slot, None) is not None and not self.outbox:
            self.escorts.clear()


class Links:
    """All links, by number and by node."""

    def __init__(self, own: bytes) -> None:
        self.own = own
        self._links: dict[int, Link] = {}
        self._ready: dict[bytes, Link] = {}
        self._needed: list[Link] | None = None
        self._flooded: list[Link] | None = None

    def __iter__(self) -> Iterator[Link]:
        return iter(list(self._links.values()))

    def __len__(self) -> int:
        return len(self._links)

    def get(self, number: int) -> Link | None:
        return self._links.get(number)

    def to(self, node_key: bytes) -> Link | None:
        """The link with a node that said hello."""
        return self._ready.get(node_key)

    def ready(self) -> list[Link]:
        """The links whose other side said hello, one a node."""
        return list(self._ready.values())

    def needed(self) -> list[Link]:
        """The links that are needed, all if there is none: what this node says itself goes out on them."""
        if self._needed is None:
            ready = self.ready()
            self._needed = [link for link in ready if link.surplus is None] or ready
        return self._needed

    def flooded(self) -> list[Link]:
        """Those of them that news of others goes out on: not those by which this node joins, until digests agreed.

        Many join by the same few peers, who hear of each from itself, and would drown in what all say of each other.
        """
        if self._flooded is None:
            self._flooded = [link for link in self.needed() if link.agreed is not None or not link.joining]
        return self._flooded

    def changed(self) -> None:
        """Some link is needed now, or not any more, or digests agreed on it first."""
        self._needed = self._flooded = None

    def pending(self, node_key: bytes) -> bool:
        """Whether there is any link with a node, ready or not."""
        return node_key in self._ready or any(link.node_key == node_key for link in self._links.values())

    def add(self, link: Link) -> None:
        self._links[link.number] = link

    def settle(self, link: Link) -> Link | None:
        """A link became ready; returns the one of two with its node that is to be closed.

        The newer stays if the node started anew or dialled again, as it has lost the
        older then. Else both sides dialled at once, and both keep the one dialled by
        the lower key.
        """
        self.changed()
        other = self._ready.get(link.node_key)
        if other is None or other is link:
            self._ready[link.node_key] = link
            return None
        if other.instance == link.instance and other.dialled != link.dialled:
            lower_is_own = self.own < link.node_key
            keep, close = (link, other) if link.dialled == lower_is_own else (other, link)
        else:
            keep, close = link, other
        self._ready[link.node_key] = keep
        return close

    def remove(self, number: int) -> Link | None:
        """Forget a link; returns it."""
        self.changed()
        link = self._links.pop(number, None)
        if link is not None and self._ready.get(link.node_key) is link:
            del self._ready[link.node_key]
        return link
