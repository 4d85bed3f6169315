"""Exits to a subnet, with packets: who leaves by which, and what is lost when one fails."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Iterator
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


class Site:
    """x1, x2 and x3 lead to a subnet; r1, r2, r3 prefer one each, r4 the first; c is a client of r4, and of r1."""

    def __init__(self, lab: Lab, make: Make) -> None:
        self.lab = lab
        self.exits = {name: make(name, prefixes=(SUBNET,)) for name in ("x1", "x2", "x3")}
        wanted = {"r1": "x1", "r2": "x2", "r3": "x3", "r4": "x1"}
        self.receivers = {
            name: make(name, preferring(SUBNET, self.exits.values(), self.exits[exit_]))
            for name, exit_ in wanted.items()
        }
        homes = [self.receivers[name].node_key for name in ("r4", "r1")]
        peers = [agent.node_key for agent in (*self.exits.values(), *self.receivers.values())]
        self.client = make("c", lambda key: sorted(peers, key=lambda peer: weight(key, peer))[:2] == homes)
        self.usual = {**wanted, "c": "x1"}
        self._furnish()
        self._start()

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
        for receiver in self.receivers.values():
            receiver.declare("peer", bootstrap, accept_routes=[SUBNET])
        homes = [self.receivers[name].host for name in ("r4", "r1")]
        self.client.declare("client", homes, accept_routes=[SUBNET])
        for agent in self.agents.values():
            agent.start()
        self.settle(40)

    def settle(self, within: float = 25) -> float:
        """Wait until all is as at the beginning."""
        return eventually(self.is_settled, within, f"everybody leaves by {self.usual}, not {self.left_by()}")

    def is_settled(self) -> bool:
        count = len(self.agents)
        return (
            all((mesh := agent.mesh()) and mesh["members"]["alive"] == count for agent in self.agents.values())
            and self.routes() == self.usual
            and self.left_by() == self.usual
        )

    def routes(self) -> dict[str, str | None]:
        """By whom everybody leaves, as routing says; the client's packets go as its home's."""
        found = {name: route(receiver, SUBNET) for name, receiver in self.receivers.items()}
        return found | {"c": found.get((self.client.mesh() or {}).get("home") or "")}

    def left_by(self, address: str = SERVER) -> dict[str, str | None]:
        """By whom everybody leaves, as the server sees it."""
        return {name: self.name_of(ask(agent.host, address)) for name, agent in self.users.items()}

    def name_of(self, address: str | None) -> str | None:
        return None if address is None else f"x{address.removeprefix('2001:db8:10::')}"

    def users_of(self, exit_: str) -> list[str]:
        return [name for name, used in self.usual.items() if used == exit_]

    def plug(self, exit_: str, *, in_: bool) -> None:
        self.lab.plug(self.exits[exit_].host, in_=in_)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_lab() as lab, agents(lab, tmp_path_factory.mktemp("exits"), Operator()) as make:
        yield Site(lab, make)


@pytest.fixture
def site(built: Site) -> Iterator[Site]:
    """The site as at the beginning; whatever a test pulled out or dropped is mended afterwards."""
    built.settle()
    yield built
    for name, exit_ in built.exits.items():
        built.plug(name, in_=True)
        exit_.host.run("nft", "destroy", "table", "inet", "cut", check=False)


def test_everybody_leaves_by_the_exit_that_routing_says(site: Site) -> None:
    assert site.routes() == site.left_by() == site.usual
    bystander = next(iter(site.exits.values()))
    assert ask(bystander.host, SERVER) == "2001:db8:10::1", "an exit itself goes straight"
