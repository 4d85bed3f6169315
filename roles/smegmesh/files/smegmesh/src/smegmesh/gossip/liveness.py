"""Liveness: what the verdicts in the map say of each member, the same for everybody.

A member's observers are, on each ring and in each direction, the nearest peers that
nobody accuses; a client's are those of its home and its backup that are alive, whoever else
accuses them: one liar must not blind them. A member is down when more than half of its
observers, and at least two where there are two, call it down, and mute when they are only
so many together with those who call it mute. A client none of whose homes could vouch for
it is down too, as nothing reaches it until it names another; it is mute if a home is.

A change costs what it touches: whom it accuses, and the accused between a node that
became suspect, or ceased to be, and the nearest unaccused one in each direction.

What a writer says that is down itself, or was just now, does not count for a while: after a partition it is what
the other side thought of this one, and whom it accuses is about to answer it. So the two sides find each other alive
one by one, and nobody is down in between. Of those who were found down and have said nothing since it counts at once:
without it the dead would come to life.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from types import MappingProxyType
from typing import Any

from smegmesh.crdt.entry import Role
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.accusations import Accusations
from smegmesh.gossip.directory import Directory, Effect, named
from smegmesh.gossip.quarantine import Quarantine
from smegmesh.gossip.rings import Subset
from smegmesh.gossip.view import Liveness

#: Who becomes suspect, or ceases to be, has those judged anew that are at most so many accused away, on a ring. With
#: nine tenths of all peers dead one in a thousand is farther from its nearest observer; it is judged when something
#: changes between the two.
_REACH = 64
#: A node observes the nearest peer that nobody accuses, and those on the way there: so many of them
#: beyond the last that it found down or mute itself. Who is only said to be down may not be.
_AHEAD = 4
_NEVER = float("-inf")


class Judgement:
    """Keeps the liveness of the members up to date.

    `quarantine` are the seconds for which what a writer says that is down, or has been back for less than `patience`,
    does not count against those who are not dead already: in less than that it found nobody dead anew.
    """

    def __init__(self, mesh: MeshMap, directory: Directory, quarantine: float = 0.0, patience: float = 0.0) -> None:
        self.version = 0  # another one after each change that may change who is near whom
        self._map = mesh
        self._directory = directory
        self._accusations = Accusations()
        self._strangers: set[bytes] = set()  # who accuses somebody and is no member
        self._quarantine = Quarantine(quarantine)
        self._patience = patience
        self._back: dict[bytes, float] = {}  # when a writer came back, if that is just now; in order of time
        self._suspects: dict[bytes, None] = {}  # whom anybody accuses; of thousands a dict takes half of a set's memory
        # Each with the number of its entry under which it was found down last; None if it was not, or has answered.
        self._down: dict[bytes, int | None] = {}
        self._mute: dict[bytes, int | None] = {}
        self._rose: dict[bytes, int] = {}  # of those who are alive
        self._unaccused = Subset(directory.rings, self._suspects.keys())
        self._live = Subset(directory.rings, self._down.keys())
        self._snapshot: Mapping[bytes, Liveness] | None = None
        # What the next `update` is to look at.
        self._accused: set[bytes] = set()  # who is accused otherwise, or answered
        self._moved: set[bytes] = set()  # peers that came or went
        self._clients = _homeless(directory)  # who has other homes

    @property
    def pending(self) -> bool:
        """Whether `update` has anything to look at."""
        return bool(self._accused or self._moved or self._clients)

    def changed(self, key: bytes, effect: Effect) -> None:
        """A member came, went or changed its entry."""
        if effect.peers:
            self._moved.add(key)
        if effect.homes:
            self._clients.add(key)
            self.version += 1
        if key not in self._directory.rings:  # for a peer `update` sees to it; who is none is known now, and no home
            self._clients.update(self._directory.clients.get(key, ()))
        accused = key in self._suspects or self._accusations.any_against(key)
        if effect.members or effect.peers or accused or self._has_failed(key):
            self._accused.add(key)
        if effect.members:  # what it wrote counts now, or no more
            self._rose.pop(key, None)
            for failed in (self._down, self._mute):
                if key in failed:
                    failed[key] = None
            self._accused.update(self._accusations.by(key))
            self._note_stranger(key)

    def accuse(self, writer: bytes, accused: Mapping[bytes, Accusation], now: float = 0.0) -> set[bytes]:
        """A writer's verdict changed; returns those against whom it does not count yet.

        What waits goes on waiting as long as the writer repeats it.
        """
        quarantine = self._quarantine
        if writer in self._down:
            quarantine.drop(writer)
        waiting = quarantine.get(writer)
        doubted = quarantine and (writer in self._down or now < self._back.get(writer, _NEVER) + self._patience)
        counted = self._accusations.by(writer)
        waits = {
            key
            for key, said in accused.items()
            if said != counted.get(key) and (said == waiting.get(key) or (doubted and said.number != self._fell(key)))
        }
        if waits:
            quarantine.put(writer, accused, now)
            accused = {key: said for key, said in accused.items() if key not in waits}
        elif waiting:
            quarantine.drop(writer)
        self._replace(writer, accused)
        return waits

    def release(self, now: float) -> None:
        """Let verdicts count that have waited long enough."""
        for writer, accused in self._quarantine.due(now):
            self._replace(writer, accused)
        while self._back and next(iter(self._back.values())) + self._patience <= now:
            del self._back[next(iter(self._back))]

    def next_timer(self) -> float:
        """When `release` has something next."""
        return self._quarantine.next_timer()

    def liveness(self, key: bytes) -> Liveness:
        """As of the last `update`."""
        if key in self._down:
            return Liveness.DOWN
        return Liveness.MUTE if key in self._mute else Liveness.ALIVE

    def is_peer(self, key: bytes) -> bool:
        """Whether a node is a member that others can go through."""
        return key in self._directory.rings

    def failed(self) -> Mapping[bytes, Liveness]:
        """Who is down or mute, as of the last `update`; an immutable value."""
        if self._snapshot is None:
            down, mute = dict.fromkeys(self._down, Liveness.DOWN), dict.fromkeys(self._mute, Liveness.MUTE)
            self._snapshot = MappingProxyType(down | mute)
        return self._snapshot

    @property
    def down(self) -> Set[bytes]:
        """Who is down, as of the last `update`; a live view."""
        return self._down.keys()

    def update(self, now: float = 0.0) -> set[bytes]:
        """Judge anew whom a change may concern; returns the nodes whose liveness changed."""
        if not self.pending:
            return set()
        for key in self._moved:
            self._unaccused.changed(key)
            self._live.changed(key)
        flipped = {key for key in self._accused if self._suspect(key)} | self._moved
        concerned = self._accused | self._clients | self._around(flipped)
        peers = {key for key in concerned if key in self._directory.rings}
        down = self._down.keys() & concerned
        changed = {key for key in peers if self._settle(key)}
        clients = concerned - peers  # after the peers: they are down with their homes
        for home in changed | self._moved:
            clients.update(self._directory.clients.get(home, ()))
        changed |= {client for client in clients if self._settle(client)}
        for key in down - self._down.keys():
            self._back.pop(key, None)
            self._back[key] = now
        self.version += bool(flipped or changed)
        self._accused, self._moved, self._clients = set(), set(), set()
        return changed

    def against(self, key: bytes) -> dict[bytes, Accusation]:
        """The accusations by members that name a member's present entry: a higher number answers them."""
        if not self._accusations.any_against(key):
            return {}
        member = self._map.member(key)
        if member is None:
            return {}
        said = self._accusations.against(key, member.record.number)
        for stranger in self._strangers & said.keys():
            del said[stranger]
        return said

    def _is_accused(self, key: bytes) -> bool:
        """Whether there is anything `against` a node."""
        if not self._accusations.any_against(key):
            return False
        member = self._map.member(key)
        if member is None:
            return False
        writers = self._accusations.writers(key, member.record.number)
        return any(writer not in self._strangers for writer in writers)

    def accused(self) -> dict[bytes, dict[bytes, Accusation]]:
        """Whom members accuse, each with `against`, as of the last `update`."""
        return {key: self.against(key) for key in self._suspects}

    def observers(self, key: bytes) -> set[bytes]:
        """Who may call this member down, as of the last `update`."""
        member = self._map.member(key)
        if member is not None and member.entry.role is Role.CLIENT:
            homes = named(member.entry)
            return {home for home in homes if home in self._directory.rings and not self._has_failed(home)}
        return self._unaccused.nearest(key)

    def observed(self, own: bytes, confirmed: Callable[[bytes], bool] = lambda _key: True) -> set[bytes]:
        """Whom this node observes: those for whom it is the nearest that nobody accuses, were it not accused itself.

        `confirmed` says whom it found down or mute itself.
        """
        rings = self._directory.rings
        if own not in rings:
            return set()
        found = set(self._directory.clients.get(own, ()))
        for walk in rings.walks(own):
            ahead = _AHEAD
            for other in walk:
                found.add(other)
                ahead = _AHEAD if confirmed(other) else ahead - 1
                if other not in self._suspects or not ahead:
                    break
        return found

    def neighbours(self, key: bytes, *, live: bool) -> set[bytes]:
        """Successor and predecessor on each ring; those who are down are skipped if `live`."""
        return (self._live if live else self._directory.rings).nearest(key)

    def _replace(self, writer: bytes, accused: Mapping[bytes, Accusation]) -> None:
        self._accused |= self._accusations.replace(writer, accused)
        self._note_stranger(writer)

    def _note_stranger(self, writer: bytes) -> None:
        if self._accusations.by(writer) and not self._map.present(writer):
            self._strangers.add(writer)
        else:
            self._strangers.discard(writer)

    def _suspect(self, key: bytes) -> bool:
        """Note whether anybody accuses the node; says whether that is new."""
        accused = self._is_accused(key)
        if accused == (key in self._suspects):
            return False
        if accused:
            self._suspects[key] = None
        else:
            del self._suspects[key]
            _let_go(self._suspects)
        self._unaccused.changed(key)
        return True

    def _around(self, flipped: Iterable[bytes]) -> set[bytes]:
        """The accused who may have another observer, now that these are suspect, or are no more."""
        found: set[bytes] = set()
        for key in flipped:
            if key in self._directory.rings or key in self._moved:
                found.update(self._directory.rings.around(key, self._suspects, _REACH))
            found.update(self._directory.clients.get(key, ()))
        return found

    def _settle(self, key: bytes) -> bool:
        """Judge a node; says whether that changes anything."""
        after = self._judge(key)
        if after is self.liveness(key):
            return False
        number, fell = self._number(key), self._fell(key)
        was_down = key in self._down
        for table in (self._down, self._mute, self._rose):
            table.pop(key, None)
            _let_go(table)
        if after is Liveness.DOWN:
            self._down[key] = number
        elif after is Liveness.MUTE:
            self._mute[key] = fell if fell == number else None
        elif fell is not None and fell == number:
            self._rose[key] = fell
        if was_down != (after is Liveness.DOWN):
            self._live.changed(key)
        self._snapshot = None
        return True

    def _has_failed(self, key: bytes) -> bool:
        return key in self._down or key in self._mute

    def _fell(self, key: bytes) -> int | None:
        """The number of its entry under which a member was found down last, if it has not come back under another."""
        for failed in (self._down, self._mute):
            if key in failed:
                return failed[key]
        return self._rose.get(key)

    def _number(self, key: bytes) -> int | None:
        member = self._map.member(key)
        return None if member is None else member.record.number

    def _judge(self, key: bytes) -> Liveness:
        member = self._map.member(key)
        if member is None:
            return Liveness.ALIVE  # it is nobody's business any more
        if member.entry.role is Role.CLIENT and (stranded := self._stranded(named(member.entry))):
            return stranded
        if key not in self._suspects:
            return Liveness.ALIVE
        said = self.against(key)
        observers = self.observers(key)
        accusing = [said[observer] for observer in observers if observer in said]
        needed = len(observers) // 2 + 1
        if len([accusation for accusation in accusing if not accusation.mute]) >= needed:
            return Liveness.DOWN
        return Liveness.MUTE if len(accusing) >= needed else Liveness.ALIVE

    def _stranded(self, homes: tuple[bytes, ...]) -> Liveness | None:
        """What a client is when none of its homes is alive. Of whom nothing is known yet that cannot be said."""
        found = {self.liveness(home) for home in homes if home in self._directory.rings}
        if not homes or Liveness.ALIVE in found or not all(map(self._is_known, homes)):
            return None
        return Liveness.MUTE if Liveness.MUTE in found else Liveness.DOWN

    def _is_known(self, key: bytes) -> bool:
        """Whether it can be said if a node is in the mesh: what it says of others may come before its entry."""
        held = self._map.get(key)
        return held is not None and (held.entry is not None or held.removal is not None)


def _let_go(table: dict[bytes, Any]) -> None:
    """A table from which all thousands were taken one by one keeps their room unless it is told that it is empty."""
    if not table:
        table.clear()


def _homeless(directory: Directory) -> set[bytes]:
    """The clients that name a home who is no peer: in maps that were loaded no change will come to say so."""
    return {client for home, clients in directory.clients.items() if home not in directory.rings for client in clients}
