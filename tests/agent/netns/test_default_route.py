"""The default route through exits, on a host that has one of its own: who leaves by which, and what stays as it was."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator

import pytest
from agents import Agent, Fits, Operator, agents, eventually
from namespaces import Lab, advertise_router
from namespaces import lab as open_lab
from sites import Flows, Make, Stream, ask, preferring, route, serve

pytestmark = pytest.mark.netns

DEFAULT = "::/0"
COVERING = "2001:db8::/33"  # the exits' own addresses, and the host's
SERVER = "2001:db8:ffff::80"
OUTSIDE = "2001:db8:ffff::99"
OWN = "2001:db8:a::2"  # the host's
LIMIT = 3.0  # seconds until new flows are answered after an exit died


class Internet:
    """x1 and x2 lead to the internet, and so does the router of `host`, which prefers x1 by its routing.

    The host knows its router from its advertisements, and the exits' IPv6 endpoints through it alone.
    """

    def __init__(self, lab: Lab, make: Make) -> None:
        self.lab = lab
        self.exits = {name: make(name, prefixes=(DEFAULT, COVERING)) for name in ("x1", "x2")}
        self.host = make("host", lambda key: all(fits(key) for fits in self._preferences()))
        self.router = lab.host("router")
        self._furnish()
        self._start()

    def _preferences(self) -> list[Fits]:
        return [preferring(prefix, *self.exits.values()) for prefix in (DEFAULT, COVERING)]

    def _furnish(self) -> None:
        lab = self.lab
        server, self.outside = lab.host("server"), lab.host("outside")
        self.host.host.run("ip", "link", "set", "eth0", "down")
        lab.lan(self.host.host, "home", f"{OWN}/64")
        lab.lan(self.router, "home", "2001:db8:a::1/64")
        for number, host in enumerate([*(exit_.host for exit_ in self.exits.values()), self.router], 1):
            lab.lan(host, "net", f"2001:db8:ffff::{number}/64")
        for host, address in ((server, SERVER), (self.outside, OUTSIDE)):
            host.run("ip", "link", "set", "eth0", "down")
            lab.lan(host, "net", f"{address}/64")
            host.run("ip", "-6", "route", "add", "2001:db8:a::/64", "via", "2001:db8:ffff::3")
        for exit_ in self.exits.values():
            exit_.host.run("ip", "-6", "route", "add", "2001:db8:a::/64", "via", self.router.underlay6)
        self.router.run("sysctl", "-w", "net.ipv6.conf.all.forwarding=1")
        serve(server, SERVER)
        serve(self.host.host, OWN)
        eventually(self._learns, 10, "the host knows its router")
        eventually(lambda: ask(self.host.host, SERVER) == OWN, 10, "the router leads to the internet")

    def _learns(self) -> bool:
        advertise_router(self.router, "home", "2001:db8:a::", addresses=False)
        return "proto ra" in self.default_route()

    def default_route(self) -> str:
        return self.host.host.run("ip", "-6", "route", "show", "default")

    def _start(self) -> None:
        known = [exit_.host for exit_ in self.exits.values()]
        for exit_ in self.exits.values():
            exit_.declare("peer", known, ipv6=True, advertise=[DEFAULT, COVERING])
        self.accept()
        for agent in self.agents:
            agent.start()

    def accept(self, *, default: bool = True) -> None:
        """Have the host take what the exits offer."""
        known = [exit_.host for exit_ in self.exits.values()]
        accepting = {"accept_default": default, "accept_routes": [COVERING]}
        self.host.declare("peer", known, ipv6=True, endpoint=OWN, **accepting)

    @property
    def agents(self) -> list[Agent]:
        return [*self.exits.values(), self.host]

    def is_settled(self) -> bool:
        return (
            all((mesh := agent.mesh()) and mesh["members"]["alive"] == 3 for agent in self.agents)
            and self.left_by() == "x1"
            and route(self.host, DEFAULT) == route(self.host, COVERING) == "x1"
        )

    def left_by(self) -> str | None:
        """By whom the host leaves, as a server sees it."""
        return self.name_of(ask(self.host.host, SERVER))

    def name_of(self, address: str | None) -> str | None:
        return {"2001:db8:ffff::1": "x1", "2001:db8:ffff::2": "x2"}.get(address or "", address)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    with open_lab() as lab, agents(lab, tmp_path_factory.mktemp("default"), Operator()) as make:
        yield Internet(lab, make)


@pytest.fixture
def internet(built: Internet) -> Iterator[Internet]:
    """As at the beginning; whatever a test pulled out is put in again afterwards."""
    eventually(built.is_settled, 40, "the host leaves by the exit that it prefers")
    yield built
    for exit_ in built.exits.values():
        built.lab.plug(exit_.host, in_=True)


def test_what_a_host_had_of_its_own_stays(internet: Internet) -> None:
    host = internet.host.host
    assert "proto ra" in internet.default_route()
    assert host.run("sysctl", "-n", "net.ipv6.conf.all.forwarding") == "1\n"
    assert host.run("sysctl", "-n", "net.ipv6.conf.home.accept_ra") == "2\n"
    host.run("ip", "-6", "route", "delete", "default")
    eventually(internet._learns, 10, "it still listens to its router")
    assert internet.left_by() == "x1"


def test_who_reaches_it_from_outside_is_answered_there(internet: Internet) -> None:
    assert internet.outside.pings(OWN, 3)
    assert ask(internet.outside, OWN) == OUTSIDE
    stream = Stream(internet.outside, OWN)
    assert ask(internet.router, OWN) == "2001:db8:a::1", "a neighbour"
    assert stream.end()["retransmitted"] == 0


def test_what_has_the_hosts_own_address_goes_its_own_way(internet: Internet) -> None:
    """It would be refused at the other end of a tunnel. Who began it, and when, is all the same."""
    host = internet.host.host
    internet.accept(default=False)
    eventually(lambda: internet.left_by() == OWN, 10, "the host leaves by its router")
    before = Stream(host, SERVER)
    internet.accept()
    eventually(lambda: internet.left_by() == "x1", 10, "the host leaves by the exit")
    assert "1 received" in host.run("ping", "-c1", "-W1", "-I", OWN, OUTSIDE, check=False)
    assert before.end()["longest"] < 1


def test_tunnels_and_links_stay_out_of_the_prefixes_that_cover_them(internet: Internet) -> None:
    host, exits = internet.host, internet.exits
    host.host.run("nft", "-f", "-", stdin=_WATCH)
    flows = Flows(host.host, SERVER)
    host.stop(signal.SIGKILL)
    host.start()
    eventually(internet.is_settled, 25, "all is as it was")
    host.stop()
    host.start()
    eventually(internet.is_settled, 25, "all is as it was")
    assert flows.end().lost == 0
    for exit_ in exits.values():
        assert host.host.pings(exit_.host.underlay6, 3), "what is not the agent's goes through the tunnel"
    watched = host.host.run("nft", "list", "table", "inet", "watch")
    assert [count == "0" for count in re.findall(r"counter packets (\d+)", watched)] == [True, True, False], watched
    host.host.run("nft", "delete", "table", "inet", "watch")


def test_a_dead_exit_gives_way_to_the_other(internet: Internet) -> None:
    flows, stream = Flows(internet.host.host, SERVER), Stream(internet.outside, OWN)
    since = time.monotonic()
    internet.lab.plug(internet.exits["x1"].host, in_=False)
    eventually(lambda: internet.left_by() == "x2", 10, "the other one takes over")
    told = flows.end()
    print(f"the default route is back after {told.back(since):.2f} s")
    assert [internet.name_of(seen) for seen in told.seen()] == ["x1", "x2"]
    assert told.back(since) <= LIMIT
    assert ask(internet.outside, OWN) == OUTSIDE
    assert stream.end()["longest"] < 1


_WATCH = """
table inet watch {
    chain out {
        type filter hook postrouting priority 300;
        oifname "smeg-prod" udp dport 51820 counter
        oifname "smeg-prod" tcp dport 4000 counter
        oifname "smeg-prod" icmpv6 type echo-request counter
    }
}
"""
