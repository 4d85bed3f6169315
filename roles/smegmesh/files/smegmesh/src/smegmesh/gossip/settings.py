"""What the shell tells an engine when it makes one. Times are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from smegmesh.gossip.codec import PROTOCOLS


@dataclass(frozen=True, slots=True)
class Settings:
    """A mesh's name, where to look for it first, and the timing of the protocol.

    `bootstrap` holds `host:port` addresses of link listeners; the own one may be
    among them. The rest has the values of the design; tests change them.
    """

    mesh_id: str
    bootstrap: tuple[str, ...] = ()
    rings: int = 3
    flood_delay: float = 0.005  # what is new within it shares a frame; doubling while there is more all the time ...
    flood_limit: float = 0.02  # ... up to this
    ping_interval: float = 1.0
    ping_timeout: float = 3.0  # silence after which an observer accuses
    late_timer: float = 1.0  # a timer this late makes us doubt ourselves, not others
    mute_limit: float = 600.0  # mute for so long is down
    restart_grace: float = 20.0  # an announced restart is not even mute for so long
    sync_interval: float = 5.0  # between digest comparisons on a random link
    alone_wait: float = 5.0  # without any sync for so long, publish all the same
    surplus_wait: float = 30.0  # a link the rings do not ask for closes so long after digests agree
    redial_neighbour: float = 8.0  # longest pause between dials of a ring neighbour
    redial_other: float = 300.0  # longest pause between dials of anybody else who is down
    redial_bootstrap: float = 30.0  # longest pause between dials of a bootstrap address not known as a member's
    dial_timeout: float = 10.0  # a dial nobody answered for by then has failed
    hello_timeout: float = 5.0
    heartbeat: float = 60.0  # the leader's refresh
    passed_over: int = 10  # heartbeats for which an unheard leader is passed over
    forget: float = 72 * 3600.0  # a member down for so long is pruned
    own_raises: int = 3  # so many raises against foreign instances ...
    own_raise_window: float = 600.0  # ... within so long mean that the key is in use twice
    own_raise_pause: float = 1.0  # one answers all that the dead instance before this one said, as it comes in
    probe_suspect: float = 0.5  # between probes of an observed node that is not reached
    probe_home: float = 1.0  # between a client's probes of its home
    misses: int = 3  # tunnel probes unanswered in a row before a node counts as unreachable
    misses_first: int = 10  # the same before it ever answered: keys and routes may still be on their way
    disqualified: float = 60.0  # an unreachable home is not chosen again for so long
    silence: float = 15.0  # a link is closed after so long without a frame
    idle_ping: float = 5.0  # between pings on links to nodes that are not observed
    quarantine: float = 10.0  # the verdict of a writer that is down does not count for so long
    verdict_pause: float = 0.2  # between two verdicts of one writer ...
    retract_pause: float = 1.0  # ... if the later accuses nobody anew: who was accused answers by itself
    conclude_pause: float = 0.02  # between two conclusions from who is near whom, doubling in a storm ...
    conclude_limit: float = 0.32  # ... up to this
    calm: float = 1.0  # without any of them for so long, the storm is over
    persist_delay: float = 0.25  # what others say may become durable so much later
    protocols: tuple[int, int] = PROTOCOLS
    bad_frames: int = 20  # a link that sent so many is closed


@dataclass(frozen=True, slots=True)
class Stored:
    """What earlier `Persist` events left behind, all of them laid over each other.

    `records` by opaque slot, `certificates` (DER) by fingerprint, `number`: the
    highest own number made durable.
    """

    records: Mapping[bytes, bytes] = field(default_factory=dict)
    certificates: Mapping[bytes, bytes] = field(default_factory=dict)
    number: int = 0


NOTHING_STORED = Stored()
