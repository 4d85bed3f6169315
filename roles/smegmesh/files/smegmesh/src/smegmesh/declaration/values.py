"""What files say, as immutable values: every key is there, defaults are filled in."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Literal, NamedTuple

from smegmesh.crdt.entry import Role

LINK_PORT = 4000
HEALTH_INTERVAL = 1.0  # seconds
HEALTH_MISSES = 3
Prefix = IPv6Network  # the overlay is IPv6 only
Hook = Literal["pre_up", "post_up", "pre_down", "post_down"]
HOOKS: tuple[Hook, ...] = ("pre_up", "post_up", "pre_down", "post_down")
EndpointDiscovery = Literal["static", "outgoing", "observed"]


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """Where names are asked for, under which domain, and whether systemd-resolved is told."""

    listen: str
    domain: str = "smeg"
    resolved: bool = False


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What holds for all meshes of a host.

    `plane`: auto, kernel, userspace or memory. `api_listen` is None without an API over TLS, `metrics_listen` without
    metrics over plain HTTP, `dns` without names, `join_listen` where nobody may ask to join; what they say is looked at
    by who listens there: a mistake in it stops no mesh. `metrics_per_peer`: metrics name members. `firewall_chains` are
    chains of the host's own firewall, in which the agent's ports are opened.
    """

    node_name: str
    link_port: int = LINK_PORT
    listen: str = "::"
    plane: str = "auto"
    log_level: str = "info"
    api_listen: str | None = None
    metrics_listen: str | None = None
    metrics_per_peer: bool = False
    firewall_chains: tuple[str, ...] = ()
    dns: DnsSettings | None = None
    join_listen: str | None = None


class HostPort(NamedTuple):
    """A host (IP literal or DNS name) and perhaps a port."""

    host: str
    port: int | None

    def text(self, default_port: int) -> str:
        """`host:port` or `[v6]:port`, as entries and dials take it."""
        port = self.port if self.port is not None else default_port
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


class Bootstrap(NamedTuple):
    """A peer to ask for the mesh first. `address` is `host:port` of its link listener."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Health:
    """An exit can reach what it advertises while `target` answers: pinged every `interval` seconds, and not
    answering after `misses` pings in a row without an answer."""

    target: IPv6Address
    interval: float = HEALTH_INTERVAL
    misses: int = HEALTH_MISSES


class Service(NamedTuple):
    """Something this node offers in the mesh. `name` is a DNS label, `value` a line of text."""

    name: str
    value: str


class StaticPeer(NamedTuple):
    """A WireGuard peer without an agent that this host carries.

    `public_key` is 32 bytes, `endpoint` None if it dials this host, keepalive in seconds. `preshared_key` says whether
    there is one. `allowed_ips` are prefixes outside the overlay that are behind it.
    """

    name: str
    public_key: bytes
    endpoint: HostPort | None = None
    keepalive: int = 0
    preshared_key: bool = False
    allowed_ips: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one file adds to the declaration of a mesh; services are sorted by name."""

    file: str
    alias: str | None = None
    description: str | None = None
    advertise: tuple[Prefix, ...] = ()
    services: tuple[Service, ...] = ()


@dataclass(frozen=True, slots=True)
class Declaration:
    """The desired state of one mesh on this host.

    `port` is None where the agent chooses (`choose_ports`); `interface` is always
    a name; `mtu` is None where it follows from the underlay. keepalive is in
    seconds. `accept_all` accepts every advertised prefix but the default route, which
    is `accept_default`'s; `accept_routes` is empty then. The hooks are absolute paths. `file` is where it was declared.
    `advertise` and `services` hold those of the `fragments` too, `advertise` what is behind static peers; services
    and static peers are sorted by name.
    """

    file: str
    owner: str
    mesh: str
    role: Role
    interface: str
    authority: str = "default"
    endpoint: HostPort | None = None
    endpoint_discovery: EndpointDiscovery = "static"
    port: int | None = None
    bootstrap: tuple[Bootstrap, ...] = ()
    alias: str | None = None
    description: str | None = None
    keepalive: int = 25
    bridge: bool = False
    advertise: tuple[Prefix, ...] = ()
    masquerade: bool = True
    health: Health | None = None
    accept_routes: tuple[Prefix, ...] = ()
    accept_all: bool = False
    accept_default: bool = False
    static_peers: tuple[StaticPeer, ...] = ()
    mtu: int | None = None
    pre_up: tuple[str, ...] = ()
    post_up: tuple[str, ...] = ()
    pre_down: tuple[str, ...] = ()
    post_down: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    fragments: tuple[Fragment, ...] = ()

    def file_of(self, prefix: Prefix) -> str:
        """Where a prefix that it advertises was declared."""
        return next((fragment.file for fragment in self.fragments if prefix in fragment.advertise), self.file)

    def file_of_service(self, name: str) -> str | None:
        """Where a service was declared; None if it is not."""
        named = (each.file for each in self.fragments if name in (service.name for service in each.services))
        return next(named, None)
