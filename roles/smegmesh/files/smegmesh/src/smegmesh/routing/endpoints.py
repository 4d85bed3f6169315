"""Which of the endpoints that an entry names is used here."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: IP versions.
FAMILIES = frozenset({4, 6})

_IPV4 = re.compile(r"[0-9.]+")


def family_of(endpoint: str) -> int | None:
    """The IP version of `v4:port` or `[v6]:port`; None for a DNS name, which may have addresses of either."""
    if endpoint.startswith("["):
        return 6
    return 4 if _IPV4.fullmatch(endpoint.rpartition(":")[0]) else None


def choose_endpoint(endpoints: Sequence[str], families: frozenset[int]) -> str | None:
    """The first of a family that this host has, or that is a name; if there is none, the first; None of none.

    So a mistake about the own families costs nothing where there is no choice.
    """
    if len(endpoints) < 2:
        return endpoints[0] if endpoints else None
    usable = (text for text in endpoints if (family := family_of(text)) is None or family in families)
    return next(usable, endpoints[0])
