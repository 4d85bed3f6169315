"""The engine of one mesh on one node, without sockets and clocks.

Bytes and `now` (monotonic seconds) go in; events and the next timer come out. This
file is the composition: inputs and messages go to the parts, `_settle` draws the
conclusions from what they changed.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from smegmesh.crdt.digest import MapKind
from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.map import MapFull
from smegmesh.crdt.removal import prune, revoke
from smegmesh.gossip.codec import (
    Message,
    Restart,
    Slot,
    encode,
)
from smegmesh.gossip.conversation import Conversation
from smegmesh.gossip.dialling import Dialler
from smegmesh.gossip.durability import Durability
from smegmesh.gossip.events import Alarm, Close, Dial, Event, Persist, Probe, Send, ViewChanged
from smegmesh.gossip.flood import Flood
from smegmesh.gossip.forgetting import Forgetting
from smegmesh.gossip.leader import Leadership
from smegmesh.gossip.links import Link, Links
from smegmesh.gossip.liveness import Judgement
from smegmesh.gossip.membership import Membership
from smegmesh.gossip.observers import Observers, State
from smegmesh.gossip.publishing import Publisher, Standing
from smegmesh.gossip.replica import Replica
from smegmesh.gossip.roster import Roster
from smegmesh.gossip.settings import NOTHING_STORED, Settings, Stored
from smegmesh.gossip.topology import Topology
from smegmesh.gossip.upkeep import Upkeep
from smegmesh.gossip.view import Liveness, View
from smegmesh.identity.address import node_address
from smegmesh.identity.certificate import Authority, NodeCertificate
from smegmesh.identity.keys import IdentityKey, encode_key
from smegmesh.identity.revocation import read_revocation

__all__ = [
    "Alarm",
    "Close",
    "Dial",
    "Engine",
    "Event",
    "Persist",
    "Probe",
    "Send",
    "Settings",
    "Stored",
    "ViewChanged",
]

_NEVER = float("inf")
#: What is published may call for more to be published, but not for ever.
_ROUNDS = 8
_OUT = (Standing.LEFT, Standing.REVOKED)
_FAILED = {Liveness.MUTE: State.MUTE, Liveness.DOWN: State.DOWN}


class Engine:
    """One node's part in one mesh. No input raises on anything that came from a network."""

    def __init__(
        self,
        settings: Settings,
        identity: IdentityKey,
        certificate: NodeCertificate,
        authority: Authority,
        random: Random,
        now: float,
        stored: Stored = NOTHING_STORED,
    ) -> None:
        """Raises ValueError when what is stored is damaged."""
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._authority = authority
        self._own = certificate.grant.node_key
        self._events: list[Event] = []
        self._due = now + settings.alone_wait
        self._alone_until = now + settings.alone_wait
        self._changed = True
        self._observed_version = -1
        self._probed: frozenset[bytes] = frozenset()
        self._forgetting = Forgetting(settings.forget)
        self._replica = Replica(settings.mesh_id, authority, self._on_change, self.counters)
        self._map = self._replica.map
        self._roster = Roster(settings.mesh_id, self._own, node_address)
        self._judgement = Judgement(settings.rings, self._map.members)
        self._observers = Observers(settings)
        self._links = Links(self._own)
        self._flood = Flood(self._replica, settings.flood_delay)
        self._dialler = Dialler(random, settings.dial_timeout)
        self._upkeep = Upkeep(settings, random, self._links, now)
        self._leadership = Leadership(self._own, settings.heartbeat, settings.passed_over)
        self._topology = Topology(
            settings, self._own, self._map, self._roster, self._judgement, self._links, self._dialler
        )
        self._publisher = Publisher(identity, certificate, self._map, random.randbytes(8), stored.number)
        self._membership = Membership(
            settings, self._publisher, self._replica, self._judgement, self._persist, self._alarm
        )
        self._durability = Durability(self._replica, settings.persist_delay, stored.certificates)
        self._conversation = Conversation(
            settings,
            self._replica,
            self._links,
            self._observers,
            self._publisher,
            self.counters,
            self._send,
            self._close,
        )
        self._now = now
        self._load(stored)
        self._replica.certificates.add(certificate)

    # Inputs

    def link_up(
        self, link: int, certificate: NodeCertificate, dialled: bool, now: float, dial: int | None = None
    ) -> None:
        """A link stands, its TLS done and its certificate verified. `dial` is the number of our Dial, if known."""
        self._enter(now)
        key = certificate.grant.node_key
        target = self._dialler.succeeded(key, dial, now) if dialled else None
        if isinstance(target, str):
            self._topology.answered(target, key)
        new = Link(link, key, certificate, dialled, up=now, heard=now)
        if key == self._own:
            self._events.append(Close(link, "leads to this node itself"))
        elif self._publisher.standing in _OUT:
            self._events.append(Close(link, "this node is not in the mesh"))
        elif not certificate.grant.allows_mesh(self._settings.mesh_id):
            self._events.append(Close(link, "its certificate does not grant the mesh"))
        else:
            self._links.add(new)
            self._replica.certificates.add(certificate)
            self._conversation.greet(new)
        self._changed = True
        self._settle(now)

    def link_down(self, link: int, now: float) -> None:
        """A link is gone."""
        self._enter(now)
        self._drop(link, now)
        self._settle(now)

    def receive(self, link: int, frame: bytes, now: float) -> None:
        """A frame came in."""
        self._enter(now)
        source = self._links.get(link)
        if source is None:
            return
        if self._conversation.hear(source, frame, now):
            self._membership.choice.forgive(source.node_key)
            self._changed = True
        if self._links.get(link) is not None:
            source.heard = max(source.heard, now)
            if source.ready and self._observers.heard(source.node_key, now):
                self._changed = True
        self._settle(now)

    def dial_failed(self, dial: int, now: float) -> None:
        """None of a dial's addresses answered."""
        self._enter(now)
        target = self._dialler.failed(dial, now)
        if isinstance(target, bytes):
            self._observers.dial_failed(target)
        self._changed = True
        self._settle(now)

    def probe_result(self, node_key: bytes, answered: bool, now: float) -> None:
        """A ping through the tunnel was answered, or a second passed without an answer."""
        self._enter(now)
        self._observers.probed(node_key, answered)
        if self._membership.is_client:
            self._membership.choice.probed(node_key, answered, now)
        self._changed = True
        self._settle(now)

    def set_entry(self, entry: Entry, now: float) -> None:
        """What this node says of itself; a client's homes are filled in. Raises ValueError if it may not say it."""
        self._membership.declare(entry)
        self._enter(now)
        self._changed = True
        self._settle(now)

    def set_certificate(self, certificate: NodeCertificate, now: float) -> None:
        """A renewed certificate of this node."""
        self._enter(now)
        self._replica.certificates.add(certificate)
        self._publisher.certificate = certificate
        self._changed = True
        self._settle(now)

    def announce_restart(self, now: float) -> None:
        """The agent stops and will be back: nobody shall call it mute before the grace is over."""
        self._enter(now)
        for link in self._links.ready():
            self._send(link, Restart(self._settings.restart_grace))
        self._persist()  # what others have said, too: there is no later
        self._settle(now)

    def leave(self, now: float) -> None:
        """Leave the mesh: say so to all links, then close them."""
        self._enter(now)
        if self._publisher.standing not in _OUT:
            self._membership.leave()
            self._close_all("this node leaves the mesh", now)
        self._settle(now)

    def revoke(self, data: bytes, now: float) -> None:
        """Import a revocation. Raises ValueError if it is none of this mesh and authority."""
        revocation = read_revocation(self._authority, data)
        self._enter(now)
        self._replica.take(revoke(revocation.node_key, data), None)
        self._settle(now)

    def prune(self, node_key: bytes, now: float) -> None:
        """Take out a member that is down for the forget time. Raises ValueError for any other."""
        if node_key not in self._forgetting.due(now):
            raise ValueError(
                f"{encode_key(node_key)} is not down for {self._settings.forget:g} s: only such a member can be pruned"
            )
        self._enter(now)
        self._prune(node_key)
        self._settle(now)

    def timer(self, now: float) -> None:
        """Time passed. To be called at or after `next_timer`."""
        self._enter(now)
        self._changed = True
        self._settle(now)

    # Outputs

    def next_timer(self) -> float:
        """When to call `timer`."""
        return self._due

    def events(self) -> list[Event]:
        """What is to be done, in order; each event is handed out once."""
        events, self._events = self._events, []
        return events

    def view(self) -> View:
        """The mesh as this node knows it."""
        return self._roster.view(self._map.root)

    def links(self) -> dict[int, bytes]:
        """The links that stand: number -> node key."""
        return {link.number: link.node_key for link in self._links}

    # What changes in the map

    def _on_change(self, slot: Slot, source: int | None, sync: bool) -> None:
        self._changed = True
        self._durability.changed(slot, self._now)
        if slot.kind is MapKind.VERDICT:
            self._judgement.accuse(slot.key, self._map.verdicts[slot.key].accused)
            self._leadership.heard(slot.key, self._now)
        else:
            self._membership_changed(slot.key)
        if source is None or not self._membership.is_client:
            self._flood.news(slot, self._links.ready(), source, sync)

    def _membership_changed(self, key: bytes) -> None:
        before = self._roster.get(key)
        after = self._map.members.get(key)
        self._judgement.changed(key, before.entry if before else None, after.entry if after else None)
        self._topology.removal_changed(key)
        self._topology.preference.put(key, after is not None and after.entry.role is Role.PEER)
        other = self._roster.put(key, after)
        if other is not None:
            keeps, loses = sorted((key, other))
            self._alarm("address", f"{encode_key(loses)} has the address of {encode_key(keeps)} and is left out")

    # Conclusions

    def _enter(self, now: float) -> None:
        if now > self._due + self._settings.late_timer:
            self.counters["late"] += 1
            self._observers.doubt(now)
            self._upkeep.doubt(now)
        self._now = now

    def _settle(self, now: float) -> None:
        if not self._changed:
            return
        for _round in range(_ROUNDS):
            if not self._changed:
                break
            self._changed = False
            self._conclude(now)
        else:
            self._changed = True
        if now >= self._durability.next_timer():
            self._persist()
        self._send_outboxes(now)
        self._close_revoked(now)
        self._ask_probes()
        if self._roster.took_change():
            self._events.append(ViewChanged())
        self._due = self._next_due(now)

    def _conclude(self, now: float) -> None:
        if self._publisher.standing is Standing.WAITING and now >= self._alone_until:
            self._publisher.become(Standing.MEMBER)
        self._judge(now)
        if self._membership.declared is None or self._publisher.standing in _OUT:
            return
        self._observe(now)
        if self._membership.is_client:
            self._membership.choose_homes(self._topology, self._dialler, self._links, now)
            self._topology.shunned = self._membership.choice.unreachable
            self._roster.disqualify(self._topology.shunned)
        member = self._publisher.standing is Standing.MEMBER
        renew = member and self._leadership.refresh_due(now)
        self._membership.publish(self._observers.accused(), renew=renew, now=now)
        self._lead(now)
        self._keep_links(now)

    def _judge(self, now: float) -> None:
        for key in sorted(self._judgement.update()):
            liveness = self._judgement.liveness(key)
            self._roster.judge(key, liveness)
            if liveness is Liveness.DOWN:
                self._forgetting.down(key, now)
            else:
                self._forgetting.up(key)
        for key in self._forgetting.due(now):
            self._prune(key)

    def _prune(self, key: bytes) -> None:
        self._forgetting.up(key)
        signed = self._map.members.get(key)
        if signed is None or key == self._own:
            return
        try:
            self._replica.take(prune(signed.record), None)
        except MapFull:
            self.counters["map_full"] += 1

    def _observe(self, now: float) -> None:
        self._observers.step(now)
        if self._observed_version == self._judgement.version:
            return
        self._observed_version = self._judgement.version
        observed = self._judgement.observed(self._own)
        for key in self._observers.keys() - observed:
            self._observers.forget(key)
        for key in sorted(observed):
            link = self._links.to(key)
            presumed = _FAILED.get(self._judgement.liveness(key))
            heard = None if link is None else link.heard
            self._observers.observe(key, self._map.members[key].record, heard, presumed, now)
        self._observers.step(now)

    def _lead(self, now: float) -> None:
        self._roster.lead(
            self._leadership.elect(self._roster.peers, lambda key: self._judgement.liveness(key) is Liveness.ALIVE, now)
        )

    def _keep_links(self, now: float) -> None:
        entry = self._membership.entry()
        for link, action in self._upkeep.step(
            self._map.root, self._observers.__contains__, lambda link: self._topology.needs(link, entry, now), now
        ):
            if isinstance(action, str):
                self._close(link, action)
            else:
                self._send(link, action)
        for link in self._links.ready():
            if self._observers.state(link.node_key) in (State.DOWN, State.MUTE) and link.heard < now:
                self._close(link, "is silent")
        self._dialler.wish(self._topology.wishes(entry, now), now)
        for dial, target, addresses in self._dialler.due(now):
            self._events.append(Dial(dial, target if isinstance(target, bytes) else None, addresses))

    # Effects

    def _send(self, link: Link, message: Message) -> None:
        self._events.append(Send(link.number, encode(message)))

    def _send_outboxes(self, now: float) -> None:
        for link, items in self._flood.due(self._links.ready(), now):
            self._send(link, items)

    def _close(self, link: Link, reason: str) -> None:
        self._events.append(Close(link.number, reason))
        self._drop(link.number, self._now)

    def _close_all(self, reason: str, now: float) -> None:
        self._send_outboxes(now + self._settings.flood_delay)
        for link in self._links:
            self._close(link, reason)

    def _close_revoked(self, now: float) -> None:
        if self._map.revoked(self._own) and self._publisher.standing not in _OUT:
            self._alarm("revoked", "the authority has revoked this node: it is out of the mesh for good")
            self._publisher.become(Standing.REVOKED)
            self._close_all("this node is revoked", now)
        for link in self._links:
            if self._map.revoked(link.node_key):
                self._conversation.tell_of(link, link.node_key)
                self._close(link, "it is revoked")

    def _drop(self, number: int, now: float) -> None:
        link = self._links.remove(number)
        if link is None:
            return
        self._changed = True
        if link.ready and self._links.to(link.node_key) is None:
            self._observers.lost(link.node_key, now)
            self._dialler.lost(link.node_key, now - link.up, now)

    def _persist(self) -> None:
        """Make durable what changed, the own number above all, before anything else is sent."""
        self._events.append(self._durability.take(self._publisher.number))

    def _ask_probes(self) -> None:
        wanted = self._observers.to_probe()
        if self._membership.is_client:
            home = self.view().home_of(self._own)
            wanted = frozenset() if home is None else frozenset({home})
        if self._publisher.standing in _OUT:
            wanted = frozenset()
        if wanted != self._probed:
            self._probed = wanted
            self._events.append(Probe(wanted))

    def _alarm(self, kind: str, text: str) -> None:
        self.counters[f"alarm_{kind}"] += 1
        self._events.append(Alarm(kind, text))

    def _next_due(self, now: float) -> float:
        if self._publisher.standing in _OUT:
            return self._durability.next_timer()
        due = [
            self._durability.next_timer(),
            self._flood.next_timer(self._links.ready()),
            self._upkeep.next_timer(self._observers.__contains__),
            self._observers.next_timer(),
            self._dialler.next_timer(),
            self._membership.choice.next_timer(),
            self._forgetting.next_timer(),
        ]
        if self._publisher.standing is Standing.WAITING:
            due.append(self._alone_until)
        elif self._publisher.standing is Standing.MEMBER:
            due.append(self._leadership.next_timer())
        if self._changed:
            due.append(now + self._settings.flood_delay)
        return max(min(due), now + 0.001)

    def _load(self, stored: Stored) -> None:
        self._replica.certificates.load(stored.certificates)
        self._replica.load(stored.records.items())
        self._durability = Durability(self._replica, self._settings.persist_delay, stored.certificates)
        self._events.clear()
