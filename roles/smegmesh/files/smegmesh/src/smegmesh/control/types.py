"""What the API says, typed. Private keys have no field here, so none can be in an answer.

Node keys are base64, times seconds, traffic bytes. None stands for "nobody" or
"not known (yet)".
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec


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


class Mesh(msgspec.Struct, frozen=True, kw_only=True):
    """One mesh on this host.

    `problem` says in one sentence why the state is not up (or what is wrong with
    the newest declaration of a mesh that is). `digest` (hex) is equal on two nodes
    exactly when they know the same; `informed` says whether that was so with some other one since
    this agent runs. `number` is the own entry's. `names` says what is amiss with the names in DNS, such as
    one that several members go by. `refusals` counts what others
    sent and may not say, by what was wrong.
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
    refusals: dict[str, int] = {}


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


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a mesh as this host sees it.

    `own` marks the host itself. `services` is what it says that it offers, by name. `handshake_age`, `received` and
    `sent` are WireGuard's, of the tunnel that this host's packets to the member take: `through` is the name of the peer
    at its end where that is not the member itself, and the figures are then those of all that goes through it.
    `handshake_age` is None without a handshake.
    """

    name: str
    role: Literal["peer", "client"]
    node_key: str
    address: str
    liveness: Literal["alive", "mute", "down"]
    number: int
    alias: str | None = None
    leader: bool = False
    own: bool = False
    home: str | None = None
    backup: str | None = None
    endpoints: list[str] = []
    services: dict[str, str] = {}
    through: str | None = None
    handshake_age: float | None = None
    received: int = 0
    sent: int = 0
    version: str = ""


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


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error as RFC 9457 has it; `fix` is our extension."""

    title: str
    status: int
    detail: str
    fix: str | None = None
    type: str = "about:blank"


class StatusSource(Protocol):
    """Where the API gets its answers: the daemon."""

    def status(self) -> Status:
        """The agent and all its meshes, the failed ones included."""

    async def members(self, mesh: str) -> list[Member]:
        """Members of a mesh, sorted by name; KeyError for a mesh this host is not in."""

    async def revoke(self, mesh: str, revocation: bytes) -> Removed:
        """Take a node out as the mesh's authority says; KeyError as above, Rejected if it does not say so."""

    async def forget(self, mesh: str, member: str) -> Removed:
        """Take out a member that is down, by name, alias or node key; KeyError as above, Rejected if it is not down."""

    async def rotate(self, *, force: bool) -> Rotated:
        """Replace the host's tunnel key. Rejected if members would not learn of it, unless that is to be forced."""

    async def metrics(self) -> str:
        """What is measured, as `exposition` has it."""

    async def reload(self) -> Reloaded:
        """Read the declarations again and act on what changed; returns when that is done."""
