"""Membership: what this node says of itself and of others, and when it says it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.record import Record
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.client import HomeChoice
from smegmesh.gossip.dialling import Dialler
from smegmesh.gossip.events import AlarmKind
from smegmesh.gossip.links import Links
from smegmesh.gossip.liveness import Judgement
from smegmesh.gossip.publishing import Publisher, Standing
from smegmesh.gossip.settings import Settings
from smegmesh.gossip.topology import Topology
from smegmesh.gossip.view import Liveness
from smegmesh.identity.keys import encode_key

Alarm = Callable[[AlarmKind, str], None]


class Membership:
    """The own entry and verdict.

    `confirmed` says whom this node itself finds down or mute; `say` takes each record and makes it durable before
    anything is sent.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        mesh: MeshMap,
        judgement: Judgement,
        confirmed: Callable[[bytes], bool],
        say: Callable[[Record], None],
        alarm: Alarm,
    ) -> None:
        self.declared: Entry | None = None
        self.choice = HomeChoice(settings)
        self._settings = settings
        self._publisher = publisher
        self._map = mesh
        self._judgement = judgement
        self._confirmed = confirmed
        self._say = say
        self._alarm = alarm
        self._published = False
        self._last_verdict = float("-inf")
        self._held_until = float("inf")  # an answer to another instance, or a verdict that differs
        self._answered = 0  # the number that somebody who is down accused last

    @property
    def is_client(self) -> bool:
        return self.declared is not None and self.declared.role is Role.CLIENT

    def declare(self, entry: Entry) -> None:
        """What this node is to say of itself, homes aside. Raises ValueError if it may not say it."""
        self._publisher.check(replace(entry, home=None, backup=None))
        self.declared = entry
        held = self._map.entries.get(self._publisher.key)
        if held is not None and self.choice.home is None and entry.role is Role.CLIENT:
            self.choice.home, self.choice.backup = held.entry.home, held.entry.backup

    def entry(self) -> Entry:
        """What it says now, with the homes that it chose."""
        assert self.declared is not None
        if self.declared.role is Role.PEER:
            return self.declared
        return replace(self.declared, home=self.choice.home, backup=self.choice.backup)

    def choose_homes(self, topology: Topology, dialler: Dialler, links: Links, now: float) -> None:
        """For a client: choose where a choice ended, the first time when all good candidates had their chance."""
        candidates = topology.candidates(now)
        good = [key for key in candidates if not dialler.struggles(key, self._settings.ping_timeout, now)]

        def keeps(key: bytes) -> bool:
            if not self._judgement.is_peer(key):
                return False
            liveness = self._judgement.liveness(key)
            # A mute node carries traffic all the same, but a mute backup cannot vouch for this one.
            carries = key == self.choice.home or self.choice.home in self.choice.unreachable
            return liveness is Liveness.ALIVE or (liveness is Liveness.MUTE and carries)

        def takes(key: bytes) -> bool:
            return key in good and links.to(key) is not None

        if self.choice.home is not None or all(takes(key) for key in good):
            self.choice.update(candidates, keeps, takes, now)

    def publish(self, accused: dict[bytes, Accusation], *, renew: bool, now: float) -> None:
        """Say what differs from what the maps hold; `renew`: the verdict even if it does not."""
        self._held_until = float("inf")
        if self._publisher.standing is not Standing.MEMBER or self._map.revoked(self._publisher.key):
            return
        if self.is_client and self.choice.home is None:
            return  # nobody could reach it, nor vouch for it
        foreign = self._published and self._publisher.foreign()
        if foreign and now < self._publisher.next_raise(self._settings):
            self._held_until = self._publisher.next_raise(self._settings)
            return
        if foreign and not self._publisher.may_raise(now, self._settings):
            self._stop("cloned", self._in_use_twice())
            return
        try:
            self._publish_entry(again=foreign)
            self._publish_verdict({} if self.is_client else accused, renew=renew, now=now)
        except ValueError as error:  # the mesh is full, or the numbers of this key are used up
            self._stop("refused", str(error))

    def leave(self) -> None:
        """Take this node out of the mesh; where it cannot say so, the others will find it down."""
        self._publisher.become(Standing.LEFT)
        try:
            self._say(self._publisher.leave())
        except ValueError as error:
            self._alarm("refused", f"left without telling the others: {error}")

    def _publish_entry(self, *, again: bool) -> None:
        """`again` although it says nothing new: so that another machine with this key answers by its entry."""
        record = self._publisher.entry(self.entry())
        if record is None and (again or self._accused_by_the_dead()):
            record = self._publisher.again(self.entry())
        if record is not None:
            self._published = True
            self._say(record)

    def answer(self, accusation: Accusation) -> None:
        """Somebody whose word does not count yet accuses this entry of this node: it is to raise its number."""
        own = self._map.member(self._publisher.key)
        if own is not None and accusation.number == own.record.number:
            self._answered = accusation.number

    def _accused_by_the_dead(self) -> bool:
        """Whether somebody who cannot take it back accuses this node: a higher number answers that."""
        own = self._map.member(self._publisher.key)
        if own is not None and self._answered == own.record.number:
            return True
        return any(self._is_silenced(writer) for writer in self._judgement.against(self._publisher.key))

    def _is_silenced(self, writer: bytes) -> bool:
        """Whether a node is down or mute, or would be if those who are to say so were not accused themselves.

        Of two who accuse each other, and nobody else, either is right; so both answer, as the dead cannot.
        """
        if self._judgement.liveness(writer) is not Liveness.ALIVE:
            return True
        return self._confirmed(writer) and not self._judgement.observers(writer)

    def next_timer(self) -> float:
        """When what was held back may be said."""
        return self._held_until

    def _publish_verdict(self, accused: dict[bytes, Accusation], *, renew: bool, now: float) -> None:
        own = self._map.get(self._publisher.key)
        held = None if own is None else own.verdict
        stale = held is not None and held.record.instance != self._publisher.instance
        before = held.accused if held is not None else {}
        differs = accused != before
        pause = self._settings.retract_pause if accused.items() <= before.items() else self._settings.verdict_pause
        if differs and not stale and not renew and now < self._last_verdict + pause:
            self._held_until = self._last_verdict + pause
        elif renew or stale or differs:
            self._last_verdict = now
            self._say(self._publisher.verdict(accused))

    def _stop(self, kind: AlarmKind, text: str) -> None:
        self._publisher.become(Standing.STOPPED)
        self._alarm(kind, text)

    def _in_use_twice(self) -> str:
        theirs, ours = ", ".join(self._publisher.elsewhere), ", ".join(self.entry().endpoints)
        return (
            f"node key {encode_key(self._publisher.key)} is in use twice, here ({ours or 'no endpoint'}) and "
            f"elsewhere ({theirs or 'no endpoint'}): give one of the two a new key"
        )
