"""What agents say to each other, by what it is for."""

from __future__ import annotations

from collections import Counter
from typing import Literal, get_args

from smegmesh.crdt.verdict import encode_verdict
from smegmesh.gossip.codec import Hello, Items, Message, Ping, Pong, Restart

TrafficClass = Literal["ping", "flood", "anti_entropy", "refresh", "links"]
CLASSES: tuple[TrafficClass, ...] = get_args(TrafficClass)

_BY_TYPE: dict[type, TrafficClass] = {Hello: "links", Ping: "ping", Pong: "ping", Restart: "links"}
_NOBODY = encode_verdict({})


class Traffic:
    """Frames of one direction, and the bytes in them, without what TLS and TCP add."""

    def __init__(self) -> None:
        self.frames: Counter[TrafficClass] = Counter()
        self.bytes: Counter[TrafficClass] = Counter()

    def count(self, message: Message, size: int) -> None:
        """A message went by in a frame of that size."""
        kind = traffic_class(message)
        self.frames[kind] += 1
        self.bytes[kind] += size


def traffic_class(message: Message) -> TrafficClass:
    """What a message is for. A refresh is nothing but verdicts that accuse nobody: a leader's sign of life."""
    if not isinstance(message, Items):
        return _BY_TYPE.get(type(message), "anti_entropy")
    if message.sync:
        return "anti_entropy"
    alive_only = message.records and not message.removals and all(body == _NOBODY for *_, body in message.records)
    return "refresh" if alive_only else "flood"
