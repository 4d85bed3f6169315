"""The entry: what a node says about itself in a mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Role(str, Enum):
    """How a node takes part in a mesh."""

    PEER = "peer"
    CLIENT = "client"


#: Every advertised prefix but the default route.
ACCEPT_ALL = "*"

MAX_PATH = 16  # meshes on the way of a bridged route


@dataclass(frozen=True, slots=True)
class BridgedRoute:
    """What a bridge reaches through its other meshes.

    `path` are the ids of the meshes on the way, the next one first; the mesh that the entry is of is none of
    them. `prefix` is what is reached in the last of them, in canonical text; None is that mesh itself.
    """

    path: tuple[str, ...]
    prefix: str | None = None


@dataclass(frozen=True, slots=True)
class PairTags:
    """What a node says of the preshared keys that it shares with another, each by its tag, newest first.

    It holds those that are `offered`; those that are `accepted` the other one offered, too, as far as it has heard.
    """

    offered: tuple[bytes, ...] = ()
    accepted: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """The body of an entry.

    Keys are 32 raw bytes. A tunnel key other than the node key comes with the proof of
    `identity.possession`. `endpoints` are WireGuard endpoints, `links` the TCP
    addresses for links; both are `host:port` or `[v6]:port`, best first, empty
    for a client. `home` and `backup` are node keys, set by clients only.
    `advertise` are prefixes in canonical text, `routes` what a bridge reaches through
    other meshes. Without `masquerade` what goes to these prefixes keeps its source, so
    that all must use one exit. `accept` is what a client's home shall carry for it:
    prefixes outside the overlay, or `ACCEPT_ALL`. `static_peers` are the public keys, by name, of WireGuard
    peers without an agent that a peer carries; `preshared` is by the name of the other node. `unknown` holds
    fields of newer agents, name -> MessagePack value, kept so that they survive.
    """

    name: str
    role: Role
    tunnel_key: bytes
    tunnel_proof: bytes | None = None
    endpoints: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    home: bytes | None = None
    backup: bytes | None = None
    alias: str | None = None
    description: str | None = None
    services: Mapping[str, str] = field(default_factory=dict)
    advertise: tuple[str, ...] = ()
    bridge: bool = False
    routes: tuple[BridgedRoute, ...] = ()
    masquerade: bool = True
    accept: tuple[str, ...] = ()
    static_peers: Mapping[str, bytes] = field(default_factory=dict)
    preshared: Mapping[str, PairTags] = field(default_factory=dict)
    agent: str = ""
    unknown: Mapping[str, bytes] = field(default_factory=dict)
