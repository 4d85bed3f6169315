"""Where a host is reached, as it finds out itself: by its own routes, and by what others see of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import pytest
from agents import Agent, eventually
from namespaces import Host, Lab
from test_agents import all_reach_all, complete

from smegmesh.routing.tables import MARK

pytestmark = pytest.mark.netns

PEERS = ("p1", "p2")


def test_what_a_host_knows_of_itself(lab: Lab) -> None:
    host = lab.host("h")
    near, far = "198.18.0.9", "203.0.113.9"
    assert asked(host, near, far, "2001:db8::9", "2001:db8:1::9") == [[host.underlay, "2001:db8::1"], [4, 6]]
    host.run("ip", "route", "add", "default", "via", near)
    assert asked(host, far) == [[host.underlay], [4, 6]]
    # A tunnel that takes all but what is marked, as accepted default routes do.
    host.run("ip", "link", "add", "tunnel", "type", "veth", "peer", "tunnel-end")
    host.run("ip", "address", "add", "10.9.9.9/24", "dev", "tunnel")
    host.run("ip", "link", "set", "tunnel", "up")
    host.run("ip", "link", "set", "tunnel-end", "up")
    host.run("ip", "route", "add", "default", "dev", "tunnel", "table", "100")
    host.run("ip", "rule", "add", "not", "fwmark", str(MARK), "lookup", "100")
    assert asked(host, far, mark=0) == [["10.9.9.9"], [4, 6]]
    assert asked(host, far) == [[host.underlay], [4, 6]]
    host.run("ip", "-4", "address", "flush", "dev", "eth0")
    assert asked(host) == [[], [4, 6]] and asked(host, mesh="tunnel") == [[], [6]], (
        "a mesh's own addresses do not count"
    )
    lab.plug(host, in_=False)
    eventually(lambda: asked(host, mesh="tunnel") == [[], []], 5, "nor do those of an interface without a cable")


def asked(host: Host, *towards: str, mark: int = MARK, mesh: str = "") -> object:
    """Own addresses towards others, and the address families, as the agent finds them."""
    code = (
        "import json, sys; from smegmesh.dataplane.system import LinuxSystem; mark, mesh, *hosts = sys.argv[1:];"
        "print(json.dumps([LinuxSystem().sources(hosts, int(mark)), sorted(LinuxSystem().families([mesh]))]))"
    )
    path = "PYTHONPATH=" + os.pathsep.join(each for each in sys.path if each.endswith("/src"))
    return json.loads(host.run("env", path, sys.executable, "-c", code, str(mark), mesh, *towards))


def test_peers_say_where_they_are_and_move(lab: Lab, make: Callable[..., Agent]) -> None:
    """One by its own routes, one behind a NAT that leads the agent's ports on to it."""
    router = lab.router("nat")
    made = {name: make(name) for name in ("p1", "p2", "out")} | {"seen": make("seen", router=router)}
    router.masquerade(inwards=made["seen"].host)
    bootstrap = [made[name].host for name in PEERS]
    for name in PEERS:
        made[name].declare("peer", bootstrap)
    made["out"].declare("peer", bootstrap, endpoint=None, endpoint_discovery="outgoing")
    made["seen"].declare("peer", bootstrap, endpoint=None, endpoint_discovery="observed")
    for agent in made.values():
        agent.start()
    eventually(lambda: all(complete(agent, len(made)) for agent in made.values()), 30, "all agents know all others")
    wanted = {"out": [f"{made['out'].host.underlay}:51820"], "seen": [f"{router.host.underlay}:51820"]}
    eventually(lambda: said(made["p1"], *wanted) == wanted, 10, "they have found where they are")
    eventually(lambda: all_reach_all(made), 20, "all hosts ping all others")
    router.move("198.18.0.200")
    wanted["seen"] = ["198.18.0.200:51820"]
    took = eventually(lambda: said(made["p1"], *wanted) == wanted, 30, "it is seen elsewhere, and says so")
    print(f"{took:.1f} s until the new address is told")
    late = made["late"] = make("late")
    late.declare("peer", bootstrap)
    late.start()
    eventually(lambda: complete(late, len(made)), 15, "a late host knows all")
    eventually(lambda: all_reach_all(made), 10, "and all reach each other")


def said(agent: Agent, *names: str) -> dict[str, list[str]]:
    members = agent.members()
    return {name: members[name]["endpoints"] for name in names}
