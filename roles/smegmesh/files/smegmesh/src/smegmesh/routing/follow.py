"""The routing of a host, view by view: computed anew only when somebody changed who matters for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from smegmesh.gossip.view import View
from smegmesh.routing.host import Place, Routing, make_routing
from smegmesh.routing.offers import Offers, make_offers, offers_anything
from smegmesh.routing.plan import homes


@dataclass(slots=True)
class _Followed:
    view: View
    place: Place  # with the offers of the view
    offering: set[bytes]  # members that offer or want something
    named: set[bytes]  # the homes of the clients among them


class Follower:
    """Follows the views of all meshes of a host. Its routing is what `make_routing` makes of the last ones."""

    def __init__(self, own: bytes) -> None:
        self._own = own
        self._followed: dict[str, _Followed] = {}
        self._routing = Routing()
        self._stale = False

    @property
    def routing(self) -> Routing:
        """The routing now. O(meshes² x destinations) after a change that matters, else nothing."""
        if self._stale:
            self._routing = make_routing(self._own, {mesh: each.place for mesh, each in self._followed.items()})
            self._stale = False
        return self._routing

    def offers(self, mesh: str) -> Offers:
        """What the members of a mesh offer, as of its last view; nothing of a mesh that is not followed."""
        followed = self._followed.get(mesh)
        return followed.place.joined.offers if followed is not None else Offers()

    def view(self, mesh: str) -> View | None:
        """The last view of a mesh; None of one that is not followed."""
        followed = self._followed.get(mesh)
        return followed.view if followed is not None else None

    def put(self, view: View, place: Place) -> bool:
        """A mesh as it is now (the offers in `place` are none yet); whether the routing may be another one.

        O(members that changed), and the offers of the mesh if one of those matters.
        """
        before = self._followed.get(view.mesh_id)
        if before is None:
            self._followed[view.mesh_id] = self._begin(view, place)
            self._stale = True
            return True
        changed = view.changed_since(before.view)
        offering = before.offering - changed
        offering |= {key for key in changed if key in view.members and offers_anything(view.members[key].entry)}
        concerned = before.offering | before.named | offering | {self._own}
        if changed & concerned or view.unreachable != before.view.unreachable:
            after = _followed(view, place, offering)
        else:
            after = replace(before, view=view, place=_with_offers(place, before.place.joined.offers))
        self._followed[view.mesh_id] = after
        moved = after.place != before.place
        self._stale |= moved
        return moved

    def drop(self, mesh: str) -> None:
        """A mesh was left."""
        self._stale |= self._followed.pop(mesh, None) is not None

    def _begin(self, view: View, place: Place) -> _Followed:
        return _followed(view, place, {key for key, member in view.members.items() if offers_anything(member.entry)})


def _followed(view: View, place: Place, offering: set[bytes]) -> _Followed:
    return _Followed(view, _with_offers(place, make_offers(view, offering)), offering, _named(view, offering))


def _named(view: View, keys: Iterable[bytes]) -> set[bytes]:
    return {home for key in keys for home in homes(view, key)}


def _with_offers(place: Place, offers: Offers) -> Place:
    return replace(place, joined=replace(place.joined, offers=offers))
