"""Hosts in several meshes, on paper: what each computes from what it knows, and where packets then go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Network, ip_network

from smegmesh.crdt.entry import Entry, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.routing.choices import Joined
from smegmesh.routing.host import MAIN_TABLE, Place, Routing, make_routing
from smegmesh.routing.offers import Accepted, accepted_of, make_offers, offers_anything
from smegmesh.routing.plan import LocalPolicy, Plan, make_plan
from smegmesh.routing.tables import Forwarding, Route, Rule

HOP_LIMIT = 64
NOTHING = IPv6Network("::/0")


@dataclass(frozen=True)
class Host:
    """`bridges` are those of its meshes between which it forwards; it is a client where it has homes."""

    name: str
    meshes: tuple[str, ...]
    bridges: tuple[str, ...] = ()
    homes: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    advertise: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masquerade: bool = True
    accept: tuple[str, ...] = ()

    @property
    def key(self) -> bytes:
        return self.name.encode().ljust(32, b"\0")

    def address(self, mesh: str) -> IPv6Address:
        return node_address(mesh, self.key)

    def role(self, mesh: str) -> Role:
        return Role.CLIENT if mesh in self.homes else Role.PEER


@dataclass(frozen=True)
class Computed:
    """What a host made of what it knew."""

    routing: Routing
    plans: Mapping[str, Plan]


class World:
    """Everybody knows what was published when it last looked: `look` at once, or later."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self.hosts = {host.name: host for host in hosts}
        self.by_key = {host.key: host for host in self.hosts.values()}
        self.down: set[str] = set()
        self.unreachable: dict[str, set[str]] = {}
        self.published: dict[tuple[str, str], Entry] = {}
        self.computed: dict[str, Computed] = {}
        for host in self.hosts.values():
            for mesh in host.meshes:
                self.published[host.name, mesh] = self._entry(host, mesh)

    def settle(self) -> int:
        """Everybody looks and tells, until nobody has news; how often that was."""
        for rounds in range(100):
            before = dict(self.published)
            for name in self.hosts:
                self.look(name)
            for name in self.hosts:
                self.tell(name)
            if before == self.published:
                return rounds
        raise AssertionError("it does not end")

    def look(self, name: str) -> None:
        """A host takes notice of everything that is published, and of who is down."""
        host = self.hosts[name]
        if name in self.down:
            return
        views = {mesh: self.view(name, mesh) for mesh in host.meshes}
        places = {
            mesh: Place(f"wg-{mesh}", number + 1, host.address(mesh), self._joined(host, mesh, view), host.masquerade)
            for number, (mesh, view) in enumerate(views.items())
        }
        routing = make_routing(host.key, places)
        plans = {
            mesh: make_plan(view, LocalPolicy(host.role(mesh)), routing.allowed[mesh]) for mesh, view in views.items()
        }
        self.computed[name] = Computed(routing, plans)

    def tell(self, name: str) -> None:
        """A host publishes what it computed last."""
        if name in self.down:
            return
        for mesh, routes in self.computed[name].routing.announced.items():
            self.published[name, mesh] = replace(self.published[name, mesh], routes=routes)

    def view(self, name: str, mesh: str) -> View:
        members = {}
        for (other, there), entry in self.published.items():
            if there == mesh:
                host = self.hosts[other]
                liveness = Liveness.DOWN if other in self.down else Liveness.ALIVE
                members[host.key] = Member(host.key, host.address(mesh), entry, 1, liveness)
        return View(mesh, self.hosts[name].key, members, None, b"")

    def _joined(self, host: Host, mesh: str, view: View) -> Joined:
        interesting = [key for key, member in view.members.items() if offers_anything(member.entry)]
        return Joined(
            offers=make_offers(view, interesting),
            bridge=mesh in host.bridges,
            accepted=accepted_of(host.accept) if host.accept else Accepted(),
            advertised=frozenset(ip_network(prefix) for prefix in host.advertise.get(mesh, ())),
            unreachable=frozenset(self.hosts[other].key for other in self.unreachable.get(host.name, ())),
        )

    def _entry(self, host: Host, mesh: str) -> Entry:
        home, backup = host.homes.get(mesh, (None, None))
        client = mesh in host.homes
        return Entry(
            name=host.name,
            role=host.role(mesh),
            tunnel_key=host.key,
            home=self.hosts[home].key if home else None,
            backup=self.hosts[backup].key if backup else None,
            bridge=mesh in host.bridges,
            advertise=host.advertise.get(mesh, ()),
            masquerade=host.masquerade,
            accept=host.accept if client else (),
        )

    # Packets

    def walk(self, name: str, source: IPv6Address | None, target: IPv6Address) -> list[str]:
        """The hosts that a packet comes by, and at the end what became of it.

        `arrived` at the host of the address, `left` by an exit; `lost` at a host that is down, `unreachable`,
        `refused` for its source or by the firewall, `expired` at the hop limit.
        """
        came_by = [name]
        device: str | None = None
        for _hop in range(HOP_LIMIT):
            host, computed = self.hosts[name], self.computed[name]
            if target in map(host.address, host.meshes):
                return [*came_by, "arrived"]
            route = self._lookup(host, computed, device, source, target)
            if route is None:
                served = computed.routing.plan.forwarding[device].prefixes if device is not None else {}
                return [*came_by, "left" if any(target in prefix for prefix in served) else "unreachable"]
            if route.device is None:
                return [*came_by, "unreachable"]
            if device is not None and not _is_forwarded(computed.routing.plan.forwarding, device, route.device, source):
                return [*came_by, "refused"]
            mesh = route.device.removeprefix("wg-")
            source = source or host.address(mesh)
            following = owner(computed.plans[mesh], target)
            if following is None:
                return [*came_by, "unreachable"]
            name = self.by_key[following].name
            came_by.append(name)
            if name in self.down:
                return [*came_by, "lost"]
            if owner(self.computed[name].plans[mesh], source) != host.key:
                return [*came_by, "refused"]
            device = route.device
        return [*came_by, "expired"]

    def _lookup(
        self, host: Host, computed: Computed, device: str | None, source: IPv6Address | None, target: IPv6Address
    ) -> Route | None:
        """What the rules and tables say; None for what is outside."""
        plan = computed.routing.plan
        main = {mesh_prefix(mesh): Route(f"wg-{mesh}") for mesh in host.meshes}
        tables: dict[int, dict[IPv6Network, Route]] = {MAIN_TABLE: main}
        for (table, network), route in plan.routes.items():
            tables.setdefault(table, {})[network] = route
        for rule in [*sorted(plan.rules, key=lambda rule: rule.priority), Rule(32766, MAIN_TABLE)]:
            if rule.device not in (None, device) or rule.source not in (None, source):
                continue
            found = [
                (network.prefixlen, route)
                for network, route in tables.get(rule.table, {}).items()
                if target in network and (rule.suppress is None or network.prefixlen > rule.suppress)
            ]
            if found:
                route = max(found, key=lambda each: each[0])[1]
                if not route.elsewhere:
                    return route
        return None


def _is_forwarded(forwarding: Mapping[str, Forwarding], device: str, out: str, source: IPv6Address | None) -> bool:
    """What the firewall says: into which interfaces one leads, and by which a source comes in."""
    assert source is not None
    if device != out and out not in forwarding[device].meshes:
        return False
    back = {network: by for network, by in forwarding[out].sources.items() if source in network}
    return back[max(back, key=lambda network: network.prefixlen)] == device


def owner(plan: Plan, address: IPv6Address) -> bytes | None:
    """WireGuard's own table: the peer with the longest allowed IP that holds an address."""
    found = [
        (network.prefixlen, key)
        for key, peer in plan.peers.items()
        for network in peer.allowed_ips
        if address in network
    ]
    return max(found)[1] if found else None
