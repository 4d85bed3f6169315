"""What has to hold in a schedule: some of it at any moment, the rest in peace. Each check returns what is wrong."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.order import Order
from smegmesh.gossip.engine import Engine
from smegmesh.gossip.replica import by_slot
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.routing.plan import LocalPolicy, Plan, host_network, make_plan
from smegmesh.simulation.mesh import Simulation

#: Entries of the heap of what is due on links: some are overtaken and wait for their time.
_DUES = 16

_LOWEST: Order = (0, b"")


def _map(simulation: Simulation, name: str) -> MeshMap:
    return simulation.engine(name)._map


def _highest(simulation: Simulation, name: str) -> dict[bytes, tuple[Order, Order]]:
    """By node: its highest entry and its horizon, as a node knows them."""
    return {
        held.key: (
            _LOWEST if held.entry is None else held.entry.order,
            _LOWEST if held.removal is None else held.removal.horizon,
        )
        for held in _map(simulation, name).tree
    }


# At any moment


def durable_numbers(simulation: Simulation, damaged: set[str]) -> list[str]:
    """Nobody may have seen a number that its node did not make durable first."""
    durable = {node.key: node for node in simulation.nodes.values() if node.identity not in damaged}
    return [
        f"{name} knows number {member.number} of {node.name}, durable is {node.disk.number}"
        for name in simulation.running()
        for key, node in durable.items()
        if (member := simulation.view(name).members.get(key)) is not None and member.number > node.disk.number
    ]


def numbers_go_up(simulation: Simulation, seen: dict[tuple[str, int, bytes], object]) -> list[str]:
    """No process may go back behind an entry or a horizon that it knew; `seen` is what each knew last."""
    found = []
    for name in simulation.running():
        process = simulation.nodes[name].process
        for key, orders in _highest(simulation, name).items():
            before = seen.get((name, process, key), (_LOWEST, _LOWEST))
            assert isinstance(before, tuple)
            if orders[0] < before[0] or orders[1] < before[1]:
                found.append(f"{name} went back from {before} to {orders}")
            seen[name, process, key] = orders
    return found


# In peace


def wrong(simulation: Simulation, anchor: str) -> list[str]:
    """What is not as it should be among those who are not revoked, as the anchor knows it."""
    known = _map(simulation, anchor)
    running = [name for name in simulation.running() if not _is_out(simulation, name, known)]
    views = {name: simulation.view(name) for name in running}
    found = []
    if len({view.digest for view in views.values()}) > 1:
        found.append("the maps differ")
    if len({view.leader for view in views.values()}) > 1:
        found.append("there are several leaders")
    for name, node in simulation.nodes.items():
        expected = {Liveness.ALIVE} if name in running else {Liveness.MUTE, Liveness.DOWN, None}
        if known.revoked(node.key):
            expected = {None}
        said = {_liveness(view, node.key) for view in views.values()}
        if not said <= expected:
            words = sorted("no member" if liveness is None else liveness.value for liveness in said)
            found.append(f"{name} {'runs' if name in running else 'does not run'} and is {words}")
        found += [f"{name}: {alarm.text}" for alarm in node.alarms if alarm.kind != "revoked"]
    return found


def _is_out(simulation: Simulation, name: str, known: MeshMap) -> bool:
    """Whether a node is revoked, if only it knows: then it never tells."""
    key = simulation.key(name)
    return known.revoked(key) or _map(simulation, name).revoked(key)


def _liveness(view: View, key: bytes) -> Liveness | None:
    member = view.members.get(key)
    return None if member is None else member.liveness


class Peace:
    """What has to hold in peace, and from one peace to the next."""

    def __init__(self) -> None:
        self._before: dict[bytes, tuple[Order, Order]] = {}

    def violated(self, simulation: Simulation, anchor: str) -> list[str]:
        """What does not hold now, of that which costs more to look at."""
        known = _map(simulation, anchor)
        found = self._went_back(simulation, anchor)
        population = len({*known.entries, *known.removals, *known.verdicts}) + 1
        for name in simulation.running():
            if not _is_out(simulation, name, known):
                found += [f"{name}: {text}" for text in owners(simulation, name)]
            found += [f"{name}: {text}" for text in memory(simulation.engine(name), population)]
        return found

    def _went_back(self, simulation: Simulation, anchor: str) -> list[str]:
        now = _highest(simulation, anchor)
        before, self._before = self._before, now
        found = []
        for key, (entry, horizon) in before.items():
            if now[key][0] < entry or now[key][1] < horizon:
                found.append(f"{key.hex()[:8]} went back from {(entry, horizon)} to {now[key]}")
        return found


def owners(simulation: Simulation, name: str) -> list[str]:
    """Every allowed IP has one owner in a node's plan, and every other live member's address has one."""
    view = simulation.view(name)
    plan = make_plan(view, LocalPolicy(simulation.nodes[name].role))
    found = [
        f"{one} and {other} have two owners"
        for peer, another in combinations(plan.peers.values(), 2)
        for one in peer.allowed_ips
        for other in another.allowed_ips
        if one.overlaps(other)
    ]
    for key, member in view.members.items():
        if key != view.node_key and member.liveness is Liveness.ALIVE and _owned(plan, member) != 1:
            found.append(f"the address of {member.entry.name} has {_owned(plan, member)} owners")
    return found


def _owned(plan: Plan, member: Member) -> int:
    address = host_network(member.address)
    return sum(address.subnet_of(allowed) for peer in plan.peers.values() for allowed in peer.allowed_ips)


def memory(engine: Engine, population: int) -> list[str]:
    """What an engine keeps beside the maps, against how many nodes it may know of."""
    links = list(engine._links)
    of_links: Counter[bytes] = Counter(link.node_key for link in links)
    bounds = {
        "links with one node": (max(of_links.values(), default=0), 1),
        "links": (len(links), population),
        "statements in outboxes": (sum(len(link.outbox) for link in links), 0),
        "certificates in outboxes": (sum(len(link.escorts) for link in links), 0),
        "bad frames of a link": (max((link.bad for link in links), default=0), engine._settings.bad_frames),
        "dues of links": (len(engine._upkeep._dues), _DUES * population),
        # Who is out of the mesh gets none any more.
        "what waits for certificates": (len(engine._replica._waiting), 0 if links else population),
        "loose certificates": (len(engine._replica.certificates._loose), population),
        "owners of certificates": (
            len(engine._replica.certificates._owners._keys),
            engine._replica.certificates._owners._limit,
        ),
        "dial targets": (len(engine._dialler._targets), population + len(engine._settings.bootstrap)),
        "dials": (len(engine._dialler._dials), population + len(engine._settings.bootstrap)),
        "observations": (len(engine._observers._nodes), population),
        "writers of accusations": (len(engine._judgement._accusations._by_writer), population),
        "strangers who accuse": (len(engine._judgement._strangers), population),
        "deferred verdicts": (len(engine._judgement._quarantine), population),
        "who is to be forgotten": (len(engine._forgetting._since), population),
        "leaders passed over": (len(engine._leadership._until), population),
        "own raises": (len(engine._publisher._raises), engine._settings.own_raises),
        "what is not durable": (sum(map(len, by_slot(engine._durability._dirty).values())), 2 * population),
        "bootstrap addresses": (len(engine._topology._answered), len(engine._settings.bootstrap)),
        "disqualified homes": (len(engine._membership.choice._until), population),
    }
    return [f"{count} {what}, more than {bound}" for what, (count, bound) in bounds.items() if count > bound]
