"""What DNS says of a service: where it listens, from the text that its node gives it in the mesh."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from smegmesh.names.message import character_string

_VALUE = re.compile(r"(?P<protocol>tcp|udp)/(?P<port>[1-9][0-9]{0,4})(?P<text>(?: .*)?)", re.ASCII)
_REMEMBERED = 1024  # different ones; what many nodes offer is kept once
_LONGEST = 62  # of the name, which gets an underscore before it


class Service(NamedTuple):
    """A service at a port of its node. `text` is the data of a TXT record (RFC 6763, section 6)."""

    name: str
    protocol: str
    port: int
    text: bytes


@lru_cache(_REMEMBERED)
def read_service(name: str, value: str) -> Service | None:
    """A service whose value is `tcp/PORT` or `udp/PORT`, perhaps with words after it; None for any other.

    Each word is a string of the TXT record, as `path=/status`.
    """
    match = _VALUE.fullmatch(value)
    if match is None or int(match["port"]) > 65535 or len(name) > _LONGEST:
        return None
    words = match["text"].split() or [""]
    return Service(name, match["protocol"], int(match["port"]), b"".join(map(character_string, words)))
