"""Who owns which tunnel key, kept up to date at the cost of what changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from smegmesh.gossip.view import View
from smegmesh.routing.plan import claim


class Tunnels:
    """The claims of members to tunnel keys, by the view that was followed last."""

    def __init__(self, view: View) -> None:
        self._claims: dict[bytes, set[bytes]] = {}  # node keys by tunnel key
        self._add(view, view.members)

    def __iter__(self) -> Iterator[bytes]:
        """All tunnel keys."""
        return iter(self._claims)

    def owner(self, tunnel: bytes) -> bytes | None:
        """Node key of the member that a tunnel key belongs to."""
        claims = self._claims.get(tunnel)
        return min(claims, key=lambda key: claim(key, tunnel)) if claims else None

    def follow(self, before: View, view: View, changed: Set[bytes]) -> None:
        """Go from one view to the next, where `changed` are other members."""
        for key in changed:
            if key in before.members:
                self._remove(before.members[key].entry.tunnel_key, key)
        self._add(view, (key for key in changed if key in view.members))

    def _add(self, view: View, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._claims.setdefault(view.members[key].entry.tunnel_key, set()).add(key)

    def _remove(self, tunnel: bytes, key: bytes) -> None:
        claims = self._claims[tunnel]
        claims.remove(key)
        if not claims:
            del self._claims[tunnel]
