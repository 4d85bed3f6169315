"""Observation: what this node itself finds of each node that it observes.

    state     enters when                                            accuses
    REACHED   a frame came in                                        no
    QUIET     1.4 pings without a frame, or the link is lost          no
    AWAY      it announced a restart                                  no
    MUTE      no frame, but its host answers through the tunnel       mute
    DOWN      no frame and no answer, or mute for ten minutes         down

Who is not reached is probed through the tunnel. It is found down when the patience (three missed
pings) is over and three probes in a row were missed: at 10 % loss in each direction one host in 150
fails that by chance, and more than half of its observers would have to agree. While its host answers
it may only be slow, so another link is tried after twice the patience, and it is found mute if that fails, or
after five times the patience. Without a link nothing is waited for: when no dial succeeds, or nobody can dial
it and it does not come back within the patience, one answer makes it mute at once, two missed probes
down. Where there is no tunnel to probe through, half as much patience again makes it down.

A lost packet holds up all that follows on a link, so where many are lost nodes fall quiet and come back
all the time. Each that does slows the pace of this observer: it pings more rarely, which holds up less,
and waits longer, until a while has passed without (as Lifeguard does: Dadgar, Phillips and Currey, "Lifeguard:
SWIM-ing with Situational Awareness", 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import islice
from math import exp

from smegmesh.crdt.record import Record
from smegmesh.crdt.verdict import MAX_ACCUSED, Accusation
from smegmesh.gossip.settings import Settings


class State(Enum):
    """How this node finds another."""

    REACHED = "reached"
    QUIET = "quiet"
    AWAY = "away"
    MUTE = "mute"
    DOWN = "down"


#: From which state an observation may go where.
MAY_BECOME = {
    State.REACHED: {State.QUIET, State.AWAY},
    State.QUIET: {State.REACHED, State.AWAY, State.MUTE, State.DOWN},
    State.AWAY: {State.REACHED, State.QUIET},
    State.MUTE: {State.REACHED, State.AWAY, State.DOWN},
    State.DOWN: {State.REACHED, State.AWAY, State.MUTE},
}

#: Probes in a row that a host on which nobody listens any more has to miss: one may be lost by chance.
_DEAF = 2
#: Pings without a frame after which a node is probed: late enough for an answer to the last, over a slow path.
_QUIET = 1.4
#: Patience without a frame after which it is down where no probe says anything.
_UNPROBED = 1.5
#: The same after which it is mute although its host answers.
_SLOW = 5.0
#: After a node was quiet for a while, and had not lost its link, the patience is so many times that while ...
_SLOWER = 3.0
#: ... but not more than so many times the usual; seconds (a time constant) in which that is forgotten.
_SLOWEST = 6.0
_FORGOTTEN = 120.0

PROBED = frozenset(State) - {State.REACHED}


@dataclass(slots=True)
class Observation:
    """One observed node. Times are monotonic seconds."""

    instance: bytes
    number: int  # the number of its entry that an accusation names
    heard: float  # last contact, or when the observation began
    state: State = State.QUIET
    since: float = 0.0
    linked: bool = False
    lost: float = 0.0  # when the last link was
    dialable: bool = True  # by its observers; else it has to dial them
    refused: bool = False  # no dial succeeded since the link was lost
    answered: bool = False  # the tunnel answered since the last contact
    missed: int = 0  # probes unanswered in a row
    spent: bool = False  # was mute for too long; an answer does not make it mute again
    away_until: float = 0.0
    latest: int = 0  # the number of its entry
    raised: float = 0.0  # when it was raised to that

    def become(self, state: State, now: float) -> None:
        """Change state as the table allows."""
        assert state in MAY_BECOME[self.state], (self.state, state)
        self.state, self.since = state, now


class Observers:
    """This node as an observer. Every input may change `accused`; time does it in `step`."""

    def __init__(self, settings: Settings) -> None:
        self._patience = settings.ping_timeout
        self._quiet = _QUIET * settings.ping_interval
        self._mute_limit = settings.mute_limit
        self._grace = settings.restart_grace
        self._misses = settings.misses
        self._nodes: dict[bytes, Observation] = {}
        self.version = 0  # another one after each change of what is accused or to be probed
        self.pace = 1.0  # how many times as long as usual this node waits: between pings, and for an answer
        self._paced = float("-inf")  # when that was worked out

    def __contains__(self, key: bytes) -> bool:
        return key in self._nodes

    def state(self, key: bytes) -> State | None:
        """How an observed node is found."""
        node = self._nodes.get(key)
        return None if node is None else node.state

    def accuses(self, key: bytes) -> bool:
        """Whether an observed node is found down or mute."""
        node = self._nodes.get(key)
        return node is not None and node.state in (State.MUTE, State.DOWN)

    def keys(self) -> set[bytes]:
        """Whom this node observes."""
        return set(self._nodes)

    def observe(
        self,
        key: bytes,
        entry: Record,
        heard: float | None,
        presumed: State | None,
        now: float,
        *,
        dialable: bool = True,
    ) -> None:
        """Observe a node from now on, or know that it is observed still.

        `heard` is the last frame on a link with it, None without one. A node that is
        found `presumed` down or mute by all is taken for that until it is heard, so that
        a change of observers does not show it alive. A new instance gets a new chance at
        once. A new number of the same instance answers the accusations made before; it is
        accused again only if it is not heard for another patience. Who is not `dialable` has to
        dial this node.
        """
        node = self._nodes.get(key)
        if node is not None and (node.instance == entry.instance or node.state is State.REACHED):
            node.instance = entry.instance
            if node.latest != entry.number:
                node.latest, node.raised = entry.number, now
            return
        self.version += 1
        self._nodes[key] = fresh = Observation(
            entry.instance, entry.number, now if heard is None else heard, since=now, latest=entry.number
        )
        fresh.linked, fresh.lost, fresh.dialable = heard is not None, now, dialable
        if heard is not None:  # the link stands: it was not pinged each second yet, so nothing is late
            fresh.heard = now
            fresh.become(State.REACHED, now)
        elif presumed is not None and node is None:
            fresh.become(presumed, now)
            fresh.answered = presumed is State.MUTE

    def forget(self, key: bytes) -> None:
        """Observe a node no more."""
        if self._nodes.pop(key, None) is not None:
            self.version += 1

    def heard(self, key: bytes, now: float) -> bool:
        """A frame of the node came in; says whether that changes anything.

        Who announced a restart still talks for a moment: only a new link brings it back.
        """
        node = self._nodes.get(key)
        if node is None:
            return False
        gap, node.heard = now - node.heard, max(node.heard, now)
        if node.state in (State.REACHED, State.AWAY):
            return False
        if node.linked:
            self._set_pace(now)
            self.pace = max(self.pace, min(_SLOWEST, gap / self._patience * _SLOWER))
        self._reach(node, now)
        return True

    def linked(self, key: bytes, now: float) -> None:
        """A new link with the node stands."""
        node = self._nodes.get(key)
        if node is not None:
            node.linked = True
            node.heard = now
            if node.state is not State.REACHED:
                self._reach(node, now)

    def lost(self, key: bytes, now: float) -> None:
        """The last link with the node is gone."""
        node = self._nodes.get(key)
        if node is not None:
            node.linked, node.lost = False, now
            if node.state is State.REACHED:
                self._become(node, State.QUIET, now)

    def dial_failed(self, key: bytes) -> None:
        """The node could not be dialled."""
        node = self._nodes.get(key)
        if node is not None and not node.linked:
            node.refused = True

    def probed(self, key: bytes, answered: bool) -> None:
        """The result of a ping through the tunnel."""
        node = self._nodes.get(key)
        if node is not None and node.state is not State.REACHED:
            node.answered = answered or (node.answered and node.missed + 1 < self._misses * self.pace)
            node.missed = 0 if answered else node.missed + 1

    def away(self, key: bytes, seconds: float, now: float) -> None:
        """The node announced that its agent restarts."""
        node = self._nodes.get(key)
        if node is not None:
            node.away_until = now + min(seconds, self._grace)
            node.refused = False
            if node.state is not State.AWAY:
                self._become(node, State.AWAY, now)

    def doubt(self, now: float) -> None:
        """This node itself was late: nobody can be accused of that gap."""
        for node in self._nodes.values():
            node.heard = now

    def step(self, now: float) -> None:
        """Let time pass."""
        self._set_pace(now)
        for node in self._nodes.values():
            self._step(node, now)

    def accused(self) -> dict[bytes, Accusation]:
        """Whom this node cannot reach, as far as a verdict has room."""
        keys = (key for key in sorted(self._nodes) if self._nodes[key].state in (State.MUTE, State.DOWN))
        return {
            key: Accusation(self._nodes[key].number, self._nodes[key].state is State.MUTE)
            for key in islice(keys, MAX_ACCUSED)
        }

    def to_probe(self) -> frozenset[bytes]:
        """Whom to ping through the tunnel."""
        return frozenset(key for key, node in self._nodes.items() if node.state in PROBED)

    def next_timer(self) -> float:
        """When `step` may change something next."""
        return min(map(self._due, self._nodes.values()), default=float("inf"))

    def _set_pace(self, now: float) -> None:
        self.pace = 1.0 + (self.pace - 1.0) * exp((self._paced - now) / _FORGOTTEN)
        self._paced = now

    def _become(self, node: Observation, state: State, now: float) -> None:
        node.become(state, now)
        self.version += 1

    def _reach(self, node: Observation, now: float) -> None:
        self._become(node, State.REACHED, now)
        node.refused = node.answered = node.spent = False
        node.missed = 0

    def _step(self, node: Observation, now: float) -> None:
        if node.state is State.AWAY and now >= node.away_until:
            self._become(node, State.QUIET, now)
        if node.state is State.REACHED and now >= node.heard + self._quiet * self.pace:
            self._become(node, State.QUIET, now)
        if node.state is State.QUIET:
            self._judge(node, now)
        elif node.state is State.MUTE and (not node.answered or now >= node.since + self._mute_limit):
            node.spent = node.answered
            self._become(node, State.DOWN, now)
        elif node.state is State.DOWN and node.answered and not node.spent:
            self._become(node, State.MUTE, now)
        self._renumber(node, now)

    def _renumber(self, node: Observation, now: float) -> None:
        accused = node.state in (State.MUTE, State.DOWN)
        if node.latest != node.number and (not accused or now >= node.raised + self._patience * self.pace):
            node.number = node.latest
            self.version += accused

    def _judge(self, node: Observation, now: float) -> None:
        patience = self._patience * self.pace
        lost = node.refused and not node.linked
        if not (node.linked or node.dialable):  # nobody can dial it: it is lost if it does not come back by itself
            lost = now >= node.lost + patience
        silent = now - node.heard
        misses = _DEAF if lost else self._misses * self.pace
        deaf = node.missed >= misses and (not node.linked or silent >= patience)
        unprobed = not (node.answered or node.missed) and silent >= patience * _UNPROBED
        if node.answered and (lost or silent >= patience * _SLOW):
            self._become(node, State.MUTE, now)
        elif deaf or unprobed:
            self._become(node, State.DOWN, now)

    def _due(self, node: Observation) -> float:
        patience = self._patience * self.pace
        if node.latest != node.number:
            return node.raised + patience
        if node.state is State.REACHED:
            return node.heard + self._quiet * self.pace
        if node.state is State.QUIET:
            if not (node.linked or node.dialable) and node.lost + patience > self._paced:
                return node.lost + patience
            if node.missed:
                return node.heard + patience if node.missed >= self._misses * self.pace else float("inf")
            return node.heard + patience * (_SLOW if node.answered else _UNPROBED)
        if node.state is State.AWAY:
            return node.away_until
        return node.since + self._mute_limit if node.state is State.MUTE else float("inf")
