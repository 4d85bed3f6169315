"""What the API says, typed. Private and preshared keys have no field here, so none can be in an answer.

Node keys are base64, times seconds, traffic bytes. None stands for "nobody" or
"not known (yet)".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from smegmesh.control.events import EventLog

Liveness = Literal["alive", "mute", "down"]


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """How many members a mesh has, by liveness."""

    alive: int = 0
    mute: int = 0
    down: int = 0


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What lies outside a mesh and is reached from it.

    `prefix` is reached through the member `via` and then through the meshes of `path`. It is in the last of
    them, or is that `mesh` itself. `used` says whether this host sends there for itself or for clients that it carries.
    """

    prefix: str
    mesh: str | None
    path: list[str]
    via: str | None
    used: bool


class Advertised(msgspec.Struct, frozen=True, kw_only=True):
    """A prefix outside the overlay that this host declares, in `file`; `active` says whether it is announced now."""

    prefix: str
    file: str
    active: bool


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a mesh; `time` is seconds since the epoch, by this host's clock.

    `liveness`: a member is so now. `leader`: the member that leads, None if nobody does. `alarm`: `text` says what.
    `missed`: what happened since the last event that the reader has cannot be told any more.
    """

    kind: Literal["appeared", "left", "liveness", "leader", "alarm", "missed"]
    time: float
    mesh: str | None = None
    member: str | None = None
    node_key: str | None = None
    liveness: Liveness | None = None
    text: str | None = None


class Mesh(msgspec.Struct, frozen=True, kw_only=True):
    """One mesh on this host.

    `problem` says in one sentence why the state is not up (or what is wrong with
    the newest declaration of a mesh that is). `digest` (hex) is equal on two nodes
    exactly when they know the same; `informed` says whether that was so with some other one since
    this agent runs. `number` is the own entry's. `names` says what is amiss with the names in DNS, such as
    one that several members go by. `last_change` is what happened last to its members or leader, since this agent runs.
    `refusals` counts what others sent and may not say, by what was wrong. `authority` is the name of the authority that
    it belongs to here, `trusts` are the fingerprints (hex) of those that it trusts now, `certificate` is that of the
    certificate it shows now.
    """

    mesh: str
    state: Literal["up", "starting", "failed"]
    problem: str | None = None
    role: Literal["peer", "client"] | None = None
    interface: str | None = None
    plane: str | None = None
    address: str | None = None
    port: int | None = None
    members: Members = Members()
    leader: str | None = None
    home: str | None = None
    backup: str | None = None
    digest: str | None = None
    informed: bool = False
    links: int = 0
    number: int = 0
    alarms: list[str] = []
    names: list[str] = []
    routes: list[Route] = []
    advertised: list[Advertised] = []
    refusals: dict[str, int] = {}
    last_change: Event | None = None
    authority: str | None = None
    trusts: list[str] = []
    certificate: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The agent as a whole. `tunnel_key` is what WireGuard has now, the node key until it was rotated. `problems` holds
    what concerns no single mesh.
    """

    version: str
    node_name: str
    node_key: str
    tunnel_key: str = ""
    uptime: float
    meshes: list[Mesh]
    problems: list[str] = []


class Member(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One member of a mesh as this host sees it.

    `own` marks the host itself. `services` is what it says that it offers, by name, `advertise` the prefixes outside
    the overlay that it forwards to, `static_peers` the addresses, by name, of those without an agent that it carries.
    `handshake_age`, `received` and `sent` are WireGuard's, of the tunnel that this host's packets to the member take:
    `through` is the name of the peer at its end where that is not the member itself, and the figures are then those of
    all that goes through it. `handshake_age` is None without a handshake, `preshared_key` says whether that tunnel has
    one.
    """

    # Not followed by the garbage collector: made by thousands for a reader, they would have it go through all that the
    # agent holds again and again. A member refers to nothing that refers to it.

    name: str
    role: Literal["peer", "client"]
    node_key: str
    address: str
    liveness: Liveness
    number: int
    alias: str | None = None
    description: str | None = None
    leader: bool = False
    own: bool = False
    home: str | None = None
    backup: str | None = None
    endpoints: list[str] = []
    services: dict[str, str] = {}
    advertise: list[str] = []
    bridge: bool = False
    static_peers: dict[str, str] = {}
    through: str | None = None
    preshared_key: bool = False
    handshake_age: float | None = None
    received: int = 0
    sent: int = 0
    version: str = ""


class StaticPeer(msgspec.Struct, frozen=True, kw_only=True):
    """A WireGuard peer without an agent that this host declares.

    `problem` says why it is not carried; else the figures are WireGuard's. `endpoint` is where it is now,
    `preshared_key` whether its tunnel has one.
    """

    name: str
    public_key: str
    address: str
    problem: str | None = None
    endpoint: str | None = None
    preshared_key: bool = False
    handshake_age: float | None = None
    received: int = 0
    sent: int = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What an interface holds otherwise than the agent planned; `peer` is the member, or key, that it is about."""

    what: str
    peer: str | None = None


class Accusation(msgspec.Struct, frozen=True, kw_only=True):
    """Member `by` says that member `of` does not answer it."""

    by: str
    of: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What only those ask for who look for faults in a mesh.

    `mtu` is what the interface is to have. `differences` is how it differs from the plan at this moment, `repaired`
    what others changed in the last hour and the agent mended. `links` are the addresses at which members take links,
    `linked` whom this node has a link with, both by name. `accusations` are those that nobody answered. `newest` is
    when the newest certificate seen was issued, in seconds since the epoch: it is no earlier now.
    """

    mtu: int | None = None
    differences: list[Difference] = []
    repaired: list[str] = []
    links: dict[str, list[str]] = {}
    linked: list[str] = []
    accusations: list[Accusation] = []
    newest: float = 0.0


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a reload: meshes whose declaration changed, and by mesh id why one did not come up."""

    changed: list[str] = []
    problems: dict[str, str] = {}


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """A node that was taken out of a mesh; `changed` says whether it was not known to be out before."""

    mesh: str
    node_key: str
    changed: bool


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """A host's tunnel key was replaced: the public halves, that of its first one (the node key) among them."""

    node_key: str
    before: str
    tunnel_key: str


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a change of the declarations: the files that were written; none if all was so already."""

    mesh: str
    changed: bool
    files: list[str] = []


class Routes(msgspec.Struct, frozen=True, kw_only=True):
    """What lies outside a mesh: what this host advertises there, and what others let it reach."""

    advertised: list[Advertised]
    reached: list[Route]


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a member offers."""

    name: str
    value: str
    member: str
    node_key: str
    address: str
    liveness: Liveness
    own: bool


class NodeChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of this node in a mesh; null takes it out."""

    alias: str | msgspec.UnsetType | None = msgspec.UNSET
    description: str | msgspec.UnsetType | None = msgspec.UNSET


class ServiceOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What to say of a service that this host offers."""

    value: str


class GraphNode(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A member (its id is the node key), another mesh, or a prefix outside the overlay."""

    id: str
    kind: Literal["peer", "client", "mesh", "prefix"]
    name: str
    liveness: Liveness | None = None
    leader: bool = False
    own: bool = False


class GraphEdge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who is with whom, by id.

    `ring`: two peers that keep a link, on which they gossip and watch each other; `home`: the peer that carries a
    client's traffic now; `backup`: its other one; `bridge`: a member reaches another mesh; `exit`: it forwards to a
    prefix.
    """

    source: str
    target: str
    kind: Literal["ring", "home", "backup", "bridge", "exit"]


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """The topology of a mesh as this host knows it. Every peer has a tunnel to every other: those are no edges."""

    mesh: str
    nodes: list[GraphNode]
    edges: list[GraphEdge]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The agent answers, and all its meshes are up."""

    status: Literal["live", "ready"]


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """A request to join a mesh: whoever has the key of the mesh's authority can sign it.

    `fingerprint` is to be compared with what the host shows that asks, and what that shows of the authority with
    `authority`. `source` is the IP address it came from, or for IPv6 the network. `note` is what to know before it is
    approved. `request` is PKCS #10 in PEM.
    """

    mesh: str
    name: str
    node_key: str
    fingerprint: str
    authority: str
    source: str
    age: float
    state: Literal["pending", "approved"]
    note: str | None = None
    request: str


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time token that somebody made: the public half of its key, and for how many seconds it is good."""

    key: str
    seconds: int


class Invited(msgspec.Struct, frozen=True, kw_only=True):
    """That a token is good at this host now; `authority` is the mesh's fingerprint, as in `Join`."""

    mesh: str
    seconds: int
    authority: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error as RFC 9457 has it; `fix` is our extension, and `reasons`, of an agent that is not ready."""

    title: str
    status: int
    detail: str
    fix: str | None = None
    type: str = "about:blank"
    reasons: list[str] | msgspec.UnsetType = msgspec.UNSET


class Declaring(Protocol):
    """What may be declared through the API. Each method raises Rejected, and then nothing was changed."""

    async def declare(self, mesh: str, content: Mapping[str, Any]) -> Changed:
        """Be in a mesh as a declaration says."""

    async def change(self, mesh: str, changes: Mapping[str, Any]) -> Changed:
        """Change keys of a declaration; None takes one out."""

    async def leave(self, mesh: str) -> Changed:
        """Leave a mesh."""

    async def describe(self, mesh: str, changes: Mapping[str, str | None]) -> Changed:
        """Change alias and description; None takes one out."""

    async def advertise(self, mesh: str, prefix: str) -> Changed:
        """Advertise a prefix."""

    async def withdraw(self, mesh: str, prefix: str) -> Changed:
        """Advertise a prefix no more."""

    async def offer(self, mesh: str, name: str, value: str) -> Changed:
        """Offer a service."""

    async def withhold(self, mesh: str, name: str) -> Changed:
        """Offer a service no more."""


class StatusSource(Protocol):
    """Where the API gets its answers: the daemon."""

    @property
    def starting(self) -> bool:
        """Whether it does not know yet in which meshes it is."""

    @property
    def events(self) -> EventLog:
        """What happened lately."""

    @property
    def declaring(self) -> Declaring:
        """What may be declared."""

    def status(self) -> Status:
        """The agent and all its meshes, the failed ones included."""

    async def members(self, mesh: str) -> list[Member]:
        """Members of a mesh, sorted by name; KeyError for a mesh this host is not in.

        While it is the same list, nothing has changed. It must not be changed.
        """

    async def graph(self, mesh: str) -> Graph:
        """The topology of a mesh; KeyError as above."""

    async def static_peers(self, mesh: str) -> list[StaticPeer]:
        """The static peers that this host declares in a mesh, sorted by name; KeyError as above."""

    async def diagnosis(self, mesh: str) -> Diagnosis:
        """What helps to find faults in a mesh; KeyError as above."""

    async def revoke(self, mesh: str, revocation: bytes) -> Removed:
        """Take a node out as the mesh's authority says; KeyError as above, Rejected if it does not say so."""

    async def forget(self, mesh: str, member: str) -> Removed:
        """Take out a member that is down, by name, alias or node key; KeyError as above, Rejected if it is not down."""

    async def rotate(self, *, force: bool, check: bool) -> Rotated:
        """Replace the host's tunnel key. Rejected if members would not learn of it, unless that is to be forced.

        With `check` nothing is replaced, only rejected.
        """

    async def metrics(self) -> str:
        """What is measured, as `exposition` has it."""

    async def reload(self) -> Reloaded:
        """Read the declarations again and act on what changed; returns when that is done."""

    def joins(self) -> list[Join]:
        """The requests to join that wait here, the oldest first; Rejected if none are taken."""

    def approve(self, certificates: bytes) -> list[Join]:
        """Keep certificates (PEM) for those who asked for them; which. Rejected if one is for nobody who did."""

    def reject(self, fingerprint: str) -> Join:
        """Drop a request to join for good; Rejected if there is none."""

    def invite(self, mesh: str, token: NewToken) -> Invited:
        """Let who has the token join, once. KeyError as above; Rejected unless this host is an enroller of the mesh."""
