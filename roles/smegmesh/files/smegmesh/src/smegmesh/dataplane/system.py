"""Links, addresses, routes and sysctls: what an interface needs around WireGuard.

Every call is synchronous and opens its own netlink socket, so it may run in any worker
thread. Routes that the agent makes carry its own protocol number and only those are ever
changed; foreign links, addresses and routes are left alone.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Interface, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from smegmesh.dataplane.plane import PlaneError

# Marks the agent's routes (rtm_protocol); a free number of iproute2's rt_protos.
ROUTE_PROTOCOL = 87

# IPv6 header 40, UDP 8, WireGuard data header and tag 32.
TUNNEL_OVERHEAD = 80
MINIMUM_MTU = 1280
ETHERNET_MTU = 1500

_NO_DUPLICATE_DETECTION = 0x02  # IFA_F_NODAD: usable at once; nobody else can have the address
_UP = 1
_RUNNING = 0x40  # IFF_RUNNING: up, and the cable is in
_GLOBAL = 0  # RT_SCOPE_UNIVERSE
_VERSIONS = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY_PORT = 9  # discard; connecting a datagram socket sends nothing
_LOOPBACK = 8
_MAIN_TABLE = 254


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    index: int
    mtu: int
    up: bool


def mesh_mtu(underlay: int) -> int:
    """MTU of a mesh interface over an underlay of the given MTU, in bytes."""
    return max(underlay - TUNNEL_OVERHEAD, MINIMUM_MTU)


class System(Protocol):
    """What the reconciler needs of the host besides WireGuard. All raise PlaneError."""

    def link(self, device: str) -> Link | None:
        """The interface, None if there is none."""

    def set_link(self, device: str, *, mtu: int, up: bool) -> None:
        """Set MTU and state."""

    def held_addresses(self, device: str) -> frozenset[IPv6Address]:
        """The IPv6 addresses of an interface; none of one that is not there."""

    def held_routes(self, device: str) -> frozenset[IPv6Network]:
        """The agent's own routes of the main table into an interface; none into one that is not there."""

    def ensure_address(self, device: str, address: IPv6Interface) -> bool:
        """Give the interface an address; True if it had not got it."""

    def ensure_routes(self, device: str, routes: Iterable[IPv6Network]) -> bool:
        """Make the agent's own routes of the main table into the interface exactly these; True if they differed."""

    def underlay_mtu(self, hosts: Iterable[str]) -> int:
        """Lowest MTU on the way to any of the hosts (IP literals) and to the default gateways."""

    def families(self, meshes: Collection[str]) -> frozenset[int]:
        """IP versions of which an interface that is up has a global address; `meshes` (devices) do not count."""

    def sources(self, hosts: Iterable[str], mark: int) -> list[str]:
        """The addresses of this host that packets with a mark have towards the hosts (IP literals); no packet is sent.

        In the order of the hosts, without those that no way leads to.
        """


class LinuxSystem:
    """The host as it is, through rtnetlink."""

    def link(self, device: str) -> Link | None:
        with _route(f"cannot look at interface {device}") as route:
            return _link(route, device)

    def set_link(self, device: str, *, mtu: int, up: bool) -> None:
        with _route(f"cannot set up interface {device}") as route:
            index = _index(route, device)
            route.link("set", index=index, mtu=mtu)
            route.link("set", index=index, state="up" if up else "down")

    def held_addresses(self, device: str) -> frozenset[IPv6Address]:
        with _route(f"cannot look at the addresses of {device}") as route:
            link = _link(route, device)
            return _addresses(route, link.index) if link is not None else frozenset()

    def held_routes(self, device: str) -> frozenset[IPv6Network]:
        with _route(f"cannot look at the routes of {device}") as route:
            link = _link(route, device)
            return frozenset(_own_routes(route, link.index)) if link is not None else frozenset()

    def ensure_address(self, device: str, address: IPv6Interface) -> bool:
        _allow_ipv6(device)
        with _route(f"cannot give {device} the address {address}") as route:
            index = _index(route, device)
            if address.ip in _addresses(route, index):
                return False
            route.addr(
                "add",
                index=index,
                family=socket.AF_INET6,
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                flags=_NO_DUPLICATE_DETECTION,
            )
            return True

    def ensure_routes(self, device: str, routes: Iterable[IPv6Network]) -> bool:
        with _route(f"cannot set the routes of {device}") as route:
            index = _index(route, device)
            wanted = set(routes)
            held = _own_routes(route, index)
            for network in held - wanted:
                route.route(
                    "del",
                    dst=str(network),
                    oif=index,
                    table=_MAIN_TABLE,
                    proto=ROUTE_PROTOCOL,
                    family=socket.AF_INET6,
                )
            for network in wanted - held:
                _add_route(route, device, index, network)
            return held != wanted

    def underlay_mtu(self, hosts: Iterable[str]) -> int:
        with _route("cannot find the MTU of the underlay") as route:
            links = {link["index"]: link for link in route.get_links()}
            ways = [
                *(_way_to(route, host) for host in sorted(set(hosts))),
                *_default_routes(route),
            ]
            found = [mtu for way in ways if (mtu := _mtu_of(links, way)) is not None]
        return min(found, default=ETHERNET_MTU)

    def families(self, meshes: Collection[str]) -> frozenset[int]:
        with _route("cannot look at the addresses of the host") as route:
            links = {
                link["index"]
                for link in route.get_links()
                if link["flags"] & _RUNNING and not link["flags"] & _LOOPBACK
                if link.get_attr("IFLA_IFNAME") not in meshes
            }
            held = [each for each in route.get_addr() if each["index"] in links and each["scope"] == _GLOBAL]
        return frozenset(version for version, family in _VERSIONS.items() if any(e["family"] == family for e in held))

    def sources(self, hosts: Iterable[str], mark: int) -> list[str]:
        found = (_source_towards(host, mark) for host in hosts)
        return [source for source in found if source is not None]


def _allow_ipv6(device: str) -> None:
    """Turn IPv6 on for our own interface, where the host's default for new ones is off."""
    switch = Path("/proc/sys/net/ipv6/conf") / device / "disable_ipv6"
    try:
        if switch.read_text().strip() != "0":
            switch.write_text("0")
    except OSError as error:
        raise PlaneError(
            f"{device} has no IPv6: {error}: set the sysctl net.ipv6.conf.default.disable_ipv6 to 0"
        ) from error


@contextmanager
def _route(what: str) -> Iterator[Any]:
    """An rtnetlink socket; the kernel's refusals become PlaneError."""
    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        if error.code == errno.EADDRINUSE:
            raise PlaneError(f"{what}: its UDP port is in use: choose another port or stop its user") from error
        if error.code == errno.EPERM:
            raise PlaneError(f"{what}: not permitted: the agent needs CAP_NET_ADMIN") from error
        raise PlaneError(f"{what}: {error.args[-1]}") from error


def _link(route: Any, device: str) -> Link | None:
    try:
        for index in route.link_lookup(ifname=device):
            for link in route.get_links(index):
                return Link(index=link["index"], mtu=link.get_attr("IFLA_MTU"), up=bool(link["flags"] & _UP))
    except NetlinkError as error:
        if error.code != errno.ENODEV:  # it may go away between the two questions
            raise
    return None


def _index(route: Any, device: str) -> int:
    link = _link(route, device)
    if link is None:
        raise PlaneError(f"{device}: there is no such interface")
    return link.index


def _addresses(route: Any, index: int) -> frozenset[IPv6Address]:
    held = route.get_addr(family=socket.AF_INET6, index=index)
    return frozenset(IPv6Address(each.get_attr("IFA_ADDRESS")) for each in held)


def _own_routes(route: Any, index: int) -> set[IPv6Network]:
    return {
        IPv6Network((held.get_attr("RTA_DST") or "::", held["dst_len"]))
        for held in route.get_routes(family=socket.AF_INET6, oif=index)
        if held["proto"] == ROUTE_PROTOCOL
        and held.get_attr("RTA_OIF") == index
        and held.get_attr("RTA_TABLE") == _MAIN_TABLE
    }


def _add_route(route: Any, device: str, index: int, network: IPv6Network) -> None:
    try:
        # Exclusive: replacing could take a foreign route's place.
        route.route(
            "add",
            dst=str(network),
            oif=index,
            proto=ROUTE_PROTOCOL,
            family=socket.AF_INET6,
        )
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise PlaneError(
                f"{device}: {network} is already routed by something else: remove that route, or name another mesh"
            ) from error
        raise


def _source_towards(host: str, mark: int) -> str | None:
    """The address from which a datagram to a host would go, None if no way leads there."""
    try:
        with socket.socket(_VERSIONS[ip_address(host).version], socket.SOCK_DGRAM) as sock:
            _mark(sock, mark)
            sock.connect((host, _ANY_PORT))
            return str(sock.getsockname()[0])
    except OSError:
        return None


def _mark(sock: socket.socket, mark: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except PermissionError as error:
        raise PlaneError(f"may not mark sockets with {mark:#x}: give the agent CAP_NET_ADMIN") from error


def _way_to(route: Any, host: str) -> Any:
    """The route that packets to a host take, None if there is none."""
    family = socket.AF_INET if ip_address(host).version == 4 else socket.AF_INET6
    try:
        return next(iter(route.route("get", dst=host, family=family)), None)
    except NetlinkError:
        return None


def _mtu_of(links: Mapping[int, Any], held: Any) -> int | None:
    """MTU of a route: its own where it has one, else its interface's; None for loopback and for no route."""
    link = links.get(held.get_attr("RTA_OIF")) if held is not None else None
    if link is None or link["flags"] & _LOOPBACK:
        return None
    metrics = held.get_attr("RTA_METRICS")
    own = metrics.get_attr("RTAX_MTU") if metrics is not None else None
    return int(own or link.get_attr("IFLA_MTU"))


def _default_routes(route: Any) -> list[Any]:
    return [
        held
        for family in (socket.AF_INET, socket.AF_INET6)
        for held in route.get_routes(family=family, table=_MAIN_TABLE)
        if held["dst_len"] == 0 and held["type"] == 1
    ]


class MemorySystem:
    """A host in memory, the twin of LinuxSystem. Any interface that is asked for exists."""

    def __init__(self) -> None:
        self.links: dict[str, Link] = {}
        self.addresses: dict[str, set[IPv6Interface]] = {}
        self.routes: dict[str, set[IPv6Network]] = {}
        self.versions = frozenset({4, 6})
        self.ways: dict[str, str] = {}  # host -> own address towards it

    def link(self, device: str) -> Link | None:
        return self.links.setdefault(device, Link(index=len(self.links) + 1, mtu=ETHERNET_MTU, up=False))

    def set_link(self, device: str, *, mtu: int, up: bool) -> None:
        link = self.link(device)
        assert link is not None
        self.links[device] = Link(index=link.index, mtu=mtu, up=up)

    def held_addresses(self, device: str) -> frozenset[IPv6Address]:
        return frozenset(address.ip for address in self.addresses.get(device, ()))

    def held_routes(self, device: str) -> frozenset[IPv6Network]:
        return frozenset(self.routes.get(device, ()))

    def ensure_address(self, device: str, address: IPv6Interface) -> bool:
        held = self.addresses.setdefault(device, set())
        missing = address not in held
        held.add(address)
        return missing

    def ensure_routes(self, device: str, routes: Iterable[IPv6Network]) -> bool:
        wanted = set(routes)
        differed = self.routes.get(device, set()) != wanted
        self.routes[device] = wanted
        return differed

    def underlay_mtu(self, hosts: Iterable[str]) -> int:
        return ETHERNET_MTU

    def families(self, meshes: Collection[str]) -> frozenset[int]:
        return self.versions

    def sources(self, hosts: Iterable[str], mark: int) -> list[str]:
        return [self.ways[host] for host in hosts if host in self.ways]
