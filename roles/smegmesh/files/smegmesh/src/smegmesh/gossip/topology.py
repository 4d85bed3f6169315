"""Topology: whom this node dials, and which links it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import islice
from random import Random

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.map import MeshMap
from smegmesh.gossip.dialling import Dialler, Target, Wish
from smegmesh.gossip.directory import Directory
from smegmesh.gossip.homes import Preference
from smegmesh.gossip.links import Links
from smegmesh.gossip.liveness import Judgement
from smegmesh.gossip.settings import Settings
from smegmesh.gossip.view import Liveness

#: A client tries no more peers than this at a time.
_CANDIDATES = 16
#: The higher of two keys waits so long for the other's first dial, so that they seldom meet.
_COURTESY = 0.5
#: Of those who are down and nobody's business in particular, so many are dialled at a time. Whoever has a
#: live neighbour on any ring is dialled by that one; the rest waits for its turn here, for ever.
_FAR = 2
#: Seconds until the next of them is dialled.
_FAR_PAUSE = 2.0


class Topology:
    """Decides from what is known; keeps only what it learned of bootstrap addresses."""

    def __init__(
        self,
        settings: Settings,
        own: bytes,
        mesh: MeshMap,
        directory: Directory,
        judgement: Judgement,
        links: Links,
        dialler: Dialler,
        random: Random,
        confirmed: Callable[[bytes], bool],
    ) -> None:
        self._settings = settings
        self._own = own
        self._map = mesh
        self._directory = directory
        self._judgement = judgement
        self._links = links
        self._dialler = dialler
        self._random = random
        self._confirmed = confirmed
        self._answered: dict[str, bytes] = {}  # bootstrap address -> who answered there
        self._near: set[bytes] = set()
        self._needed: set[bytes] = set()
        self._far: set[bytes] = set()
        self._version = -1
        self.is_client = False
        self.shunned: frozenset[bytes] = frozenset()  # whom the tunnel of this node alone does not reach
        self.preference = Preference(own, lambda: directory.peers)

    def answered(self, address: str, key: bytes) -> None:
        """Learn who is behind a bootstrap address; it may be this node itself."""
        self._answered[address] = key

    def dialled(self, key: bytes) -> None:
        """A dial of a node failed: of those far away another has its turn."""
        self._far.discard(key)

    def is_near(self, key: bytes) -> bool:
        """Whether this node keeps a link with another, who may not be known yet.

        Who is not in the mesh itself cannot tell, and takes everybody for near.
        """
        if self._own not in self._directory.rings or key in self._directory.clients.get(self._own, ()):
            return True
        neighbours = self._judgement.neighbours
        return any(self._own in near for near in (neighbours(key, live=True), neighbours(key, live=False)))

    def neighbours_of(self, key: bytes) -> list[bytes]:
        """The peers that a node is to be linked with."""
        return sorted(self._judgement.neighbours(key, live=True) - {key})

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
        near = set(self._client_near(entry, now)) if entry.role is Role.CLIENT else self._peer_near()
        for key in sorted(near):  # sets have no order that a simulation could repeat
            self._wish(wishes, key, self._settings.redial_neighbour)
        if entry.role is Role.PEER:
            for key in sorted(self._far_away() - near):
                self._wish(wishes, key, self._settings.redial_other, _FAR_PAUSE)
        alone = not self._links.ready()
        for address in self._settings.bootstrap:
            if self._try_bootstrap(address, entry, alone):
                longest = self._settings.redial_neighbour if alone else self._settings.redial_bootstrap
                wishes[address] = Wish((address,), longest)
        return wishes

    def needs(self, own: Entry, now: float) -> Callable[[bytes], bool]:
        """Whether a link with a node is one that the rings, the observers or a client ask for."""
        if own.role is Role.CLIENT:
            near = {own.home, own.backup, *self._client_near(own, now)}
            return near.__contains__
        self._refresh()
        needed = self._needed.union(self._directory.clients.get(self._own, ()))
        # Of whom nothing is known yet it cannot be said.
        return lambda key: key in needed or not self._map.present(key)

    def near(self) -> set[bytes]:
        """Whom this node, as a peer, is to be linked with or observes, as of the last look."""
        return self._near

    def _peer_near(self) -> set[bytes]:
        self._refresh()
        return self._near

    def _refresh(self) -> None:
        """Work out who is near, if anything changed since."""
        if self._version == self._judgement.version:
            return
        self._version = self._judgement.version
        self._near, self._needed = set(), set()
        if self._own in self._directory.rings:
            self._near = (
                self._judgement.neighbours(self._own, live=True)
                | self._judgement.neighbours(self._own, live=False)
                | self._judgement.observed(self._own, self._confirmed)
            )
            self._needed = self._near | self._judgement.observers(self._own)

    def _client_near(self, entry: Entry, now: float) -> Collection[bytes]:
        named = [key for key in (entry.home, entry.backup) if key is not None and key in self._directory.rings]
        settled = len(named) == 2 and all(self._judgement.liveness(key) is Liveness.ALIVE for key in named)
        if settled and all(self._links.to(key) for key in named):
            return ()
        wanted = dict.fromkeys([*named, *self.candidates(now)])
        if not self._links.ready():
            wanted |= dict.fromkeys(islice(self.preference, _CANDIDATES))
        return wanted

    def _far_away(self) -> set[bytes]:
        """Who of all that are down or pruned has its turn to be dialled."""
        down = self._judgement.down
        self._far = {key for key in self._far if key in down or key in self._directory.pruned}
        missing = _FAR - len(self._far)
        if missing > 0 and (down or self._directory.pruned):
            others = sorted((down | self._directory.pruned) - self._far - {self._own})
            self._far.update(self._random.sample(others, min(missing, len(others))))
        return self._far

    def _wish(self, wishes: dict[Target, Wish], key: bytes, longest: float, first: float = 0.0) -> None:
        held = self._map.get(key)
        if key == self._own or key in wishes or held is None or held.entry is None or not held.entry.entry.links:
            return
        if self._map.revoked(key) or self._links.pending(key):
            return
        courtesy = 0.0 if self._own < key else _COURTESY
        wishes[key] = Wish(held.entry.entry.links, longest, first or courtesy)

    def _try_bootstrap(self, address: str, entry: Entry, alone: bool) -> bool:
        who = self._answered.get(address)
        if who == self._own or address in entry.links:
            return False
        if alone:
            return True
        return not self._directory.known_at(address) and not (who is not None and self._map.present(who))
