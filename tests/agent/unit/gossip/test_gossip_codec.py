"""Frames: what they hold, what is refused, and what a newer agent may add."""

from __future__ import annotations

import msgspec
import pytest

from smegmesh.crdt.held import MapKind
from smegmesh.gossip.codec import (
    MAX_FRAME,
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
    encode,
    negotiate,
)

_HASH = bytes(range(32))


@pytest.mark.parametrize(
    "message",
    [
        Hello(1, 2, "prod", b"8 bytes!", _HASH, Items([(b"h", b"s", b"b")], [b"r"], [b"c"], True)),
        Hello(1, 2, "prod", b"8 bytes!", _HASH, Items(), False, "2001:db8::1"),
        Ping(),
        Pong(),
        Items([(b"h", b"s", b"b")]),
        WantCertificates([(_HASH, _HASH[::-1])]),
        Root(_HASH),
        Same(_HASH),
        WantNodes([b"", b"\x01\x0f"]),
        Nodes([(b"", [_HASH] * 16)], [(b"\x02", [(MapKind.VERDICT, _HASH, (7, _HASH))])]),
        Nodes([], [(b"", [(kind, bytes([node]) * 32, (1, _HASH)) for node in range(16) for kind in MapKind])]),
        WantItems([Slot(MapKind.ENTRY, _HASH)]),
        Restart(20.0),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_is_itself_again(message: Message) -> None:
    assert decode(encode(message)) == message


def test_what_a_newer_agent_appends_is_ignored() -> None:
    fields = msgspec.msgpack.decode(encode(Root(_HASH)))
    assert decode(msgspec.msgpack.encode([*fields, {"new": 1}, 2])) == Root(_HASH)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x90",
        msgspec.msgpack.encode([99]),
        msgspec.msgpack.encode(["Ping"]),
        msgspec.msgpack.encode({"type": 1}),
        msgspec.msgpack.encode([4, [_HASH]]),
        msgspec.msgpack.encode([4, [[_HASH, b"short"]]]),
        msgspec.msgpack.encode([5, b"short"]),
        msgspec.msgpack.encode([7, [b"x" * 65]]),
        msgspec.msgpack.encode([8, [[b"", [_HASH] * 15]]]),
        msgspec.msgpack.encode([8, [], [[b"", [[1, _HASH, [1, _HASH]]] * 49]]]),
        msgspec.msgpack.encode([9, [[4, _HASH]]]),
        msgspec.msgpack.encode([10, 1e9]),
        encode(Ping()) + b"more",
        b"\x91" * 100_000,
        encode(Items(certificates=[b"x" * MAX_FRAME])),
        encode(Hello(1, 2, "prod", b"8 bytes!", _HASH, Items(), sees="9" * 46)),
    ],
    ids=range(18),
)
def test_anything_else_is_a_frame_error(frame: bytes) -> None:
    with pytest.raises(FrameError, match="frame"):
        decode(frame)


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"),
    [((1, 1), (1, 1), 1), ((1, 2), (2, 3), 2), ((2, 3), (1, 2), 2), ((1, 2), (1, 2), 2), ((3, 4), (1, 2), None)],
)
def test_the_newest_protocol_of_both_is_spoken(
    ours: tuple[int, int], theirs: tuple[int, int], agreed: int | None
) -> None:
    assert negotiate(ours, theirs) == agreed
