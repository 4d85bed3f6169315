"""Clients behind one NAT: they reach all, and are reached again when it maps them anew or their home dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from agents import Agent, Operator, Pinging, agents, eventually
from namespaces import Lab
from namespaces import lab as open_lab
from test_agents import all_reach_all, complete

from smegmesh.identity.keys import encode_key

pytestmark = pytest.mark.netns

PEERS, CLIENTS = ("p1", "p2"), ("c1", "c2")
BACK = 5.0  # seconds within which traffic is back


class Scene:
    """Two peers that are reached in both address families, and two clients behind one NAT; all reach all."""

    def __init__(self, lab: Lab, make: Callable[..., Agent]) -> None:
        self.lab = lab
        self.router = lab.router("nat")
        self.mesh = {name: make(name) for name in PEERS} | {name: make(name, router=self.router) for name in CLIENTS}
        self.bootstrap = [self.mesh[name].host for name in PEERS]
        for name in PEERS:
            six = sixth(self.mesh[name])
            self.mesh[name].declare("peer", self.bootstrap, endpoint=six, endpoint_discovery="outgoing")
        for name in CLIENTS:
            self.mesh[name].declare("client", self.bootstrap)
        for agent in self.mesh.values():
            agent.start()
        eventually(self.complete, 30, "all agents know all others")
        eventually(lambda: all_reach_all(self.mesh), 20, "all hosts ping all others")

    def complete(self) -> bool:
        return all(complete(agent, len(self.mesh)) for agent in self.mesh.values())

    def homes(self, client: str) -> tuple[Agent, Agent]:
        """The home and the backup of a client, once it has both."""
        agent = self.mesh[client]
        eventually(lambda: (status := agent.mesh()) and status["home"] and status["backup"], 20, "it has two homes")
        status = agent.mesh()
        assert status is not None
        return self.mesh[status["home"]], self.mesh[status["backup"]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One for all tests, each of which leaves it as it can be used on: most of the time goes into making it."""
    with open_lab() as lab, agents(lab, tmp_path_factory.mktemp("nat"), Operator()) as make:
        yield Scene(lab, make)


def sixth(agent: Agent) -> str:
    """Its IPv6 address in the underlay."""
    return f"2001:db8::{int(agent.host.underlay.rpartition('.')[2]):x}"


def endpoint(agent: Agent, other: Agent) -> tuple[str, int]:
    """Where an agent's WireGuard sends what is for another's."""
    for line in agent.host.run("wg", "show", "smeg-prod", "dump").splitlines()[1:]:
        key, _secret, where, *_ = line.split("\t")
        if key == encode_key(other.node_key):
            host, _colon, port = where.rpartition(":")
            return host, int(port)
    raise AssertionError("no such WireGuard peer")


def test_the_figures_of_a_client_are_those_of_the_tunnel_that_leads_to_it(scene: Scene) -> None:
    home, backup = scene.homes("c1")
    figures = ("received", "sent")
    seen = backup.members()
    carrier = seen[home.host.name]
    assert seen["c1"]["through"] == home.host.name and carrier["through"] is None
    assert [seen["c1"][name] for name in figures] == [carrier[name] for name in figures]
    assert home.members()["c1"]["through"] is None
    before = home.members()["c1"]
    home.host.pings(scene.mesh["c1"].address, count=5)
    after = home.members()["c1"]
    # A data packet of WireGuard has 32 bytes more than the one of 104 in it, which is filled up to 112.
    assert all(5 * 144 <= after[name] - before[name] < 5 * 144 + 3000 for name in figures)
    own = scene.mesh["c1"].members()
    assert {name: own[name]["through"] for name in (*PEERS, *CLIENTS)} == {
        home.host.name: None,
        backup.host.name: home.host.name,
        "c1": None,
        "c2": home.host.name,
    }


def mapped(agent: Agent, client: Agent, outside: str, ports: range) -> bool:
    host, port = endpoint(agent, client)
    return host == outside and port in ports


def test_each_host_uses_an_endpoint_of_a_family_that_it_has(scene: Scene) -> None:
    one, two, client = (scene.mesh[name] for name in ("p1", "p2", "c1"))
    for agent in scene.mesh.values():
        assert agent.members()["p1"]["endpoints"] == [f"[{sixth(one)}]:51820", f"{one.host.underlay}:51820"]
    assert endpoint(two, one) == (f"[{sixth(one)}]", 51820)
    assert endpoint(client, one) == (one.host.underlay, 51820), "there is no IPv6 behind the NAT"


def test_a_mapping_that_changes_is_followed_and_never_taken_back(scene: Scene) -> None:
    mesh, router, client = scene.mesh, scene.router, scene.mesh["c1"]
    home, backup = scene.homes("c1")
    assert endpoint(home, client)[0] == router.host.underlay != client.host.underlay

    for outside, ports in ((router.outside, range(20000, 21000)), ("198.18.0.200", range(30000, 31000))):
        # Nobody sends from within but the agents, and WireGuard itself.
        pings = [Pinging(backup, mesh[name].address) for name in CLIENTS]
        router.masquerade(f"{ports.start}-{ports.stop - 1}")
        router.move(outside)
        eventually(lambda: mapped(home, client, outside, ports), BACK, "the home has learned the new mapping")  # noqa: B023
        eventually(lambda: all_reach_all(mesh), BACK, "all hosts ping all others")
        gaps = [ping.gap() for ping in pings]
        print("seconds without an answer:", gaps)
        assert max(gaps) < BACK

    learned = endpoint(home, client)
    client.declare("client", scene.bootstrap, alias="moved")
    eventually(lambda: home.members()["c1"]["alias"] == "moved", 10, "the home has followed a change of the client")
    home.stop()
    home.start()
    eventually(scene.complete, 15, "and was started anew")
    assert endpoint(home, client) == learned
    assert all_reach_all(mesh)


def test_a_home_that_dies_silently_is_bypassed_through_the_nat(scene: Scene) -> None:
    mesh, client = scene.mesh, scene.mesh["c1"]
    home, backup = scene.homes("c1")
    pings = [Pinging(backup, client.address), Pinging(mesh["c2"], client.address)]
    scene.lab.plug(home.host, in_=False)
    eventually(lambda: client.host.pings(backup.address), 2 * BACK, "the client through its backup")
    eventually(lambda: mesh["c2"].host.pings(client.address), 2 * BACK, "and the other client reaches it")
    gaps = [ping.gap() for ping in pings]
    print("seconds without an answer:", gaps)
    assert max(gaps) < BACK
    scene.lab.plug(home.host, in_=True)
    eventually(scene.complete, 15, "it is back for everybody")


def test_a_home_dies_while_the_mapping_changes(scene: Scene) -> None:
    """The backup knows the old mapping until the client has sent to it, which takes it some seconds more."""
    mesh, client = scene.mesh, scene.mesh["c1"]
    home, backup = scene.homes("c1")
    pings = [Pinging(backup, client.address), Pinging(mesh["c2"], client.address)]
    scene.router.masquerade("40000-40999")
    scene.router.move("198.18.0.201")
    scene.lab.plug(home.host, in_=False)
    eventually(lambda: client.host.pings(backup.address), 2 * BACK, "the client through its backup")
    eventually(lambda: mesh["c2"].host.pings(client.address), 2 * BACK, "and the other client reaches it")
    gaps = [ping.gap() for ping in pings]
    print("seconds without an answer:", gaps)
    assert max(gaps) < 2 * BACK
