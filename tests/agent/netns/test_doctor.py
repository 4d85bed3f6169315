"""`smegctl doctor` on hosts that something is wrong with: each fault is found by its name, and a healthy host has none.

One mesh for all tests, in order: what a test breaks it mends, if a later one needs it.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from agents import Agent, Operator, agents, eventually
from namespaces import Lab
from namespaces import lab as open_lab

from smegmesh.routing.tables import MARK

pytestmark = pytest.mark.netns

PEERS = ("p1", "p2", "p3")
FOREIGN = "I8PnpVHtqDv6zN6CXGnUnhoyCjSvFXKYqpfY+kSOWQE="  # a peer that nobody planned


@dataclass
class Scene:
    """Three peers and a client, who all reach all."""

    lab: Lab
    operator: Operator
    make: Callable[..., Agent]
    agents: dict[str, Agent]

    def __getitem__(self, name: str) -> Agent:
        return self.agents[name]

    def start(self, agent: Agent, role: str = "peer") -> None:
        agent.declare(role, [each.host for name, each in self.agents.items() if name in PEERS])
        agent.start()
        self.agents[agent.host.name] = agent


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    operator = Operator()
    with open_lab() as lab, agents(lab, tmp_path_factory.mktemp("doctor"), operator) as make:
        opened = Scene(lab, operator, make, {name: make(name, days=200) for name in PEERS})
        for name in PEERS:
            opened.start(opened[name])
        opened.start(make("c1", days=200), "client")
        everybody = list(opened.agents.values())
        eventually(lambda: all(alive(each) == len(everybody) for each in everybody), 30, "all know all")
        eventually(lambda: all(reaches_all(each, everybody) for each in everybody), 20, "all ping all")
        yield opened


def alive(agent: Agent) -> int:
    mesh = agent.mesh()
    return mesh["members"]["alive"] if mesh is not None and mesh["state"] == "up" else 0


def reaches_all(agent: Agent, everybody: list[Agent]) -> bool:
    return all(agent.host.pings(other.address) for other in everybody if other is not agent)


def found(said: dict[str, Any]) -> set[tuple[str, str | None]]:
    """What was found, and with which peer."""
    return {(finding["id"], finding["peer"]) for finding in said["findings"]}


def errors(said: dict[str, Any]) -> set[tuple[str, str | None]]:
    return {(finding["id"], finding["peer"]) for finding in said["findings"] if finding["severity"] == "error"}


def provoke(agent: Agent, fault: Callable[[], object], *wanted: tuple[str, str | None]) -> dict[str, Any]:
    """Make a fault that the agent mends, until the doctor was there in between; what it says then."""
    for _attempt in range(3):
        fault()
        said = agent.doctor(status=None)
        if found(said) >= set(wanted):
            break
    assert found(said) >= set(wanted)
    return said


@contextmanager
def filtered(agent: Agent, *rules: str) -> Iterator[None]:
    """A firewall of the host's own meanwhile."""
    text = "".join(f"add rule inet theirs {rule}\n" for rule in rules)
    chains = "".join(f"add chain inet theirs {hook} {{ type filter hook {hook} priority 0; }}\n" for hook in HOOKS)
    agent.host.run("nft", "-f", "-", stdin=f"add table inet theirs\n{chains}{text}")
    yield
    agent.host.run("nft", "delete", "table", "inet", "theirs")


HOOKS = ("input", "output", "forward")


@contextmanager
def another_way_back(agent: Agent, other: Agent) -> Iterator[None]:
    """Meanwhile a host would answer another by an interface that its packets do not come in by, and drops them for it.

    What the agent itself sends keeps its way: it has a mark.
    """
    filters = [f"net.ipv4.conf.{name}.rp_filter" for name in ("all", "eth0")]
    rule = ("not", "fwmark", hex(MARK), "to", other.host.underlay, "lookup", "100")
    agent.host.run("ip", "link", "add", "elsewhere", "up", "type", "bridge")
    agent.host.run("ip", "route", "add", "default", "dev", "elsewhere", "table", "100")
    agent.host.run("ip", "rule", "add", *rule)
    agent.host.run("sysctl", "-q", "-w", *(f"{name}=1" for name in filters))
    yield
    agent.host.run("sysctl", "-q", "-w", *(f"{name}=0" for name in filters))
    agent.host.run("ip", "rule", "delete", *rule)
    agent.host.run("ip", "link", "delete", "elsewhere")


def between(agent: Agent, protocol: str = "") -> list[str]:
    """Rules that drop what goes from and to a host, all or that of a protocol."""
    which = f"meta l4proto {protocol}" if protocol else ""
    return [f"input ip saddr {agent.host.underlay} {which} drop", f"output ip daddr {agent.host.underlay} {which} drop"]


def certify(scene: Scene, agent: Agent, **dates: Any) -> None:
    """Put another certificate in place of a host's; its agent goes on with the one it read."""
    agent.install_certificate(scene.operator, scene.operator.certify(agent.request, **dates))


def test_healthy_hosts_have_nothing(scene: Scene) -> None:
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda agent: agent.doctor("--mesh", "prod", status=0), scene.agents.values()))
    assert [(each["node"], each["findings"], each["skipped"]) for each in said] == [
        (name, [], []) for name in scene.agents
    ]


def test_what_a_home_does_not_forward_and_what_others_did_to_its_interface(scene: Scene) -> None:
    home = scene[scene["c1"].mesh()["home"]]

    def break_it() -> None:
        home.host.run("sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=0")
        home.host.run("wg", "set", "smeg-prod", "peer", FOREIGN)
        home.host.run("wg", "set", "smeg-prod", "fwmark", "0")

    with filtered(home, "forward iifname smeg-prod drop"):
        said = provoke(
            home, break_it, ("forward.off", None), ("interface.changed", FOREIGN), ("interface.changed", None)
        )
    assert ("forward.dropped", None) in errors(said)
    (dropped,) = [each for each in said["findings"] if each["id"] == "forward.dropped"]
    assert "inet theirs forward" in dropped["what"] and "home or backup of c1" in dropped["what"]
    assert ("forward.off", None) in errors(said)
    home.host.run("sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1")
    home.host.run("wg", "set", "smeg-prod", "fwmark", hex(MARK), "peer", FOREIGN, "remove")


def test_certificates_and_the_clock(scene: Scene) -> None:
    faults: dict[str, tuple[dict[str, float], str]] = {
        "p1": ({"days": 30}, "certificate.expiring"),
        "p2": ({"days": -1}, "certificate.expired"),
        "c1": ({"days": 200, "start": 1}, "clock.behind"),
    }
    for name, (dates, _wanted) in faults.items():
        certify(scene, scene[name], **dates)
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda name: scene[name].doctor(), faults))
    assert [found(each) for each in said] == [{(wanted, None)} for _dates, wanted in faults.values()]
    assert [each["healthy"] for each in said] == [True, False, False]
    for name in faults:
        certify(scene, scene[name], days=200)


def test_names_that_the_resolver_does_not_know(scene: Scene) -> None:
    agent = scene["p3"]
    agent.set_up({"dns": {"listen": "[::1]:53"}})
    said = agent.doctor()
    assert said["healthy"] and ("dns.not-wired", None) in found(said), "it may be meant"
    agent.set_up({})


def test_what_is_blocked_on_the_way(scene: Scene) -> None:
    """The leader comes late. Nothing of it gets to p1, no UDP to p2. p1 has a narrow path, p3 another one back."""
    p1, p2, p3 = (scene[name] for name in PEERS)
    others = [agent.node_key for agent in scene.agents.values()]
    leader = scene.make("p4", lambda key: key < min(others), days=200)
    with filtered(leader, *between(p1), *between(p2, "udp")):
        scene.start(leader)
        p1.host.run("ip", "link", "set", "eth0", "mtu", "1440")
        eventually(lambda: p3.mesh()["leader"] == p1.mesh()["leader"] == "p4", 20, "it leads")
        eventually(lambda: "p4" in p2.client().diagnosis("prod")["linked"], 20, "p2 has a link with it")
        eventually(lambda: {"by": "p1", "of": "p4"} in p3.client().diagnosis("prod")["accusations"], 40, "p1 says so")
        with another_way_back(p3, p2), ThreadPoolExecutor() as pool:
            cut_off, silent, astray = pool.map(Agent.doctor, (p1, p2, p3))
        p1.host.run("ip", "link", "set", "eth0", "mtu", "1500")
    assert errors(cut_off) >= {
        ("tunnel.no-handshake", "p4"),
        ("port.link-blocked", "p4"),
        ("mesh.leader-unreached", "p4"),
        ("mtu.too-large", "p2"),
    }
    assert all("1340 bytes do" in each["what"] for each in cut_off["findings"] if each["id"] == "mtu.too-large")
    assert ("port.udp-blocked", "p4") in errors(silent)
    assert errors(astray) >= {("forward.rp-filter", None), ("tunnel.one-way", "p2")}
    assert ("peers.apart", "p1 - p4") in found(astray)


def test_a_host_that_is_cut_off(scene: Scene) -> None:
    alone, other = scene["p3"], scene["p2"]
    scene.lab.plug(alone.host, in_=False)
    eventually(lambda: alone.mesh()["links"] == 0, 20, "no link is left")
    eventually(lambda: other.members()["p3"]["liveness"] == "down", 20, "the others know")
    with ThreadPoolExecutor() as pool:
        there, here = pool.map(Agent.doctor, (alone, other))
    scene.lab.plug(alone.host, in_=True)
    assert errors(there) >= {("mesh.isolated", None)}
    assert ("peer.down", "p3") in found(here)
    assert "p3" not in {peer for _id, peer in errors(here)}
    eventually(lambda: alive(alone) == alive(other) == len(scene.agents), 20, "it is back")


def test_an_agent_that_is_gone(scene: Scene) -> None:
    gone = scene["p3"]
    gone.stop(signal.SIGKILL)
    assert errors(gone.doctor(status=1)) == {("agent.not-running", None)}
    eventually(lambda: scene["p2"].members()["p3"]["liveness"] == "mute", 15, "it is mute")
    assert ("peer.mute", "p3") in found(scene["p2"].doctor())
    gone.start()


def test_two_machines_with_one_key(scene: Scene) -> None:
    first, copy = scene["p2"], scene.make("copy")
    shutil.copytree(first.state, copy.state, dirs_exist_ok=True)
    copy.install_certificate(scene.operator, (first.etc / "authorities/default/node.pem").read_bytes())
    copy.declare("peer", [scene["p1"].host])
    copy.start()
    eventually(lambda: any((each.mesh() or {}).get("alarms") for each in (first, copy)), 30, "one of them knows")
    for each in (first, copy):
        if each.mesh()["alarms"]:
            assert ("mesh.cloned", None) in errors(each.doctor(status=1))


def test_a_mesh_that_the_host_is_not_in_is_refused(scene: Scene) -> None:
    assert "office" in scene["p1"].doctor("--mesh", "office", status=1)["error"]["message"]
