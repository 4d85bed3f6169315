"""Exits to a subnet, with packets: who leaves by which, and what is lost when one fails."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle, islice
from pathlib import Path

import pytest
from agents import Agent, Operator, Pinging, agents, eventually
from namespaces import Lab
from namespaces import lab as open_lab
from sites import Flows, Make, Stream, ask, preferring, route, serve

from smegmesh.gossip.homes import weight

pytestmark = pytest.mark.netns

SUBNET = "2001:db8:10::/48"
NARROW = "2001:db8:10:5::/64"
SERVER = "2001:db8:10::80"
NARROW_SERVER = "2001:db8:10:5::80"
TARGET = "2001:db8:10::99"  # what an exit looks after
LIMIT = 3.0  # seconds until new flows of the users of a dead exit are answered, at the 99th percentile


class Site:
    """x1, x2 and x3 lead to a subnet; r1, r2, r3 prefer one each, r4 the first, too; c is a client of r4, and of r1.

    The interface of r2 takes its time to come up.
    """

    def __init__(self, lab: Lab, make: Make, directory: Path) -> None:
        self.lab = lab
        self._slow = directory / "slow"
        self._slow.write_text("#!/bin/sh\nsleep 2.5\n")
        self._slow.chmod(0o755)
        self.exits = {name: make(name, prefixes=(SUBNET,)) for name in ("x1", "x2", "x3")}
        orders = {"r1": "x1 x2 x3", "r2": "x2 x1 x3", "r3": "x3 x1 x2", "r4": "x1 x3 x2"}
        self.receivers = {
            name: make(name, preferring(SUBNET, *(self.exits[exit_] for exit_ in order.split())))
            for name, order in orders.items()
        }
        homes = [self.receivers[name].node_key for name in ("r4", "r1")]
        peers = [agent.node_key for agent in (*self.exits.values(), *self.receivers.values())]
        self.client = make("c", lambda key: sorted(peers, key=lambda peer: weight(key, peer))[:2] == homes)
        self._usual = {name: order.split()[0] for name, order in orders.items()}
        self._furnish()
        self._start()

    @property
    def usual(self) -> dict[str, str]:
        """By whom everybody leaves while nothing fails; the client as its home, whichever is that by now."""
        return {**self._usual, "c": self._usual.get(self._home(), self._home())}

    def _home(self) -> str:
        return (self.client.mesh() or {}).get("home") or ""

    @property
    def users(self) -> dict[str, Agent]:
        return {**self.receivers, "c": self.client}

    @property
    def agents(self) -> dict[str, Agent]:
        return {**self.exits, **self.users}

    def _furnish(self) -> None:
        """The servers, which know of nobody but their neighbours."""
        for number, exit_ in enumerate(self.exits.values(), 1):
            self.lab.lan(exit_.host, "site", f"2001:db8:10::{number}/48")
        server = self.lab.host("server")
        server.run("ip", "link", "set", "eth0", "down")
        self.lab.lan(server, "site", f"{SERVER}/48", f"{NARROW_SERVER}/48", f"{TARGET}/48")
        serve(server, SERVER, NARROW_SERVER)
        self.server = server

    def _start(self) -> None:
        bootstrap = [exit_.host for exit_ in self.exits.values()]
        self.bootstrap = bootstrap
        for exit_ in self.exits.values():
            exit_.declare("peer", bootstrap, advertise=[SUBNET])
        for name, receiver in self.receivers.items():
            hooks = {"pre_up": [str(self._slow)]} if name == "r2" else {}
            receiver.declare("peer", bootstrap, accept_routes=[SUBNET], **hooks)
        homes = [self.receivers[name].host for name in ("r4", "r1")]
        self.client.declare("client", homes, accept_routes=[SUBNET])
        peers = [agent for agent in self.agents.values() if agent is not self.client]
        for agent in peers:
            agent.start()
        eventually(lambda: all(self._knows(agent, len(peers)) for agent in peers), 30, "the peers know each other")
        self.client.start()  # its homes are there, so it takes these
        self.settle(30)

    def _knows(self, agent: Agent, count: int) -> bool:
        mesh = agent.mesh()
        return mesh is not None and mesh["members"]["alive"] == count

    def settle(self, within: float = 25) -> float:
        """Wait until all is as at the beginning."""
        try:
            return eventually(self.is_settled, within, f"everybody leaves by {self.usual}")
        except AssertionError:
            print(f"routes {self.routes()}, left by {self.left_by()}")
            for name, agent in self.agents.items():
                print(name, {member["name"]: member["liveness"] for member in agent.members().values()}, agent.mesh())
            raise

    def is_settled(self) -> bool:
        return (
            all(self._knows(agent, len(self.agents)) for agent in self.agents.values())
            and self.routes() == self._usual
            and self.left_by() == self.usual
        )

    def routes(self) -> dict[str, str | None]:
        """By whom the receivers leave, as routing says."""
        return {name: route(receiver, SUBNET) for name, receiver in self.receivers.items()}

    def left_by(self, address: str = SERVER) -> dict[str, str | None]:
        """By whom everybody leaves, as the server sees it."""
        return {name: self.name_of(ask(agent.host, address)) for name, agent in self.users.items()}

    def name_of(self, address: str | None) -> str | None:
        return None if address is None else f"x{address.removeprefix('2001:db8:10::')}"

    def users_of(self, exit_: str) -> list[str]:
        """Of those that use it as an exit alone: a client whose home it is has more to look for."""
        home = self._home()
        return [name for name, used in self.usual.items() if used == exit_ and not (name == "c" and home == exit_)]

    def plug(self, exit_: str, *, in_: bool) -> None:
        self.lab.plug(self.exits[exit_].host, in_=in_)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("exits")
    with open_lab() as lab, agents(lab, directory, Operator()) as make:
        yield Site(lab, make, directory)


@pytest.fixture
def site(built: Site) -> Iterator[Site]:
    """The site as at the beginning; whatever a test pulled out or dropped is mended afterwards."""
    built.settle()
    yield built
    for agent in built.agents.values():
        built.lab.plug(agent.host, in_=True)
        agent.host.run("nft", "delete", "table", "inet", "cut", check=False)
    built.server.run("ip", "address", "replace", f"{TARGET}/48", "dev", "site", "nodad")


def test_everybody_leaves_by_the_exit_that_routing_says(site: Site) -> None:
    assert site.left_by() == site.usual == {**site.routes(), "c": site.usual["c"]}
    bystander = next(iter(site.exits.values()))
    assert ask(bystander.host, SERVER) == "2001:db8:10::1", "an exit itself goes straight"


def test_no_exit_is_passed_over_before_the_interface_stands(site: Site) -> None:
    assert "passed over" not in site.receivers["r2"].log.read_text()


@dataclass(frozen=True)
class Kill:
    """What a silent death of an exit did: seconds until new flows of each of its users were answered."""

    exit: str
    back: dict[str, float]


@contextmanager
def untouched(site: Site, users: Iterable[str]) -> Iterator[None]:
    """Meanwhile these lose nothing, in flows that begin and in one that goes on, and stay with their exit."""
    began = [
        (name, len(user.log.read_text()), Flows(user.host, SERVER), Stream(user.host, SERVER))
        for name, user in ((name, site.users[name]) for name in users)
    ]
    yield
    for name, logged, flows, stream in began:
        told = flows.end()
        print(name, site.users[name].log.read_text()[logged:])
        assert [site.name_of(seen) for seen in told.seen()] == [site.usual[name]]
        assert told.lost == 0, [when for when, seen in told.flows if seen is None]
        went_on = stream.end()
        assert went_on["sent"] > 10
        assert went_on["longest"] < 1, went_on


def kill(site: Site, victim: str) -> Kill:
    """Pull an exit's cable out until its users are elsewhere, and put it back in."""
    users = site.users_of(victim)
    flows = {name: Flows(site.users[name].host, SERVER) for name in users}
    since = time.monotonic()
    site.plug(victim, in_=False)
    print(f"{datetime.now():%H:%M:%S.%f} the cable of {victim} is out")
    eventually(lambda: has_left(site, users, victim), 15, f"the users of {victim} have left it")
    told = {name: flow.end() for name, flow in flows.items()}
    site.plug(victim, in_=True)
    return Kill(victim, {name: round(each.back(since), 2) for name, each in told.items()})


def has_left(site: Site, users: Iterable[str], exit_: str) -> bool:
    """Whether all of these leave by another exit."""
    return all(site.name_of(ask(site.users[name].host, SERVER)) not in (None, exit_) for name in users)


def print_kills(kills: list[Kill]) -> None:
    """A line for each, and the distribution over all flows."""
    for each in kills:
        print(json.dumps({"exit": each.exit, "seconds": each.back}))
    seconds = sorted(value for each in kills for value in each.back.values())
    places = {"median": 0.5, "p90": 0.9, "p99": 0.99}
    found = {name: seconds[min(int(len(seconds) * place), len(seconds) - 1)] for name, place in places.items()}
    print(json.dumps({"kills": len(kills), "flows": len(seconds), **found, "most": seconds[-1]}))


def test_silent_deaths_move_their_own_users_alone_and_these_return(site: Site) -> None:
    with untouched(site, ["r3"]):
        with untouched(site, ["r2"]):
            kills = [kill(site, "x1")]
        kills.append(kill(site, "x2"))  # whether the first is back or not
        site.settle()
    print_kills(kills)
    assert max(value for each in kills for value in each.back.values()) <= LIMIT


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_twenty_silent_deaths(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    kills = []
    for victim in islice(cycle(site.exits), 20):
        bystanders = [name for name in site.receivers if name not in site.users_of(victim)]
        with untouched(site, bystanders[:2]):
            kills.append(kill(site, victim))
            site.settle()
    with capsys.disabled():
        print_kills(kills)
    seconds = sorted(value for each in kills for value in each.back.values())
    assert seconds[int(len(seconds) * 0.99)] <= LIMIT


def test_an_exit_whose_agent_is_killed_loses_no_packet(site: Site) -> None:
    victim, users = site.exits["x1"], ("r1", "r4", "c")
    pings = [Pinging(site.users[name], SERVER) for name in users]
    with untouched(site, ["r1", "r2"]):
        victim.stop(signal.SIGKILL)
        eventually(lambda: site.receivers["r1"].members()["x1"]["liveness"] == "mute", 15, "it is mute")
        victim.start()
        site.settle()
        assert [ping.lost() for ping in pings] == [0, 0, 0]


def test_exits_without_tunnels_or_without_what_they_look_after_are_left(site: Site) -> None:
    """Of x2 only WireGuard's packets are dropped; x3 does not reach its health target any more."""
    cut_off, health = site.exits["x2"], {"target": TARGET, "interval": 0.5, "misses": 3}
    site.exits["x3"].declare("peer", site.bootstrap, advertise=[SUBNET], health=health)
    site.settle()
    with untouched(site, ["r1"]):
        flows = [Flows(site.users[name].host, SERVER) for name in ("r2", "r3")]
        since = time.monotonic()
        cut_off.host.run("nft", "-f", "-", stdin=_CUT)
        site.server.run("ip", "address", "delete", f"{TARGET}/48", "dev", "site")
        eventually(lambda: set(site.left_by().values()) == {"x1"}, 10, "everybody leaves by what is left")
        seconds = [each.end().back(since) for each in flows]
        print(f"back after {seconds} s: without tunnels, without the health target")
        assert max(seconds) <= 5
        assert site.receivers["r2"].members()["x2"]["liveness"] == "alive"
        assert "x3" in site.receivers["r3"].members()
        cut_off.host.run("nft", "delete", "table", "inet", "cut")
        site.server.run("ip", "address", "add", f"{TARGET}/48", "dev", "site", "nodad")
        site.settle()


@pytest.mark.parametrize("seconds", [2.6, 4.0, 8.0])
def test_a_receiver_that_is_cut_off_itself_does_not_blame_its_exit(site: Site, seconds: float) -> None:
    """For longer than it takes to pass over an exit, and than to find everybody down."""
    receiver, log = site.receivers["r2"].host, site.receivers["r2"].log
    before = len(log.read_text())
    flows, stream = Flows(receiver, SERVER), Stream(receiver, SERVER)
    with untouched(site, ["r1"]):
        print(time.monotonic(), "out")
        site.lab.plug(receiver, in_=False)
        time.sleep(seconds)  # the outage itself
        site.lab.plug(receiver, in_=True)
        site.settle()
    assert [site.name_of(seen) for seen in flows.end().seen()] == ["x2"]
    assert stream.end()["longest"] > seconds - 0.5, "the connection outlived it"
    assert "passed over" not in log.read_text()[before:]


def test_a_more_specific_prefix_wins_while_its_exit_lives(site: Site) -> None:
    exit_, receiver = site.exits["x3"], site.receivers["r1"]
    exit_.declare("peer", site.bootstrap, advertise=[SUBNET, NARROW])
    eventually(lambda: set(site.left_by(NARROW_SERVER).values()) == {"x3"}, 10, "all go there by x3")
    assert site.left_by() == site.usual
    narrow, wide = Flows(receiver.host, NARROW_SERVER), Flows(site.users["r3"].host, SERVER)
    since = time.monotonic()
    site.plug("x3", in_=False)
    eventually(lambda: has_left(site, ["r3"], "x3"), 10, "its users have left it")
    eventually(lambda: ask(receiver.host, NARROW_SERVER) is not None, 10, "the wider one takes over")
    told = narrow.end()
    assert [site.name_of(seen) for seen in told.seen()] == ["x3", "x1"]
    assert max(told.back(since), wide.end().back(since)) <= LIMIT
    eventually(lambda: not offers(receiver, NARROW), 10, "the prefix is withdrawn")


def offers(agent: Agent, prefix: str) -> bool:
    """Whether routing knows any way to a prefix."""
    return any(route["prefix"] == prefix for route in (agent.mesh() or {}).get("routes", []))


_CUT = """
table inet cut {
    chain in { type filter hook input priority -300; udp dport 51820 drop; }
    chain out { type filter hook output priority -300; udp sport 51820 drop; }
}
"""
