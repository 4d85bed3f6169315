"""The order of everything a node signs: (number, SHA-256 of the signed bytes).

Entries, verdicts and horizons are compared by it and digests contain it, so
that two maps that merged the same records agree on every tie.

A number is raised by its node alone. It may be anything from 1 to `MAX_NUMBER`
(2**63 - 1: a signed 64-bit column holds it). Nobody can push another's number
there, as numbers come from signed headers only; a node that jumps to the end
itself can say nothing new under its key and needs a new one.
"""

from __future__ import annotations

from typing import TypeAlias

Order: TypeAlias = tuple[int, bytes]

HASH_SIZE = 32
MAX_NUMBER = 2**63 - 1
_LAST_HASH = b"\xff" * HASH_SIZE

#: The horizon of a revocation: above every order a record can have.
INFINITE: Order = (2**64 - 1, _LAST_HASH)


def through(number: int) -> Order:
    """The horizon that covers every order with this number or a lower one."""
    return (number, _LAST_HASH)


def next_number(durable: int, floor: int) -> int:
    """The number a node may publish next.

    `durable` is the last number it made durable itself (0 if none), `floor` the
    highest that anyone has seen of it (`MeshMap.floor`). The result must be made
    durable before it is published. Raises ValueError when there is none left.
    """
    number = max(durable, floor) + 1
    if number > MAX_NUMBER:
        raise ValueError(f"the numbers of this node key are used up (last {MAX_NUMBER}): give the node a new key")
    return number
