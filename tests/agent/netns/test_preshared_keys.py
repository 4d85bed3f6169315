"""Preshared keys between members: given host by host, and no packet is lost for them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable

import pytest
from agents import MESH, Agent, Pinging, eventually

from smegmesh.identity.keys import encode_key

pytestmark = pytest.mark.netns

FIRST, SECOND = os.urandom(32), os.urandom(32)
_PATH = "PYTHONPATH=" + os.pathsep.join(path for path in sys.path if path.endswith("/src"))


def give(agent: Agent, **keys: bytes) -> list[str]:
    """As the module does it: all keys of the host at once; what became of each."""
    places = ["--state", str(agent.state), "--socket", str(agent.run / "api.sock")]
    command = ["env", _PATH, sys.executable, "-m", "smegmesh.cli", "preshared-keys", "--json", *places]
    wanted = {MESH: {other: encode_key(key) for other, key in keys.items()}}
    answer = agent.host.run(*command, stdin=json.dumps(wanted if keys else {}))
    assert not [key for key in keys.values() if encode_key(key) in answer]
    return [change["change"] for change in json.loads(answer)["changes"]]


def held(agent: Agent, other: Agent) -> str:
    """The preshared key of a tunnel, as WireGuard has it."""
    listed = agent.host.run("wg", "show", "all", "preshared-keys")
    return dict(line.split()[-2:] for line in listed.splitlines())[encode_key(other.node_key)]


def complete(agent: Agent) -> bool:
    mesh = agent.mesh()
    return mesh is not None and mesh["state"] == "up" and mesh["members"]["alive"] == 2


def test_keys_come_change_are_lost_and_go_without_a_lost_packet(make: Callable[[str], Agent]) -> None:
    one, two = make("one"), make("two")
    for agent in (one, two):
        agent.declare("peer", [one.host, two.host])
        agent.start()
    eventually(lambda: complete(one) and complete(two), 20, "they know each other")
    eventually(lambda: one.host.pings(two.address) and two.host.pings(one.address), 10, "they reach each other")
    ping = Pinging(one, two.address)

    assert give(one, two=FIRST) == ["new"]
    eventually(lambda: one.mesh()["problem"] is not None, 5, "the status says that the other does not have it")
    assert held(one, two) == held(two, one) == "(none)", "a key that one of them does not have is not used"
    assert give(two, one=FIRST) == ["new"]
    eventually(lambda: {held(one, two), held(two, one)} == {encode_key(FIRST)}, 5, "both use it")
    assert one.members()["two"]["preshared_key"] and one.mesh()["problem"] is None
    assert ping.lost() == 0
    shake_hands(one, two)

    assert give(two, one=FIRST) == [], "nothing to change"
    ping = Pinging(one, two.address)
    assert give(two, one=SECOND) == ["replaced"]
    assert {held(one, two), held(two, one)} == {encode_key(FIRST)}, "the old one stays in use meanwhile"
    assert give(one, two=SECOND) == ["replaced"]
    eventually(lambda: {held(one, two), held(two, one)} == {encode_key(SECOND)}, 5, "both use the new one")
    one.stop(signal.SIGKILL)
    one.start()
    eventually(lambda: complete(one), 20, "the agent is back")
    assert held(one, two) == encode_key(SECOND), "a restart changes nothing"
    assert ping.lost() == 0
    shake_hands(one, two)

    (two.state / "keys" / "pairs.json").unlink()
    two.client().reload()
    eventually(lambda: {held(one, two), held(two, one)} == {"(none)"}, 5, "who lost it is not cut off")
    shake_hands(two, one)
    assert give(one) == ["removed"]
    for agent in (one, two):
        log = agent.log.read_text() + json.dumps(agent.client().status()) + json.dumps(agent.client().members(MESH))
        assert not [key for key in (FIRST, SECOND) if encode_key(key) in log or repr(key) in log]


def shake_hands(one: Agent, two: Agent) -> None:
    """A new session, with whatever preshared key the two have now: the agent of `one` dies, and its device with it."""
    one.stop(signal.SIGKILL)
    one.host.run("kill", "-9", *one.host.pids("wireguard-go"))
    one.start()
    eventually(lambda: complete(one), 20, "the agent is back")
    eventually(lambda: one.host.pings(two.address) and two.host.pings(one.address), 10, "they reach each other")
