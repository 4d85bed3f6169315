"""What may happen in a schedule: a table of weights, and a function each, which does nothing if it finds nobody."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType

from schedule import Schedule

from smegmesh.crdt.entry import Role
from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.membership import Membership
from smegmesh.identity.revocation import make_revocation
from smegmesh.simulation.credentials import authority_key
from smegmesh.simulation.mesh import MESH
from smegmesh.simulation.node import Disk

_MOST_NODES = 14
#: Of so many honest running peers one lies, about so many live ones.
_HONEST = 4
_ACCUSED = 2


def disturb(schedule: Schedule) -> None:
    """Something happens, or ends."""
    fault = schedule.random.choices(list(_FAULTS), list(_FAULTS.values()))[0]
    fault(schedule)


# Processes, hosts, disks


def _host_dies(schedule: Schedule) -> None:
    if len(schedule.running()) > 1:
        schedule.simulation.kill_host(schedule.random.choice(schedule.running()))


def _process_dies(schedule: Schedule) -> None:
    if len(schedule.running()) > 1:
        schedule.simulation.kill_process(schedule.random.choice(schedule.running()))


def _process_dies_between_two_events(schedule: Schedule) -> None:
    if len(schedule.running()) > 1:
        schedule.simulation.doom(schedule.random.choice(schedule.running()), schedule.random.randint(0, 30))


def _start(schedule: Schedule) -> None:
    if schedule.stopped():
        schedule.start(schedule.random.choice(schedule.stopped()))


def _announced_restart(schedule: Schedule) -> None:
    if len(schedule.running()) > 1:
        name = schedule.random.choice(schedule.running())
        schedule.simulation.call(name, "announce_restart")
        schedule.simulation.kill_process(name)
        schedule.start(name)


def _copy_disks(schedule: Schedule) -> None:
    schedule.copies.update({name: node.disk.read() for name, node in schedule.simulation.nodes.items()})


def _old_or_no_disk(schedule: Schedule) -> None:
    candidates = schedule.expendable(among=schedule.stopped())
    if candidates:
        name = schedule.random.choice(candidates)
        node = schedule.simulation.nodes[name]
        node.disk = (
            Disk(schedule.copies[name]) if schedule.random.random() < 0.5 and name in schedule.copies else Disk()
        )
        schedule.damaged.add(node.identity)


def _freeze(schedule: Schedule) -> None:
    if len(schedule.running()) > 1:
        schedule.simulation.freeze(schedule.random.choice(schedule.running()))


def _thaw(schedule: Schedule) -> None:
    frozen = [name for name, node in schedule.simulation.nodes.items() if node.frozen]
    if frozen:
        schedule.simulation.thaw(schedule.random.choice(frozen))


def _clock_jumps(schedule: Schedule) -> None:
    if schedule.running():
        seconds = schedule.random.choice((0.5, 2.0, 5.0, 30.0, 300.0, 3000.0))
        schedule.simulation.jump(schedule.random.choice(schedule.running()), seconds)


# The network


def _partition(schedule: Schedule, *, one_way: bool = False) -> None:
    names = list(schedule.simulation.nodes)
    schedule.random.shuffle(names)
    at = schedule.random.randint(1, len(names) - 1)
    schedule.simulation.partition(names[:at], names[at:], one_way=one_way)


def _one_way_partition(schedule: Schedule) -> None:
    _partition(schedule, one_way=True)


def _heal(schedule: Schedule) -> None:
    schedule.simulation.heal()


def _loss(schedule: Schedule) -> None:
    schedule.simulation.network.loss = schedule.random.choice((0.0, 0.0, 0.02, 0.1))


def _disorder(schedule: Schedule) -> None:
    schedule.simulation.network.disorder = schedule.random.choice((0.0, 0.0, 0.02, 0.2))


# Who is in the mesh


def _join(schedule: Schedule) -> None:
    number = len(schedule.simulation.nodes)
    if number < _MOST_NODES:
        role = schedule.random.choice((Role.PEER, Role.PEER, Role.CLIENT))
        name = f"{'p' if role is Role.PEER else 'c'}{number}-joined"
        if name not in schedule.simulation.nodes:
            schedule.simulation.add(name, role)
            schedule.start(name)


def _leave(schedule: Schedule) -> None:
    candidates = schedule.expendable()
    if candidates:
        name = schedule.random.choice(candidates)
        schedule.simulation.call(name, "leave")
        schedule.simulation.kill_process(name)
        schedule.left.add(name)


def _revoke(schedule: Schedule) -> None:
    candidates = schedule.expendable(among=[name for name in schedule.simulation.nodes if name not in schedule.revoked])
    if len(candidates) > 2 and schedule.peers():
        name = schedule.random.choice(candidates)
        schedule.revoked.add(name)
        revocation = make_revocation(authority_key(), MESH, schedule.simulation.key(name))
        schedule.simulation.call(schedule.random.choice(schedule.peers()), "revoke", revocation)


def _clone(schedule: Schedule) -> None:
    """Another machine starts with a node's key, with its disk or without."""
    candidates = [name for name in schedule.expendable(among=schedule.peers()) if name not in schedule.revoked]
    if candidates and not schedule.clones:
        original = schedule.simulation.nodes[schedule.random.choice(candidates)]
        name = f"{original.name}-clone{round(schedule.simulation.clock.now)}"  # another machine each time
        clone = schedule.simulation.add(name, original.role, original.identity)
        if schedule.random.random() < 0.5:
            clone.disk = Disk(original.disk.read())
        schedule.clones[name] = original.name
        schedule.damaged.add(original.identity)
        schedule.simulation.start(name)


def _lie(schedule: Schedule) -> None:
    """A peer publishes, from now on until it starts anew, that some that live are down."""
    candidates = schedule.expendable(among=schedule.peers())
    if len(schedule.peers()) > _HONEST and candidates and not schedule.liars:
        name = schedule.random.choice(candidates)
        others = [schedule.simulation.key(other) for other in schedule.peers() if other != name]
        accused = schedule.random.sample(others, schedule.random.randint(1, _ACCUSED))
        schedule.liars.add(name)
        _make_lie(schedule, name, accused, schedule.random.choice((None, 1, MAX_NUMBER)))


def _make_lie(schedule: Schedule, name: str, accused: list[bytes], number: int | None) -> None:
    """Each verdict of an engine accuses these, under a number or (None) the one that they have."""
    engine = schedule.simulation.engine(name)
    publish = engine._membership.publish

    def lie(_self: Membership, found: dict[bytes, Accusation], *, renew: bool, now: float) -> None:
        members = {key: engine._map.member(key) for key in accused}
        lies = {
            key: Accusation(number or member.record.number) for key, member in members.items() if member is not None
        }
        publish({**found, **lies}, renew=renew, now=now)

    engine._membership.publish = MethodType(lie, engine._membership)  # type: ignore[method-assign]


_FAULTS: dict[Callable[[Schedule], None], float] = {
    _host_dies: 1,
    _process_dies: 1,
    _process_dies_between_two_events: 1,
    _start: 3,
    _announced_restart: 0.5,
    _copy_disks: 1,
    _old_or_no_disk: 1,
    _freeze: 1,
    _thaw: 1,
    _clock_jumps: 1,
    _partition: 1,
    _one_way_partition: 1,
    _heal: 2,
    _loss: 1,
    _disorder: 1,
    _join: 0.7,
    _leave: 0.7,
    _revoke: 0.3,
    _clone: 0.3,
    _lie: 0.5,
}
