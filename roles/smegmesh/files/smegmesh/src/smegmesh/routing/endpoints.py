"""Which of the endpoints that an entry names is used here."""

from __future__ import annotations

import re

#: IP versions.
FAMILIES = frozenset({4, 6})

_IPV4 = re.compile(r"[0-9.]+")


def family_of(endpoint: str) -> int | None:
    """The IP version of `v4:port` or `[v6]:port`; None for a DNS name, which may have addresses of either."""
    if endpoint.startswith("["):
        return 6
    return 4 if _IPV4.fullmatch(endpoint.rpartition(":")[0]) else None


def usable_endpoints(endpoints: tuple[str, ...], families: frozenset[int]) -> tuple[str, ...]:
    """Those of a family that this host has, and names, in their order; if there is none of these, all.

    So a mistake about the own families costs nothing where there is no choice.
    """
    if len(endpoints) < 2:
        return endpoints
    return tuple(each for each in endpoints if family_of(each) in (None, *families)) or endpoints
