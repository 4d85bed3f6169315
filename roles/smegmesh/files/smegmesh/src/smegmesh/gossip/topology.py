"""Topology: whom this node dials, and which links it needs."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.removal import Cause
from smegmesh.gossip.dialling import Dialler, Target, Wish
from smegmesh.gossip.homes import Preference
from smegmesh.gossip.links import Link, Links
from smegmesh.gossip.liveness import Judgement
from smegmesh.gossip.roster import Roster
from smegmesh.gossip.settings import Settings
from smegmesh.gossip.view import Liveness

#: A client tries no more peers than this at a time.
_CANDIDATES = 16
#: The higher of two keys waits so long for the other's first dial, so that they seldom meet.
_COURTESY = 0.5


class Topology:
    """Decides from what is known; keeps only what it learned of bootstrap addresses."""

    def __init__(
        self,
        settings: Settings,
        own: bytes,
        mesh: MeshMap,
        roster: Roster,
        judgement: Judgement,
        links: Links,
        dialler: Dialler,
    ) -> None:
        self._settings = settings
        self._own = own
        self._map = mesh
        self._roster = roster
        self._judgement = judgement
        self._links = links
        self._dialler = dialler
        self._answered: dict[str, bytes] = {}  # bootstrap address -> who answered there
        self._near: set[bytes] = set()
        self._needed: set[bytes] = set()
        self._version = -1
        self.shunned: frozenset[bytes] = frozenset()  # whom the tunnel of this node alone does not reach
        self.pruned: set[bytes] = set()
        self.preference = Preference(own)

    def answered(self, address: str, key: bytes) -> None:
        """Learn who is behind a bootstrap address; it may be this node itself."""
        self._answered[address] = key

    def removal_changed(self, key: bytes) -> None:
        """Keep track of those who are pruned, who may still be there."""
        removal = self._map.removals.get(key)
        pruned = removal is not None and removal.cause is Cause.PRUNE and not self._map.present(key)
        (self.pruned.add if pruned and key != self._own else self.pruned.discard)(key)

    def candidates(self, now: float) -> list[bytes]:
        """For a client: the peers to try for home and backup, the first two of them that can be reached."""
        found: list[bytes] = []
        reachable = 0
        for key in self.preference:
            if len(found) == _CANDIDATES or reachable == 2:
                break
            if self._judgement.liveness(key) is not Liveness.ALIVE:
                continue
            found.append(key)
            struggles = self._dialler.struggles(key, self._settings.ping_timeout, now)
            reachable += not struggles and key not in self.shunned
        return found

    def wishes(self, entry: Entry, now: float) -> dict[Target, Wish]:
        """Whom to dial."""
        wishes: dict[Target, Wish] = {}
        near = self._client_near(entry, now) if entry.role is Role.CLIENT else self._peer_near()
        for key in sorted(near):  # sets have no order that a simulation could repeat
            self._wish(wishes, key, self._settings.redial_neighbour)
        if entry.role is Role.PEER:
            far = [key for key, state in self._judgement.failed().items() if state is Liveness.DOWN]
            for key in sorted({*far, *self.pruned}):
                self._wish(wishes, key, self._settings.redial_other)
        alone = not self._links.ready()
        for address in self._settings.bootstrap:
            if self._try_bootstrap(address, entry, alone):
                longest = self._settings.redial_neighbour if alone else self._settings.redial_bootstrap
                wishes[address] = Wish((address,), longest)
        return wishes

    def needs(self, link: Link, own: Entry, now: float) -> bool:
        """Whether the link is one that the rings, the observers or a client ask for."""
        key = link.node_key
        if own.role is Role.CLIENT:
            return key in (own.home, own.backup) or key in self._client_near(own, now)
        member = self._map.members.get(key)
        if member is None:
            return False
        if member.entry.role is Role.CLIENT:
            return self._own in (member.entry.home, member.entry.backup)
        self._refresh()
        return key in self._needed

    def _peer_near(self) -> set[bytes]:
        self._refresh()
        return self._near

    def _refresh(self) -> None:
        """Work out who is near, if anything changed since."""
        if self._version == self._judgement.version:
            return
        self._version = self._judgement.version
        self._near, self._needed = set(), set()
        if self._own in self._judgement.rings:
            self._near = (
                self._judgement.neighbours(self._own, live=True)
                | self._judgement.neighbours(self._own, live=False)
                | self._judgement.observed(self._own)
            )
            self._needed = self._near | self._judgement.observers(self._own)

    def _client_near(self, entry: Entry, now: float) -> Collection[bytes]:
        named = [key for key in (entry.home, entry.backup) if key is not None and key in self._judgement.rings]
        settled = len(named) == 2 and all(self._judgement.liveness(key) is Liveness.ALIVE for key in named)
        if settled and all(self._links.to(key) for key in named):
            return ()
        wanted = dict.fromkeys([*named, *self.candidates(now)])
        if not self._links.ready():
            wanted |= dict.fromkeys(islice(self.preference, _CANDIDATES))
        return wanted

    def _wish(self, wishes: dict[Target, Wish], key: bytes, longest: float) -> None:
        signed = self._map.entries.get(key)
        if key == self._own or key in wishes or signed is None or not signed.entry.links:
            return
        if self._map.revoked(key) or self._links.pending(key):
            return
        wishes[key] = Wish(signed.entry.links, longest, 0.0 if self._own < key else _COURTESY)

    def _try_bootstrap(self, address: str, entry: Entry, alone: bool) -> bool:
        who = self._answered.get(address)
        if who == self._own or address in entry.links:
            return False
        if alone:
            return True
        return not self._roster.known_at(address) and not (who is not None and self._map.present(who))
