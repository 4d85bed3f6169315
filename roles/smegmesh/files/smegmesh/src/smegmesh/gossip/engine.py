"""The engine of one mesh on one node, without sockets and clocks.

Bytes and `now` (monotonic seconds) go in; events and the next timer come out. This
file is the composition: inputs and messages go to the parts, `_settle` draws the
conclusions from what they changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from random import Random

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.held import MapKind
from smegmesh.crdt.map import MapFull
from smegmesh.crdt.record import Record
from smegmesh.crdt.removal import Removal, prune, revoke
from smegmesh.gossip.codec import Message, Restart, encode
from smegmesh.gossip.conversation import Conversation
from smegmesh.gossip.dialling import Dialler
from smegmesh.gossip.durability import Durability
from smegmesh.gossip.events import Alarm, AlarmKind, Close, Dial, Event, Observed, Persist, Probe, Send, ViewChanged
from smegmesh.gossip.flood import Flood
from smegmesh.gossip.forgetting import Forgetting
from smegmesh.gossip.knowledge import Knowledge, load
from smegmesh.gossip.leader import Leadership
from smegmesh.gossip.links import Link, Links
from smegmesh.gossip.liveness import Judgement
from smegmesh.gossip.membership import Membership
from smegmesh.gossip.observed import Address, outside_address
from smegmesh.gossip.observers import Observers, State
from smegmesh.gossip.publishing import Publisher, Standing
from smegmesh.gossip.replica import Change, Replica
from smegmesh.gossip.roster import Roster
from smegmesh.gossip.settings import NOTHING_STORED, Settings, Stored
from smegmesh.gossip.sharing import Sharing
from smegmesh.gossip.topology import Topology
from smegmesh.gossip.traffic import Traffic
from smegmesh.gossip.upkeep import Upkeep
from smegmesh.gossip.view import Liveness, View
from smegmesh.identity.certificate import Authority, NodeCertificate
from smegmesh.identity.keys import IdentityKey, encode_key
from smegmesh.identity.revocation import read_revocation

__all__ = [
    "Alarm",
    "Close",
    "Dial",
    "Engine",
    "Event",
    "Observed",
    "Persist",
    "Probe",
    "Send",
    "Settings",
    "Stored",
    "ViewChanged",
]

#: What is published may call for more to be published, but not for ever.
_ROUNDS = 8
_OUT = (Standing.LEFT, Standing.REVOKED)
_FAILED = {Liveness.MUTE: State.MUTE, Liveness.DOWN: State.DOWN}


# Which conclusions are to be drawn anew.
_OBSERVE = 1  # whom to observe, and how they are found
_SPEAK = 2  # what to say of oneself and of others
_LEAD = 4  # who leads
_LINKS = 8  # whom to dial, which links to keep
_ALL = 15


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
        sharing: Sharing | None = None,
    ) -> None:
        """Raises ValueError when what is stored is damaged. `sharing`: with other engines of this process."""
        sharing = sharing or Sharing()
        known = sharing.loaded(stored, partial(load, settings, authority, stored, sharing), Knowledge.copy)
        self.counters: Counter[str] = Counter()
        self.left_out = known.left_out
        self.sent = Traffic()
        self.changed = now  # when the map last changed, at first when it was loaded
        self._settings = settings
        self._authority = authority
        self._own = certificate.grant.node_key
        self._events: list[Event] = []
        self._due = now + settings.alone_wait
        self._alone_until = now + settings.alone_wait
        self._stale = _ALL
        self._moved = False  # whether an input did more than to call for an answer
        self._concluded = float("-inf")  # when conclusions from who is near whom were last drawn
        self._pause = settings.conclude_pause  # until they are drawn again
        self._near_version = -1
        self._observed: list[bytes] = []
        self._observed_version = (-1, -1)  # of the judgement and of the observers, when that was worked out
        self._probed: frozenset[bytes] = frozenset()
        self._probed_version = -1
        self._map = known.map
        self._directory = known.directory
        self._replica = Replica(self._map, known.certificates, authority, sharing, self.counters)
        self._judgement = Judgement(self._map, self._directory, settings.quarantine, settings.ping_timeout)
        self._roster = Roster(self._own, self._map, self._directory, self._judgement)
        self._forgetting = Forgetting(settings.forget)
        self._observers = Observers(settings)
        self._links = Links(self._own)
        self._flood = Flood(settings.flood_delay, settings.flood_limit)
        self._dialler = Dialler(random, settings.dial_timeout)
        observers = self._observers
        self._upkeep = Upkeep(
            settings, random, self._map, self._links, observers.__contains__, lambda: observers.pace, now
        )
        self._leadership = Leadership(self._own, settings.heartbeat, settings.passed_over)
        self._topology = Topology(
            settings,
            self._own,
            self._map,
            self._directory,
            self._judgement,
            self._links,
            self._dialler,
            random,
            self._observers.accuses,
        )
        self._publisher = Publisher(identity, certificate, self._map, random.randbytes(8), stored.number)
        self._membership = Membership(
            settings,
            self._publisher,
            self._map,
            self._judgement,
            self._observers.accuses,
            self._say,
            self._alarm,
        )
        self._durability = Durability(settings.persist_delay)
        self._conversation = Conversation(
            settings,
            self._replica,
            self._links,
            self._observers,
            self._publisher,
            self.counters,
            self._send,
            self._close,
            self._on_change,
            self._topology,
        )
        self._now = now
        self._replica.certificates.add(certificate)

    # Inputs

    def link_up(
        self,
        link: int,
        certificate: NodeCertificate,
        dialled: bool,
        now: float,
        dial: int | None = None,
        remote: str | None = None,
    ) -> None:
        """A link stands, its TLS done and its certificate verified. `dial` is the number of our Dial, if known.

        `remote` is the IP address of the other side, which it is told.
        """
        self._enter(now)
        key = certificate.grant.node_key
        target = self._dialler.succeeded(key, dial, now) if dialled else None
        if isinstance(target, str):
            self._topology.answered(target, key)
        joining = isinstance(target, str)
        seen = None if remote is None else outside_address(remote)
        new = Link(link, key, certificate, dialled, up=now, heard=now, joining=joining, remote=seen)
        if key == self._own:
            self._events.append(Close(link, "leads to this node itself"))
        elif self._publisher.standing in _OUT:
            self._events.append(Close(link, "this node is not in the mesh"))
        elif not certificate.grant.allows_mesh(self._settings.mesh_id):
            self._events.append(Close(link, "its certificate does not grant the mesh"))
        else:
            self._links.add(new)
            self._upkeep.touch(new)
            self._replica.certificates.add(certificate)
            self._conversation.greet(new)
        self._stale |= _LINKS
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
            if source.sees is not None:
                self._events.append(Observed())
            self._upkeep.touch(source)
            self._stale = _ALL
        if self._links.get(link) is not None:
            source.heard = max(source.heard, now)
            if source.ready and self._observers.heard(source.node_key, now):
                self._stale |= _OBSERVE | _SPEAK | _LINKS
        self._settle(now)

    def dial_failed(self, dial: int, now: float) -> None:
        """None of a dial's addresses answered."""
        self._enter(now)
        target = self._dialler.failed(dial, now)
        if isinstance(target, bytes):
            self._observers.dial_failed(target)
            self._topology.dialled(target)
        self._stale |= _OBSERVE | _SPEAK | _LINKS
        self._settle(now)

    def probe_result(self, node_key: bytes, answered: bool, now: float) -> None:
        """A ping through the tunnel was answered, or it was not in time."""
        self._enter(now)
        self._observers.probed(node_key, answered)
        self._stale |= _OBSERVE
        if self._membership.is_client:
            self._membership.choice.probed(node_key, answered, now)
            self._stale = _ALL
        self._settle(now)

    def set_entry(self, entry: Entry, now: float) -> None:
        """What this node says of itself; a client's homes are filled in. Raises ValueError if it may not say it."""
        self._membership.declare(entry)
        self._topology.is_client = entry.role is Role.CLIENT
        self._enter(now)
        self._stale = _ALL
        self._settle(now)

    def set_certificate(self, certificate: NodeCertificate, now: float) -> None:
        """A renewed certificate of this node."""
        self._enter(now)
        self._replica.certificates.add(certificate)
        self._publisher.certificate = certificate
        self._stale |= _SPEAK
        self._settle(now)

    def announce_restart(self, now: float) -> None:
        """The agent stops and will be back: nobody shall call it mute before the grace is over."""
        self._enter(now)
        for link in self._links.ready():
            self._send(link, Restart(self._settings.restart_grace))
        self._persist()  # what others have said, too: there is no later
        self._settle(now, timer=True)

    def leave(self, now: float) -> None:
        """Leave the mesh: say so to all links, then close them."""
        self._enter(now)
        if self._publisher.standing not in _OUT:
            self._membership.leave()
            self._close_all("this node leaves the mesh", now)
        self._settle(now, timer=True)

    def revoke(self, data: bytes, now: float) -> None:
        """Import a revocation. Raises ValueError if it is none of this mesh and authority."""
        revocation = read_revocation(self._authority, data)
        self._enter(now)
        self._take_own(revoke(revocation.node_key, data))
        self._persist()
        self._settle(now)

    def prune(self, node_key: bytes, now: float) -> None:
        """Take out a member that is down; the rest is done after the forget time. Raises ValueError for any other."""
        if self._judgement.liveness(node_key) is not Liveness.DOWN or not self._map.present(node_key):
            raise ValueError(f"{encode_key(node_key)} is not down: only a member that is down can be pruned")
        self._enter(now)
        self._prune(node_key)
        self._settle(now)

    def timer(self, now: float) -> None:
        """Time passed. To be called at or after `next_timer`."""
        self._enter(now)
        self._settle(now, timer=True)

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
        return self._roster.view()

    def revoked(self, node_key: bytes) -> bool:
        """Whether the authority took a node out for good."""
        return self._map.revoked(node_key)

    def identity_of(self, node_key: bytes) -> bytes | None:
        """The identity key under which a node has made the entry that is known of it, None without one."""
        held = self._map.get(node_key)
        return held.entry.certificate.identity_key if held is not None and held.entry is not None else None

    def failed(self) -> Mapping[bytes, Liveness]:
        """Who is not alive, by node key; an immutable value."""
        return self._judgement.failed()

    def accusations(self) -> list[tuple[bytes, bytes]]:
        """Who accuses whom of not answering, and was not answered: node keys of members, ascending."""
        accused = self._judgement.accused()
        return sorted((writer, key) for key, accusations in accused.items() for writer in accusations)

    @property
    def pace(self) -> float:
        """How many times as rarely as usual this node pings: more rarely while packets are lost."""
        return self._observers.pace

    @property
    def size(self) -> int:
        """How many members there are."""
        return self._map.size

    @property
    def agrees(self) -> bool:
        """Whether this node knew at one time all that a node it is linked with knew."""
        return any(link.agreed is not None for link in self._links)

    @property
    def equal(self) -> float | None:
        """When the root digest of some other node was last equal to the own one; None if it never was."""
        return self._conversation.equal

    @property
    def received(self) -> Traffic:
        """What came in and could be read."""
        return self._conversation.received

    def observed(self) -> dict[bytes, Address]:
        """The address at which each peer that this node has a link with says that it sees this node."""
        return {
            link.node_key: link.sees
            for link in self._links.ready()
            if link.sees is not None and self._judgement.is_peer(link.node_key)
        }

    def links(self) -> dict[int, bytes]:
        """The links that stand: number -> node key."""
        return {link.number: link.node_key for link in self._links}

    def heard(self, node_key: bytes) -> float | None:
        """When the last frame came on a link with a node; None without a link."""
        link = self._links.to(node_key)
        return None if link is None else link.heard

    # What changes in the map

    def _on_change(self, change: Change) -> None:
        self._moved = True
        self.changed = self._now
        key = change.slot.key
        self._durability.changed(change, self._now)
        if change.slot.kind is MapKind.VERDICT:
            assert change.after.verdict is not None
            accused = change.after.verdict.accused
            if self._own in self._judgement.accuse(key, accused, self._now):
                self._membership.answer(accused[self._own])
                self._stale |= _SPEAK
            self._leadership.heard(key, self._now)
        else:
            self._membership_changed(change)
            if change.slot.kind is MapKind.ENTRY:
                self._dialler.fresh(key, self._now)
        if key == self._own:
            self._stale |= _SPEAK
        elif key in self._observers:
            self._stale |= _OBSERVE
        own = change.source.link is None
        if own or not self._topology.is_client:
            self._flood.news(change, self._links.needed() if own else self._links.flooded())

    def _membership_changed(self, change: Change) -> None:
        key = change.slot.key
        hidden = len(self._directory.hidden)
        effect = self._directory.changed(change.before, change.after, self._map.tree)
        self._judgement.changed(key, effect)
        self._roster.touch()
        if effect.peers:
            self._stale |= _LEAD
            self._topology.preference.put(key, key in self._directory.rings)
        if key in self._topology.near():
            self._stale |= _LINKS
        if len(self._directory.hidden) > hidden:
            keeps, loses = self._directory.collision(key, self._map.tree)
            self._alarm("address", f"{encode_key(loses)} has the address of {encode_key(keeps)} and is left out")

    def _say(self, record: Record) -> None:
        """Take what this node says of itself, durable before anything is sent.

        The map may hold what was said under a later certificate than the own one, which was restored.
        """
        self._replica.certificates.add(self._publisher.certificate)
        self._take_own(record)
        self._persist()

    def _take_own(self, raw: Record | Removal) -> None:
        change = self._replica.take(raw)
        if isinstance(change, Change):
            self._on_change(change)

    # Conclusions

    def _enter(self, now: float) -> None:
        if now > self._due + self._settings.late_timer:
            self.counters["late"] += 1
            self._observers.doubt(now)
            self._upkeep.doubt(now)
            self._leadership.doubt(now)
            self._forgetting.doubt(now - self._due)
        self._now = now

    def _settle(self, now: float, *, timer: bool = False) -> None:
        """Draw the conclusions from what changed and from the time; nothing is done where neither calls for it."""
        if not (timer or self._stale or self._moved):
            return
        self._moved = False
        for _round in range(_ROUNDS):
            self._conclude(now)
            if not (self._stale or self._judgement.pending) or self._waits(now):
                break
        if now >= self._durability.next_timer():
            self._persist()
        self._send_outboxes(now)
        self._close_revoked(now)
        self._ask_probes()
        if self._roster.took_change():
            self._events.append(ViewChanged())
        self._due = self._next_due(now)

    def _waits(self, now: float) -> bool:
        """Whether what is left to conclude can wait: in a storm the same would be concluded a hundred times."""
        return now < self._concluded + self._pause

    def _conclude(self, now: float) -> None:
        if self._publisher.standing is Standing.WAITING and now >= self._alone_until:
            self._publisher.become(Standing.MEMBER)
            self._stale |= _SPEAK
        self._judge(now)
        if self._membership.declared is None or self._publisher.standing in _OUT:
            self._stale = 0
            return
        if self._near_version != self._judgement.version and not self._waits(now):
            calm = now >= self._concluded + self._settings.calm
            self._pause = self._settings.conclude_pause if calm else min(2 * self._pause, self._settings.conclude_limit)
            self._concluded = now
            self._near_version = self._judgement.version
            self._stale = _ALL
        stale, self._stale = self._stale, 0
        if stale & _OBSERVE or now >= self._observers.next_timer():
            stale |= self._observe(now)
        if self._membership.is_client and (stale or now >= self._membership.choice.next_timer()):
            self._membership.choose_homes(self._topology, self._dialler, self._links, now)
            self._topology.shunned = self._membership.choice.unreachable
            self._roster.disqualify(self._topology.shunned)
            stale |= _SPEAK | _LINKS
        renew = self._publisher.standing is Standing.MEMBER and self._leadership.refresh_due(now)
        if stale & _SPEAK or renew or now >= self._membership.next_timer():
            self._membership.publish(self._observers.accused(), renew=renew, now=now)
        if stale & _LEAD or now >= self._leadership.next_timer():
            self._lead(now)
        self._keep_links(now, anew=bool(stale & _LINKS))

    def _judge(self, now: float) -> None:
        self._judgement.release(now)
        for key in sorted(self._judgement.update(now)):
            self._roster.touch()
            self._stale |= _LEAD
            if key == self._own:
                self._stale |= _SPEAK
            if self._judgement.liveness(key) is Liveness.DOWN and self._map.present(key):
                self._forgetting.down(key, now)
            else:
                self._forgetting.up(key)
        if now >= self._forgetting.next_timer():
            for key in self._forgetting.due(now):
                self._prune(key)

    def _prune(self, key: bytes) -> None:
        self._forgetting.up(key)
        signed = self._map.member(key)
        if signed is None or key == self._own:
            return
        try:
            self._take_own(prune(signed.record))
        except MapFull:
            self.counters["map_full"] += 1

    def _observe(self, now: float) -> int:
        """Observe whom the rings say; what else is stale then."""
        version = self._observers.version
        self._observers.step(now)
        versions = self._judgement.version, self._observers.version
        if self._judgement.pending or self._observed_version != versions:  # somebody was pruned just now
            observed = self._judgement.observed(self._own, self._observers.accuses)
            for key in self._observers.keys() - observed:
                self._observers.forget(key)
            self._observed = sorted(observed)
            self._observed_version = self._judgement.version, self._observers.version
        for key in self._observed:
            link = self._links.to(key)
            presumed = _FAILED.get(self._judgement.liveness(key))
            heard = None if link is None else link.heard
            member = self._map.member(key)
            assert member is not None
            dialable = bool(member.entry.links)
            self._observers.observe(key, member.record, heard, presumed, now, dialable=dialable)
            if link is not None:
                self._upkeep.touch(link)
        self._observers.step(now)
        return 0 if self._observers.version == version else _SPEAK | _LINKS

    def _lead(self, now: float) -> None:
        self._roster.lead(
            self._leadership.elect(
                self._directory.peers, lambda key: self._judgement.liveness(key) is Liveness.ALIVE, now
            )
        )

    def _keep_links(self, now: float, *, anew: bool) -> None:
        entry = self._membership.entry()
        if anew:
            self._upkeep.need(self._topology.needs(entry, now), now)
        if now >= self._upkeep.next_timer():
            for link, action in self._upkeep.step(now):
                if isinstance(action, str):
                    self._close(link, action)
                else:
                    self._send(link, action)
        if anew:
            for key, accusation in self._observers.accused().items():
                silent = self._links.to(key)
                if silent is not None and silent.heard < now and not accusation.mute:
                    self._close(silent, "is silent")  # a new one comes sooner than an old one recovers
            self._dialler.wish(self._topology.wishes(entry, now), now)
        if now >= self._dialler.next_timer():
            for dial, target, addresses in self._dialler.due(now):
                self._events.append(Dial(dial, target if isinstance(target, bytes) else None, addresses))

    # Effects

    def _send(self, link: Link, message: Message) -> None:
        frame = encode(message)
        self.sent.count(message, len(frame))
        self._events.append(Send(link.number, frame))

    def _send_outboxes(self, now: float) -> None:
        for link, items in self._flood.due(self._links.ready(), now):
            self._send(link, items)

    def _close(self, link: Link, reason: str) -> None:
        self._events.append(Close(link.number, reason))
        self._drop(link.number, self._now)

    def _close_all(self, reason: str, now: float) -> None:
        self._send_outboxes(now + self._settings.flood_limit)
        for link in self._links:
            self._close(link, reason)

    def _close_revoked(self, now: float) -> None:
        if not self._map.horizons:
            return
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
        self._stale |= _LINKS
        if link.ready and self._links.to(link.node_key) is None:
            self._stale |= _OBSERVE | _SPEAK
            self._observers.lost(link.node_key, now)
            self._dialler.lost(link.node_key, now - link.up, now)

    def _persist(self) -> None:
        """Make durable what changed, the own number above all, before anything else is sent."""
        self._events.append(self._durability.take(self._publisher.number))

    def _ask_probes(self) -> None:
        if self._publisher.standing in _OUT:
            wanted: frozenset[bytes] = frozenset()
        elif self._membership.is_client:
            home = self.view().home_of(self._own)
            wanted = frozenset() if home is None else frozenset({home})
        elif self._probed_version != self._observers.version:
            self._probed_version = self._observers.version
            wanted = self._observers.to_probe()
        else:
            return
        if wanted != self._probed:
            self._probed = wanted
            pause = self._settings.probe_home if self._membership.is_client else self._settings.probe_suspect
            self._events.append(Probe(wanted, pause))

    def _alarm(self, kind: AlarmKind, text: str) -> None:
        self.counters[f"alarm_{kind}"] += 1
        self._events.append(Alarm(kind, text))

    def _next_due(self, now: float) -> float:
        if self._publisher.standing in _OUT:
            return self._durability.next_timer()
        due = [
            self._durability.next_timer(),
            self._flood.next_timer(self._links.ready()),
            self._forgetting.next_timer(),
            self._judgement.next_timer(),
        ]
        if self._publisher.standing is Standing.WAITING:
            due.append(self._alone_until)
        if self._membership.declared is not None:  # without it no more is concluded
            due += self._due_of_a_member()
        return max(min(due), now + 0.001)

    def _due_of_a_member(self) -> list[float]:
        due = [
            self._upkeep.next_timer(),
            self._observers.next_timer(),
            self._dialler.next_timer(),
            self._membership.next_timer(),
            self._membership.choice.next_timer(),
        ]
        if self._publisher.standing is Standing.MEMBER:
            due.append(self._leadership.next_timer())
        if self._stale or self._near_version != self._judgement.version:
            due.append(self._concluded + self._pause)
        return due
