"""What the engine asks of its shell, in the order in which it is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

AlarmKind = Literal["address", "cloned", "revoked", "refused"]


@dataclass(frozen=True, slots=True)
class Persist:
    """Make this durable before anything that comes after it is carried out.

    `records`: slot -> bytes, each replacing what the slot held; `certificates`:
    fingerprint -> DER, added; `number`: the highest own number, never lowered.
    """

    records: Mapping[bytes, bytes]
    certificates: Mapping[bytes, bytes]
    number: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame on a link."""

    link: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Dial:
    """Try the addresses (`host:port`) in order; answer with link_up or dial_failed.

    `dial` is the number to name in dial_failed. A link that comes of it may carry
    any number. `node_key` is whom we expect, None for a bootstrap address.
    """

    dial: int
    node_key: bytes | None
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Close:
    """Close a link once what was sent on it before has gone out. No link_down need follow."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Ping these nodes' overlay addresses through the tunnel, at once and every `pause` seconds; replaces the last set.

    A ping that is not answered within a second is missed.
    """

    node_keys: frozenset[bytes]
    pause: float


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """`Engine.view()` now returns another picture."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Somebody said at which address it sees this node: `Engine.observed()` may return something else now."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something an operator must look at. `kind` is a stable word, `text` a sentence."""

    kind: AlarmKind
    text: str


Event = Persist | Send | Dial | Close | Probe | ViewChanged | Observed | Alarm
