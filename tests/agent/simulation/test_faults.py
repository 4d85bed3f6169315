"""One fault after another, and what each calls for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import count, pairwise
from random import Random

import pytest

from smegmesh.crdt.entry import Role
from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.record import Kind, decode_record
from smegmesh.gossip.codec import Items, decode
from smegmesh.gossip.engine import Engine
from smegmesh.gossip.events import Alarm
from smegmesh.gossip.homes import weight
from smegmesh.gossip.view import Liveness
from smegmesh.identity.revocation import make_revocation
from smegmesh.simulation import setup
from smegmesh.simulation.credentials import authority_key, node_key
from smegmesh.simulation.mesh import MESH, Simulation
from smegmesh.simulation.node import Disk, Node
from smegmesh.simulation.scenario import _Run
from smegmesh.simulation.settled import settle


def _mesh(peers: int, clients: int = 0, seed: int = 1, **settings: float) -> Simulation:
    simulation = Simulation(seed, peers, clients, **settings)
    simulation.start()
    _settle(simulation)
    simulation.run_for(10)
    assert not simulation.violations()
    return simulation


def _settle(simulation: Simulation, limit: float = 20) -> float:
    return simulation.run_until(lambda: not simulation.violations(), limit)


def _home(simulation: Simulation, client: str, at: str) -> str | None:
    key = simulation.view(at).home_of(simulation.key(client))
    return next((name for name, node in simulation.nodes.items() if node.key == key), None)


@pytest.mark.parametrize("seed", range(6))
def test_a_client_is_reachable_through_its_backup_five_seconds_after_its_home_died(seed: int) -> None:
    simulation = _mesh(4, 2, seed)
    home = _home(simulation, "c0", "p0")
    assert home is not None
    simulation.kill_host(home)

    def moved() -> bool:
        used = {_home(simulation, "c0", at) for at in simulation.running()}
        return len(used) == 1 and used.isdisjoint({home, None})

    assert simulation.run_until(moved, 10) <= 5
    _settle(simulation)
    simulation.run_for(10)
    entry = simulation.view("c0").members[simulation.key("c0")].entry
    assert simulation.key(home) not in (entry.home, entry.backup)
    assert entry.home is not None and entry.backup is not None
    before = entry
    simulation.start(home)
    _settle(simulation)
    simulation.run_for(60)
    assert simulation.view("c0").members[simulation.key("c0")].entry == before, "a choice ends only by down"


def test_a_client_keeps_a_mute_home_and_names_another_backup_for_a_mute_one() -> None:
    """The tunnel of a mute home still carries its traffic; but somebody has to vouch for the client."""
    simulation = _mesh(6, 1)
    names = {node.key: name for name, node in simulation.nodes.items()}

    def homes() -> list[str]:
        entry = simulation.view("c0").members[simulation.key("c0")].entry
        return [names[key] for key in (entry.home, entry.backup) if key is not None]

    home, backup = before = homes()
    simulation.kill_process(home)
    simulation.run_for(10)
    assert simulation.view("c0").members[simulation.key(home)].liveness is Liveness.MUTE
    assert homes() == before
    simulation.kill_process(backup)
    simulation.run_for(10)
    assert homes()[0] == home
    assert set(homes()).isdisjoint({backup})
    for name in simulation.running():
        assert simulation.view(name).members[simulation.key("c0")].liveness is Liveness.ALIVE
    simulation.kill_process(homes()[1])
    simulation.kill_process("c0")
    simulation.run_for(10)
    for name in simulation.running():
        assert simulation.view(name).members[simulation.key("c0")].liveness is Liveness.MUTE


def test_who_starts_anew_knows_that_a_client_whose_homes_are_gone_is_down() -> None:
    simulation = _mesh(6, 1)
    entry = simulation.view("c0").members[simulation.key("c0")].entry
    simulation.kill_host("c0")
    homes = [name for name, node in simulation.nodes.items() if node.key in (entry.home, entry.backup)]
    for home in homes:
        simulation.call(home, "leave")
        simulation.kill_process(home)
    again = next(name for name in simulation.running() if name not in homes)
    simulation.run_for(10)
    simulation.kill_process(again)
    simulation.run_for(1)
    simulation.start(again)
    simulation.run_for(10)
    for name in simulation.running():
        assert simulation.view(name).members[simulation.key("c0")].liveness is Liveness.DOWN


def test_a_client_keeps_links_to_its_home_and_its_backup_only() -> None:
    simulation = _mesh(6, 1)
    simulation.run_for(60)
    entry = simulation.view("c0").members[simulation.key("c0")].entry
    assert set(simulation.engine("c0").links().values()) == {entry.home, entry.backup}


def test_a_client_that_alone_cannot_reach_its_home_moves_to_its_backup() -> None:
    simulation = _mesh(4, 1)
    home = _home(simulation, "c0", "p0")
    assert home is not None
    simulation.partition(["c0"], [home])
    assert simulation.run_until(lambda: _home(simulation, "c0", "c0") != home, 10) <= 4.5
    simulation.run_for(2)
    assert all(_home(simulation, "c0", at) != home for at in simulation.running())
    assert simulation.liveness(home) == {Liveness.ALIVE}
    simulation.heal()
    _settle(simulation)


def test_a_client_and_all_its_homes_die() -> None:
    simulation = _mesh(5, 1)
    entry = simulation.view("c0").members[simulation.key("c0")].entry
    homes = [name for name in simulation.nodes if simulation.key(name) in (entry.home, entry.backup)]
    for name in (*homes, "c0"):
        simulation.kill_host(name)
    simulation.run_until(lambda: simulation.liveness("c0") == {Liveness.DOWN}, 10)
    simulation.start("c0")
    simulation.run_until(lambda: simulation.liveness("c0") == {Liveness.ALIVE}, 20)


def test_a_client_finds_the_last_peer_however_many_it_prefers_to_it() -> None:
    simulation = Simulation(1, 70, bootstrap=1)
    keys = {simulation.key(name) for name in simulation.nodes}
    names = (f"c{number}" for number in count())
    last = simulation.key("p0")
    client = next(name for name in names if max(keys, key=lambda key: weight(node_key(name), key)) == last)
    simulation.add(client, Role.CLIENT)
    simulation.start()
    _settle(simulation)
    assert _home(simulation, client, "p0") not in ("p0", None)
    for number in range(1, 70):
        simulation.kill_host(f"p{number}")
    simulation.run_until(lambda: _home(simulation, client, "p0") == "p0", 60)


def test_who_finds_many_dead_one_after_the_other_says_so_a_few_times_a_second() -> None:
    simulation = Simulation(3, 12, latency=(0.001, 0.002))
    simulation.start()
    _settle(simulation)
    simulation.run_for(5)
    said: dict[bytes, dict[int, float]] = {}  # when each verdict of each writer was first heard

    def note(source: str, target: str, frame: bytes) -> None:
        message = decode(frame)
        for triple in message.records if isinstance(message, Items) else ():
            record = decode_record(*triple)
            if record.kind is Kind.VERDICT:
                said.setdefault(record.node_key, {}).setdefault(record.number, simulation.clock.now)

    simulation.frames.append(note)
    for number in range(8):
        simulation.kill_host(f"p{number}")
        simulation.run_for(0.1)
    _settle(simulation)
    times = [sorted(heard.values()) for heard in said.values()]
    assert max(map(len, times)) > 2
    assert min(after - before for heard in times for before, after in pairwise(heard)) > 0.19


def test_the_leader_dies_and_the_next_lowest_key_leads() -> None:
    simulation = _mesh(5)
    order = sorted(simulation.nodes, key=simulation.key)
    assert simulation.view("p0").leader == simulation.key(order[0])
    simulation.kill_host(order[0])
    survivor = order[-1]
    took = simulation.run_until(lambda: simulation.view(survivor).leader == simulation.key(order[1]), 10)
    assert took <= 4
    _settle(simulation)
    simulation.start(order[0])
    simulation.run_until(lambda: simulation.view(survivor).leader == simulation.key(order[0]), 10)
    _settle(simulation)


def test_halves_that_cannot_talk_are_two_meshes_and_one_again() -> None:
    simulation = _mesh(8, 2)
    left, right = ["p0", "p1", "p2", "p3"], ["p4", "p5", "p6", "p7"]
    simulation.partition([*left, "c0"], [*right, "c1"])
    simulation.run_for(15)
    for name in left:
        view = simulation.view(name)
        assert all(view.members[simulation.key(other)].liveness is Liveness.DOWN for other in right)
        assert all(view.members[simulation.key(other)].liveness is Liveness.ALIVE for other in left)
    simulation.heal()
    assert _settle(simulation) <= 12
    simulation.run_for(20)
    assert not simulation.violations()


def test_halves_that_were_apart_for_long_do_not_wait_out_their_pauses() -> None:
    """Dials to the other side had failed again and again, and were made every eight seconds at last."""
    simulation = Simulation(2, 24)
    settle(simulation)
    names = list(simulation.nodes)
    simulation.partition(names[::2], names[1::2])
    simulation.run_for(60)
    simulation.heal()
    assert simulation.run_until(simulation.is_converged, 20) <= 1


@pytest.mark.parametrize("seed", [26, 54])
def test_those_who_were_cut_off_take_nobody_down_when_they_are_back(seed: int) -> None:
    """They think that all others are down, and for a moment nobody but they is accused by anybody."""
    simulation = Simulation(seed, 8, 1, latency=(0.0002, 0.002))
    settle(simulation)
    simulation.run_for(5)
    names = list(simulation.nodes)
    Random(seed).shuffle(names)
    away, rest = names[:3], names[3:]
    down: set[bytes] = set()

    def look(node: Node) -> None:
        if node.name in rest and node.role is Role.PEER:
            assert node.engine is not None
            down.update(key for key, liveness in node.engine.failed().items() if liveness is Liveness.DOWN)

    simulation.partition(away, rest)
    simulation.run_for(4)
    simulation.on_view = look
    simulation.heal()
    simulation.run_for(15)
    # A client may have lost both its homes.
    assert down <= {
        simulation.key(name) for name, node in simulation.nodes.items() if name in away or node.role is Role.CLIENT
    }
    assert not simulation.violations()


def test_a_node_that_only_sends_is_given_up_and_comes_back() -> None:
    simulation = _mesh(5)
    simulation.partition(["p1", "p2", "p3", "p4"], ["p0"], one_way=True)
    simulation.run_for(10)
    assert all(simulation.view(name).members[simulation.key("p0")].liveness is Liveness.DOWN for name in ("p1", "p4"))
    simulation.heal()
    _settle(simulation)


def test_two_that_cannot_reach_each_other_are_not_down() -> None:
    simulation = _mesh(6)
    simulation.partition(["p0"], ["p1"])
    simulation.run_for(30)
    assert not simulation.violations()


def test_meshes_that_formed_apart_merge() -> None:
    simulation = Simulation(1, 6)
    simulation.partition(["p0", "p1", "p2"], ["p3", "p4", "p5"])
    simulation.start()
    simulation.run_for(60)
    assert len(simulation.view("p0").members) == 3
    assert len(simulation.view("p4").members) == 1, "nobody there to tell it of the others"
    simulation.heal()
    _settle(simulation, 45)
    assert len(simulation.view("p4").members) == 6


def test_a_mesh_of_one_publishes_after_five_seconds() -> None:
    simulation = Simulation(1, 1)
    simulation.start()
    simulation.run_for(4.9)
    assert not simulation.view("p0").members
    simulation.run_for(0.2)
    assert simulation.view("p0").leader == simulation.key("p0")


def test_a_lost_disk_does_not_take_a_number_back() -> None:
    simulation = _mesh(4)
    before = simulation.view("p1").members[simulation.key("p0")].number
    simulation.kill_host("p0")
    simulation.lose_disk("p0")
    simulation.run_for(10)
    simulation.start("p0")
    _settle(simulation)
    assert simulation.view("p1").members[simulation.key("p0")].number > before
    assert not simulation.nodes["p0"].alarms


def test_all_restart_at_once_from_what_they_stored() -> None:
    simulation = _mesh(5, 2)
    for name in simulation.running():
        simulation.kill_host(name)
    simulation.run_for(5)
    simulation.start("p4")
    assert len(simulation.view("p4").members) == 7, "it knows all members with nobody else alive"
    simulation.run_for(10)
    simulation.start("p0", "p1", "p2", "p3", "c0", "c1")
    _settle(simulation)


def test_one_key_in_use_twice_is_an_alarm_and_no_endless_race() -> None:
    simulation = _mesh(4)
    simulation.add("clone", Role.PEER, identity="p0")
    simulation.start("clone")
    simulation.run_for(120)
    alarms: list[Alarm] = simulation.nodes["p0"].alarms + simulation.nodes["clone"].alarms
    assert alarms and {alarm.kind for alarm in alarms} == {"cloned"}
    assert "p0.example:51820" in alarms[0].text and "clone.example:51820" in alarms[0].text
    number = simulation.view("p1").members[simulation.key("p0")].number
    simulation.run_for(120)
    assert simulation.view("p1").members[simulation.key("p0")].number == number


def test_who_leaves_is_gone_at_once_and_stays_gone_until_it_joins_again() -> None:
    simulation = _mesh(5, 1)
    simulation.call("p0", "leave")
    simulation.kill_process("p0")
    assert simulation.run_until(lambda: simulation.liveness("p0") == {None}, 2) <= 1
    simulation.run_for(120)
    assert simulation.liveness("p0") == {None}
    assert not simulation.violations()
    simulation.start("p0")
    _settle(simulation)
    assert simulation.liveness("p0") == {Liveness.ALIVE}


def test_who_is_down_for_the_forget_time_is_pruned_and_refutes_it_when_it_is_back() -> None:
    simulation = _mesh(4, forget=120.0)
    simulation.kill_host("p0")
    simulation.run_for(100)
    assert simulation.liveness("p0") == {Liveness.DOWN}
    simulation.run_for(40)
    assert simulation.liveness("p0") == {None}
    simulation.start("p0")
    _settle(simulation)
    assert simulation.liveness("p0") == {Liveness.ALIVE}


def test_halves_that_pruned_each_other_still_find_each_other() -> None:
    simulation = _mesh(6, forget=60.0)
    simulation.partition(["p0", "p1", "p2"], ["p3", "p4", "p5"])
    simulation.run_for(90)
    assert len(simulation.view("p0").members) == 3
    assert len(simulation.view("p5").members) == 3
    simulation.heal()
    _settle(simulation, 320)


def test_a_prune_of_a_live_member_is_refused() -> None:
    simulation = _mesh(3)
    with pytest.raises(ValueError, match="is not down"):
        simulation.call("p0", "prune", simulation.key("p1"))


def test_a_revoked_node_is_out_for_good() -> None:
    simulation = _mesh(5)
    simulation.call("p1", "revoke", make_revocation(authority_key(), MESH, simulation.key("p0")))
    simulation.run_for(2)
    assert all(simulation.key("p0") not in simulation.view(name).members for name in simulation.nodes)
    assert [alarm.kind for alarm in simulation.nodes["p0"].alarms] == ["revoked"]
    simulation.run_for(60)
    assert not any(simulation.key("p0") in simulation.engine(f"p{number}").links().values() for number in range(1, 5))
    simulation.kill_process("p0")
    simulation.lose_disk("p0")
    simulation.start("p0")
    simulation.run_for(30)
    assert all(simulation.key("p0") not in simulation.view(f"p{number}").members for number in range(1, 5))
    assert [alarm.kind for alarm in simulation.nodes["p0"].alarms] == ["revoked", "revoked"]


def test_those_whom_the_dead_accused_are_heard_about_the_dead() -> None:
    """All four are accused, some by those whom they accuse themselves: nobody is left whose word counts."""
    simulation = _mesh(4)
    for one, other in (("p0", "p1"), ("p0", "p3"), ("p1", "p3")):
        simulation.partition([one], [other])
    simulation.run_for(6)
    for name in ("p2", "p3"):
        simulation.kill_host(name)
    simulation.heal()
    simulation.run_for(15)
    assert not simulation.violations()


def test_where_many_packets_are_lost_nobody_accuses_anybody_for_long() -> None:
    """A link holds up what follows a lost packet: pings that all go one pace are what loads and stops it."""
    simulation = Simulation(3, 60, latency=0.025, loss=0.3)
    simulation.start()
    simulation.run_for(60)
    verdicts = [simulation.view("p0").digest]
    for _ in range(60):
        simulation.run_for(1)
        verdicts.append(simulation.view("p0").digest)
    changes = sum(before != after for before, after in pairwise(verdicts))
    assert changes <= 12, "a map that changes each second floods itself"
    assert not simulation.violations()


def test_a_process_that_stood_still_accuses_nobody() -> None:
    simulation = _mesh(5)
    simulation.freeze("p0")
    # Its host answers: after twice the patience another link is tried, and that dial fails.
    simulation.run_until(lambda: simulation.liveness("p0") == {Liveness.MUTE}, 12)
    simulation.run_for(10)
    seen: set[Liveness | None] = set()
    simulation.thaw("p0")
    for _ in range(50):
        simulation.run_for(0.1)
        for number in range(1, 5):
            seen |= simulation.liveness(f"p{number}")
    assert seen == {Liveness.ALIVE}
    assert not simulation.violations()


@pytest.mark.timeout(20)
def test_a_process_may_stand_still_in_the_middle_of_its_work() -> None:
    simulation = Simulation(1, 6)
    simulation.start()
    waiting = simulation.nodes["p0"].inbox
    simulation.run_until(lambda: bool(waiting), 5, 0.0001)
    simulation.freeze("p0")
    simulation.run_for(2)
    assert waiting
    simulation.thaw("p0")
    _settle(simulation)
    assert not waiting


def test_an_announced_restart_is_not_even_mute() -> None:
    simulation = _mesh(5)
    simulation.call("p0", "announce_restart")
    simulation.kill_process("p0")
    for _ in range(15):
        simulation.run_for(1)
        assert simulation.liveness("p0") == {Liveness.ALIVE}
    simulation.start("p0")
    _settle(simulation)
    simulation.call("p1", "announce_restart")
    simulation.kill_process("p1")
    simulation.run_for(25)
    assert simulation.liveness("p1") == {Liveness.MUTE}


def test_losses_delay_but_do_not_divide() -> None:
    simulation = Simulation(1, 6, 2, loss=0.05, latency=(0.02, 0.08))
    simulation.start()
    _settle(simulation)
    for _ in range(60):
        simulation.run_for(1)
        assert not [text for text in simulation.violations() if "down" in text]


def test_surplus_links_close_and_ring_links_stay() -> None:
    simulation = _mesh(20)
    simulation.run_for(60)
    counts = [len(simulation.engine(name).links()) for name in simulation.nodes]
    assert max(counts) <= 6
    assert min(counts) >= 2


_TRACE = """
import sys
from hashlib import sha256
from smegmesh.simulation.mesh import Simulation

simulation = Simulation(int(sys.argv[1]), 16, 2)
trace = sha256()
note = lambda source, target, frame: f"{simulation.clock.now} {source} {target} {frame.hex()};".encode()
simulation.frames.append(lambda *frame: trace.update(note(*frame)))
simulation.start()
simulation.run_for(10)
half = [f"p{number}" for number in range(8)]  # so many that not all who are down are dialled at once
simulation.partition([*half, "c0"], simulation.nodes.keys() - {*half, "c0"})
simulation.run_for(15)
simulation.heal()
simulation.kill_host("p1")
simulation.run_for(10)
print(trace.hexdigest())
"""


def _trace(seed: int, hash_seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _TRACE, str(seed)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_seed_gives_the_same_run_in_every_process() -> None:
    assert _trace(3, 1) == _trace(3, 2)
    assert _trace(3, 1) != _trace(4, 1)


@pytest.mark.parametrize(("peers", "clients"), [(1, 1), (1, 3), (2, 1), (2, 3), (3, 2)])
def test_small_meshes_with_clients(peers: int, clients: int) -> None:
    simulation = _mesh(peers, clients)
    for name in list(simulation.nodes):
        simulation.kill_host(name)
        simulation.run_for(6)
        alone = peers == 1 and name == "p0"
        assert alone or not simulation.violations()
        simulation.start(name)
        _settle(simulation)
        simulation.run_for(3)


def test_clients_that_start_long_before_their_peers() -> None:
    simulation = Simulation(1, 3, 2)
    simulation.start("c0", "c1")
    simulation.run_for(200)
    assert not simulation.view("c0").members
    simulation.start("p1")
    _settle(simulation, 12)
    simulation.start("p0", "p2")
    _settle(simulation, 12)
    entry = simulation.view("p0").members[simulation.key("c0")].entry
    assert entry.home is not None


@pytest.mark.parametrize("peers", [1, 2])
def test_who_is_cut_off_for_good_sleeps(peers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = _mesh(peers, 1)
    for number in range(peers):
        simulation.kill_host(f"p{number}")
    woken = Counter[int]()
    timer = Engine.timer

    def counted(engine: Engine, now: float) -> None:
        woken[int(now) // 60] += 1
        timer(engine, now)

    monkeypatch.setattr(Engine, "timer", counted)
    simulation.run_for(1800)
    assert max(woken.values()) <= 120, "in any minute"


def test_numbers_that_are_used_up_are_an_alarm_and_no_crash() -> None:
    simulation = _mesh(2)
    node = simulation.nodes["p0"]
    simulation.kill_process("p0")
    node.disk = Disk(replace(node.disk.read(), number=MAX_NUMBER))
    simulation.start("p0")
    simulation.run_for(60)
    assert [alarm.kind for alarm in node.alarms] == ["refused"]
    assert "new key" in node.alarms[0].text


@pytest.mark.parametrize("seed", [24, 30])
def test_a_churn_ends_with_everybody_alive(seed: int) -> None:
    """Who is to die after so many events more dies no more when all are started."""
    run = _Run(setup.Setup(setup.Kind.CHURN, 3, duration=10.0, seed=seed), lambda _share, _text: None)
    assert run.outcome().converged
    assert len(run.simulation.running()) == 3
