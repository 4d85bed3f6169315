"""Frames: what one agent says to another on a link.

A frame is one MessagePack array whose first element is the tag of the message.
Elements that a newer agent appends are ignored; a message that only a newer
protocol has is not sent to an agent that does not speak it.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec

from smegmesh.crdt.digest import FANOUT, LEAF_ITEMS, MAX_DEPTH
from smegmesh.crdt.fault import Fault, unpack_fault
from smegmesh.crdt.held import MapKind
from smegmesh.gossip.observed import MAX_ADDRESS_TEXT

#: The protocol range of this version: N and N-1 once two were released.
PROTOCOLS = (2, 2)

MAX_FRAME = 1 << 20
#: Records go in frames of about this size, so that pings are not stuck behind them for long.
SOFT_FRAME = 256 * 1024
MAX_ITEMS = 16_384
MAX_NODES = 1024
MAX_WANTED = 8192  # certificates, by two hashes each

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Slot(NamedTuple):
    """A place in the maps: what one node's entry, removal or verdict is kept under."""

    kind: MapKind
    key: Hash


Prefix = Annotated[bytes, msgspec.Meta(max_length=MAX_DEPTH)]
Digests = Annotated[list[Hash], msgspec.Meta(min_length=FANOUT, max_length=FANOUT)]
Order = tuple[Annotated[int, msgspec.Meta(ge=0)], Hash]
Leaf = Annotated[list[tuple[MapKind, Hash, Order]], msgspec.Meta(max_length=LEAF_ITEMS)]
_Bytes = Annotated[bytes, msgspec.Meta(max_length=MAX_FRAME)]


class FrameError(ValueError):
    """A frame that cannot be read, or not be then; the text says why, `fault` in one word for counters."""

    def __init__(self, text: str, fault: Fault) -> None:
        super().__init__(text)
        self.fault = fault


class _Message(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What all messages share."""


class Items(_Message, tag=3, frozen=True):
    """Records (header, signature, body), removals and certificates (DER) for whom the first may be new.

    `sync` marks the answer to a comparison of digests, not news.
    """

    records: Annotated[list[tuple[_Bytes, _Bytes, _Bytes]], msgspec.Meta(max_length=MAX_ITEMS)] = []
    removals: Annotated[list[_Bytes], msgspec.Meta(max_length=MAX_ITEMS)] = []
    certificates: Annotated[list[_Bytes], msgspec.Meta(max_length=MAX_ITEMS)] = []
    sync: bool = False


class Hello(_Message, tag=0, frozen=True):
    """First on each link, both ways. `yours` is what the sender holds of the receiver's own key.

    So a node learns at once above which numbers it has to start; nobody can talk it
    into a number that it did not sign. `near`: the receiver is one that the sender
    keeps a link with. One that is not is introduced: `yours` holds the entries of
    those who are near it, too. `sees` is the address from which the link comes to the
    sender, or to which it goes: where the receiver is, as seen from there.
    """

    oldest: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    newest: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    mesh_id: Annotated[str, msgspec.Meta(max_length=255)]
    instance: Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
    root: Hash
    yours: Items
    near: bool = True
    sees: Annotated[str, msgspec.Meta(max_length=MAX_ADDRESS_TEXT)] | None = None


class Ping(_Message, tag=1, frozen=True):
    """Asks for a Pong."""


class Pong(_Message, tag=2, frozen=True):
    """Answers a Ping."""


class WantCertificates(_Message, tag=4, frozen=True):
    """Asks for certificates by node key and fingerprint; they come in Items."""

    wanted: Annotated[list[tuple[Hash, Hash]], msgspec.Meta(max_length=MAX_WANTED)]


class Root(_Message, tag=5, frozen=True):
    """Compares root digests: answered by Same, or by Nodes with the root."""

    root: Hash


class Same(_Message, tag=6, frozen=True):
    """The root digests are equal."""

    root: Hash


class WantNodes(_Message, tag=7, frozen=True):
    """Asks for nodes of the digest tree by prefix (one nibble a byte)."""

    prefixes: Annotated[list[Prefix], msgspec.Meta(max_length=MAX_NODES)]


class Nodes(_Message, tag=8, frozen=True):
    """Nodes of the digest tree by prefix: inner ones with the digests of their children, leaves with items."""

    inner: Annotated[list[tuple[Prefix, Digests]], msgspec.Meta(max_length=MAX_NODES)] = []
    leaves: Annotated[list[tuple[Prefix, Leaf]], msgspec.Meta(max_length=MAX_NODES)] = []


class WantItems(_Message, tag=9, frozen=True):
    """Asks for items by map (1 entry, 2 removal, 3 verdict) and node key.

    Those of nodes of which the asker holds nothing are `new`: they come with their certificates.
    """

    slots: Annotated[list[Slot], msgspec.Meta(max_length=MAX_ITEMS)]
    new: Annotated[list[Slot], msgspec.Meta(max_length=MAX_ITEMS)] = []


class Restart(_Message, tag=10, frozen=True):
    """The sender's agent goes and comes back within so many seconds."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=120)]


Message = Hello | Ping | Pong | Items | WantCertificates | Root | Same | WantNodes | Nodes | WantItems | Restart

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """The frame of a message."""
    return _encoder.encode(message)


def decode(frame: bytes) -> Message:
    """The message of a frame. Raises FrameError on anything else."""
    if len(frame) > MAX_FRAME:
        raise FrameError(f"frame has {len(frame)} bytes, more than {MAX_FRAME}", "oversize")
    try:
        return _decoder.decode(frame)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise FrameError(f"frame: {error}", unpack_fault(error)) from error


def negotiate(ours: tuple[int, int], theirs: tuple[int, int]) -> int | None:
    """The newest protocol that both ranges hold, None if there is none."""
    newest = min(ours[1], theirs[1])
    return newest if newest >= max(ours[0], theirs[0]) else None
