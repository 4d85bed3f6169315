"""Liveness: what the verdicts in the map say of each member, the same for everybody.

A member's observers are, on each ring and in each direction, the nearest peers that
nobody accuses; a client's are its home and its backup. A member is down when more
than half of its observers, and at least two where there are two, call it down, and
mute when they are only so many together with those who call it mute. A client none of
whose homes could vouch for it is down too: nothing reaches it until it names another.
"""

from __future__ import annotations

from collections.abc import Mapping

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.statement import SignedEntry
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.accusations import Accusations
from smegmesh.gossip.rings import Rings
from smegmesh.gossip.view import Liveness


class Judgement:
    """Keeps the rings and the liveness of the members up to date; calls only for those who are not alive."""

    def __init__(self, rings: int, members: Mapping[bytes, SignedEntry]) -> None:
        self.rings = Rings(rings)
        self.version = 0  # another one after each change that may change who is near whom
        self._accusations = Accusations()
        self._stale = False
        self.clients: dict[bytes, set[bytes]] = {}  # home or backup -> clients that name it
        self._members = members
        self._failed: dict[bytes, Liveness] = {}
        self._suspects: set[bytes] = set()  # who is accused by anybody, as of the last `update`

    def changed(self, key: bytes, before: Entry | None, after: Entry | None) -> None:
        """A member came, went or changed its entry."""
        self._touch()
        for named in _named(before):
            self.clients[named].discard(key)
            if not self.clients[named]:
                del self.clients[named]
        for named in _named(after):
            self.clients.setdefault(named, set()).add(key)
        if after is not None and after.role is Role.PEER:
            self.rings.add(key)
        else:
            self.rings.remove(key)

    def accuse(self, writer: bytes, accused: Mapping[bytes, Accusation]) -> None:
        """A writer's verdict changed."""
        if self._accusations.replace(writer, accused):
            self._touch()

    def liveness(self, key: bytes) -> Liveness:
        """As of the last `update`."""
        return self._failed.get(key, Liveness.ALIVE)

    def failed(self) -> Mapping[bytes, Liveness]:
        """Who is down or mute, as of the last `update`."""
        return self._failed

    def update(self) -> set[bytes]:
        """Judge anew; returns the nodes whose liveness changed."""
        if not self._stale:
            return set()
        self._stale = False
        said = {key: self.against(key) for key in self._accusations.accused() & self._members.keys()}
        self._suspects = {key for key, accusations in said.items() if accusations}
        failed: dict[bytes, Liveness] = {}
        for key in self._suspects:
            verdict = self._judge(key, said[key])
            if verdict is not Liveness.ALIVE:
                failed[key] = verdict
        failed |= dict.fromkeys(self._stranded(failed), Liveness.DOWN)
        before, self._failed = self._failed, failed
        changed = {key for key in before.keys() | failed.keys() if before.get(key) is not failed.get(key)}
        self.version += bool(changed)
        return changed

    def against(self, key: bytes) -> dict[bytes, Accusation]:
        """The accusations by members that a member has not answered by a higher number."""
        member = self._members.get(key)
        if member is None:
            return {}
        said = self._accusations.against(key, member.record.number)
        return {writer: accusation for writer, accusation in said.items() if writer in self._members}

    def observers(self, key: bytes) -> set[bytes]:
        """Who may call this member down, as of the last `update`."""
        entry = self._members[key].entry
        if entry.role is Role.CLIENT:
            return {named for named in _named(entry) if named in self.rings and named not in self._suspects}
        return self.rings.nearest(key, lambda other: other not in self._suspects)

    def observed(self, own: bytes) -> set[bytes]:
        """Whom this node observes: those for whom it is the nearest that nobody accuses, were it not accused itself."""
        if own not in self.rings:
            return set()
        found = {client for client in self.clients.get(own, ()) if client in self._members}
        for walk in self.rings.walks(own):
            for other in walk:
                found.add(other)
                if other not in self._suspects:
                    break
        return found

    def neighbours(self, key: bytes, *, live: bool) -> set[bytes]:
        """Successor and predecessor on each ring; those who are down are skipped if `live`."""
        return self.rings.nearest(key, lambda other: not live or self.liveness(other) is not Liveness.DOWN)

    def _touch(self) -> None:
        self._stale = True
        self.version += 1

    def _judge(self, key: bytes, said: Mapping[bytes, Accusation]) -> Liveness:
        observers = self.observers(key)
        accusing = [said[observer] for observer in observers if observer in said]
        needed = len(observers) // 2 + 1
        if len([accusation for accusation in accusing if not accusation.mute]) >= needed:
            return Liveness.DOWN
        return Liveness.MUTE if len(accusing) >= needed else Liveness.ALIVE

    def _stranded(self, failed: Mapping[bytes, Liveness]) -> set[bytes]:
        """Clients all of whose homes are down or gone."""

        def gone(key: bytes) -> bool:
            return failed.get(key) is Liveness.DOWN or key not in self.rings

        return {
            client
            for named, clients in self.clients.items()
            if gone(named)
            for client in clients
            if client in self._members and all(gone(other) for other in _named(self._members[client].entry))
        }


def _named(entry: Entry | None) -> set[bytes]:
    if entry is None or entry.role is not Role.CLIENT:
        return set()
    return {key for key in (entry.home, entry.backup) if key is not None}
