"""Ports in a firewall that drops, with real packets; and what others do to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import pytest
from agents import Agent, eventually
from inside import Inside
from namespaces import Lab
from test_agents import complete

from smegmesh.dataplane.opening import Opened, Port, open_ports
from smegmesh.dataplane.plane import PlaneError

pytestmark = pytest.mark.netns

INPUT, OLD_INPUT = "inet filter input", "ip filter INPUT"
LINKS, WIREGUARD = Port("tcp", 4000), Port("udp", 51820)
CLOSED = """\
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        ip6 nexthdr icmpv6 accept
        ct state established accept
        drop comment "smegmeshes are no matter of the agent's"
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
    }
}
"""
CLOSED_AS_WELL = "table ip filter { chain INPUT { type filter hook input priority 0; policy drop; }; }\n"
LISTEN = """
import socket
listener = socket.create_server(("0.0.0.0", 4000))
print("ready", flush=True)
listener.accept()
"""
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 4000), 1)"


class Walled:
    """A host behind a firewall, and one that wants in."""

    def __init__(self, lab: Lab) -> None:
        self.host, self.other = lab.host("walled"), lab.host("other")
        self.load(CLOSED)

    def load(self, ruleset: str) -> None:
        self.host.run("nft", "-f", "-", stdin=ruleset)

    def rules(self) -> str:
        return self.host.run("nft", "list", "ruleset")

    def lets_in(self) -> bool:
        listener = self.host.start("python3", "-c", LISTEN)
        assert listener.stdout is not None and listener.stdout.readline() == "ready\n"
        try:
            self.other.run("python3", "-c", CONNECT, self.host.underlay)
        except AssertionError:
            return False
        finally:
            listener.kill()
            listener.wait()
        return True


@pytest.fixture
def walled(lab: Lab) -> Walled:
    return Walled(lab)


@pytest.fixture
def inside(walled: Walled) -> Iterator[Inside]:
    with Inside(walled.host) as opened:
        yield opened


def open_(inside: Inside, ports: Collection[Port], chains: Sequence[str] = (INPUT,)) -> Opened:
    return inside.call(open_ports, chains, ports)


def test_what_is_opened_lets_in_and_what_is_closed_does_not(walled: Walled, inside: Inside) -> None:
    before = walled.rules()
    assert not walled.lets_in()
    assert open_(inside, [WIREGUARD, LINKS]).changed == (f"{INPUT}: tcp 4000 is open", f"{INPUT}: udp 51820 is open")
    assert walled.lets_in()
    assert open_(inside, [WIREGUARD, LINKS]) == Opened(), "nothing is done twice"
    moved = open_(inside, [LINKS, Port("udp", 51821)])
    assert moved.changed == (f"{INPUT}: `smegmesh udp 51820` is gone", f"{INPUT}: udp 51821 is open")
    assert walled.lets_in()
    assert len(open_(inside, []).changed) == 2
    assert walled.rules() == before
    assert not walled.lets_in()


def test_what_others_do_to_it_is_mended(walled: Walled, inside: Inside) -> None:
    open_(inside, [LINKS])
    walled.load(CLOSED)
    assert open_(inside, [LINKS]).changed == (f"{INPUT}: tcp 4000 is open",)
    walled.host.run("nft", "insert", "rule", *INPUT.split(), "tcp", "dport", "4000", "drop", "comment", '"other"')
    walled.host.run("nft", "add", "rule", *INPUT.split(), "accept", "comment", '"smegmesh tcp 4000"')
    assert open_(inside, [LINKS]).changed == (f"{INPUT}: `smegmesh tcp 4000` is gone",)
    assert "other" in walled.rules() and walled.rules().count("smegmesh tcp") == 1


def test_a_chain_that_is_named_no_more_is_left_as_it_was(walled: Walled, inside: Inside) -> None:
    walled.load(CLOSED_AS_WELL)
    before = walled.rules()
    assert open_(inside, [LINKS]).drops == (OLD_INPUT,)
    assert not open_(inside, [LINKS], [INPUT, OLD_INPUT]).drops
    assert walled.rules().count('"smegmesh tcp 4000"') == 2
    assert open_(inside, [LINKS], [OLD_INPUT]).drops == (INPUT,)
    assert walled.rules().count('"smegmesh tcp 4000"') == 1
    assert len(open_(inside, [], []).changed) == 1
    assert walled.rules() == before


def test_a_chain_that_is_none_is_told_with_those_that_are(walled: Walled, inside: Inside) -> None:
    before = walled.rules()
    with pytest.raises(PlaneError, match=r"no chain `inet filter in` .*smegmesh_firewall_chains, of inet filter input"):
        open_(inside, [LINKS], ["inet filter in"])
    with pytest.raises(PlaneError, match="no chain `inet filter forward`"):
        open_(inside, [LINKS], ["inet filter forward"])
    assert walled.rules() == before
    walled.load("flush ruleset\n")
    assert open_(inside, [LINKS], ["inet filter in"]) == Opened(), "a host that lets all in has nothing to open"


def test_agents_behind_firewalls_find_each_other_once_one_opens_its_ports(make: Callable[[str], Agent]) -> None:
    one, two = make("p1"), make("p2")
    for agent in (one, two):
        agent.host.run("nft", "-f", "-", stdin=CLOSED)
    before = one.host.run("nft", "list", "ruleset")
    one.set_up({"firewall": {"chains": [OLD_INPUT]}})
    for agent in (one, two):
        agent.declare("peer", [one.host, two.host])
        agent.start()
    eventually(lambda: complete(one, 1) and complete(two, 1), 20, "both are up, and alone")
    assert any(f"no chain `{OLD_INPUT}`" in problem for problem in one.client().status()["problems"])
    assert "smegmesh tcp" not in one.host.run("nft", "list", "ruleset")
    one.stop()
    one.set_up({"firewall": {"chains": [INPUT]}})
    one.start()
    eventually(lambda: complete(one, 2) and complete(two, 2), 30, "both know each other")
    assert not any("smegmesh_firewall_chains" in problem for problem in one.client().status()["problems"])
    one.stop()
    assert "smegmesh udp 51820" in one.host.run("nft", "list", "ruleset"), "its tunnels carry on"
    one.start()
    eventually(lambda: one.mesh() is not None, 20, "it answers")
    one.apply({"state": "absent", "owner": "role", "mesh": "prod"})
    assert one.host.run("nft", "list", "ruleset") == before, "all is as it was"
