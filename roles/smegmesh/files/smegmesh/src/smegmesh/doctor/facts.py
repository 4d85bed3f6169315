"""What the doctor looks at: immutable values, gathered from the agent and the host.

None stands for what could not be looked at; `Facts.unseen` says why. Times are seconds since the epoch, ages seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Peer:
    """Another member, as the agent sees it and as it answered.

    `direct`: a tunnel of this host ends there. `linked`: the agent has a link with it. `handshake_age`, `sent` and
    `received` are WireGuard's after the probes, the last two in bytes since before. What was tried: `echo` through the
    tunnel; `link`, a connection to the port for links, "" or why there is none; `udp`, why WireGuard's port refuses,
    "" where nothing said so; `passes`, of the packet sizes that were tried those that were answered.
    """

    name: str
    address: str = "::"
    liveness: str = "alive"
    direct: bool = True
    linked: bool = True
    endpoints: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    handshake_age: float | None = None
    sent: int = 0
    received: int = 0
    echo: bool | None = None
    link: str | None = None
    udp: str = ""
    passes: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What an interface holds otherwise than was planned."""

    what: str
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh on this host.

    `links` is how many the agent has. `bridge`: it carries packets to other meshes; `exit`: out of the overlay;
    `carried` are the clients that name it as home or backup; without `carries_packets` its WireGuard is only in memory.
    `accusations` are pairs: who says that whom does not answer. `newest` is when the newest certificate that the agent
    saw was issued.
    """

    mesh: str
    state: str = "up"
    problem: str | None = None
    role: str | None = "peer"
    interface: str | None = None
    prefix: str | None = None
    leader: str | None = None
    links: int = 1
    alarms: tuple[str, ...] = ()
    mtu: int | None = None
    peers: tuple[Peer, ...] = ()
    differences: tuple[Difference, ...] = ()
    repaired: tuple[str, ...] = ()
    accusations: tuple[tuple[str, str], ...] = ()
    newest: float = 0.0
    bridge: bool = False
    exit: bool = False
    carries_packets: bool = True
    carried: tuple[str, ...] = ()

    @property
    def forwards(self) -> bool:
        """Whether packets of others go through this host, now or as soon as a client makes it its home."""
        return self.carries_packets and (self.role == "peer" or self.exit)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate file of this host: its own (`whose` is "host") or an authority's."""

    file: str
    whose: str
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class Kernel:
    """The host's kernel. `ruleset` is what `nft -j list ruleset` prints, `strict` the interfaces whose rp_filter is 1.

    `reversed` counts the packets that rp_filter dropped while the peers were probed.
    """

    forwarding: bool | None = None
    ruleset: Mapping[str, Any] | None = None
    strict: tuple[str, ...] = ()
    reversed: int = 0


@dataclass(frozen=True, slots=True)
class Name:
    """A name that DNS should know: what it stands for, and what the host's resolver says, None for nothing."""

    name: str
    address: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class Unseen:
    """What could not be looked at, and why."""

    check: str
    why: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. `stopped` is why the agent does not answer; there are no meshes then. `names` is None without DNS."""

    now: float
    node: str = ""
    stopped: str | None = None
    problems: tuple[str, ...] = ()
    meshes: tuple[Mesh, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    kernel: Kernel = field(default_factory=Kernel)
    names: tuple[Name, ...] | None = None
    unseen: tuple[Unseen, ...] = ()
