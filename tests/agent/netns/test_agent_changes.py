"""A declaration that changes under traffic, and what an agent finds that was left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from agents import Agent, Operator, eventually
from test_agents import Pinging, complete

from smegmesh.identity.keys import decode_key, generate_private_key, public_key

pytestmark = pytest.mark.netns


def test_no_packet_is_lost_over_a_change(make: Callable[[str], Agent]) -> None:
    one, two = make("p1"), make("p2")
    for agent in (one, two):
        agent.declare("peer", [one.host, two.host])
        agent.start()
    eventually(lambda: complete(one, 2) and complete(two, 2), 20, "both know each other")
    eventually(lambda: one.host.pings(two.address), 10, "and reach each other")
    pinging = Pinging(one, two.address)
    two.declare("peer", [one.host])
    assert complete(two, 2)
    two.declare("peer", [one.host], mtu=1400, keepalive=20)
    assert "mtu 1400" in two.host.run("ip", "link", "show", "smeg-prod")
    two.declare("peer", [one.host], alias="web")
    eventually(lambda: one.members()["p2"]["alias"] == "web", 10, "the other knows the last change")
    eventually(lambda: complete(one, 2) and complete(two, 2), 10, "both know each other")
    assert pinging.lost() == 0


def test_an_interface_nobody_declares_any_more_is_taken_away_at_the_start(make: Callable[[str], Agent]) -> None:
    agent = make("p1")
    agent.declare("peer", [agent.host])
    agent.start()
    eventually(lambda: complete(agent, 1), 20, "it is up")
    agent.declare("peer", [agent.host], interface="wg7")
    eventually(lambda: complete(agent, 1), 10, "it is up again")
    links = agent.host.run("ip", "link")
    assert "wg7" in links and "smeg-prod" not in links
    agent.stop()
    assert "wg7" in agent.host.run("ip", "link")
    (agent.etc / "meshes.d" / "prod.yml").unlink()
    agent.start()
    eventually(lambda: "wg7" not in agent.host.run("ip", "link"), 10, "it is gone")
    eventually(lambda: agent.host.run("nft", "list", "tables").strip() == "", 10, "the table too")
    assert agent.host.run("sysctl", "-n", "net.ipv6.conf.all.forwarding").strip() == "0"


def test_a_host_that_was_given_another_key_is_a_new_node(make: Callable[[str], Agent], operator: Operator) -> None:
    one, two = make("p1"), make("p2")
    for agent in (one, two):
        agent.declare("peer", [one.host, two.host])
        agent.start()
    eventually(lambda: complete(one, 2) and complete(two, 2), 20, "both know each other")
    old, key = two.node_key, generate_private_key()
    # As the module agent_key does it.
    two.stop()
    two.host.run("ip", "link", "delete", "smeg-prod")
    two.import_key(key, operator)
    two.start()

    def seen() -> dict[bytes, str]:
        return {decode_key(member["node_key"]): member["liveness"] for member in one.client().members("prod")}

    wanted = {one.node_key: "alive", public_key(key): "alive", old: "down"}
    eventually(lambda: one.host.pings(two.address), 20, "it has the address of its key")
    # The old one said that it would be back.
    eventually(lambda: seen() == wanted, 60, "the old node and the new one are told apart")


def test_hooks_run_around_the_life_of_an_interface_and_a_bad_one_keeps_it_from_coming(
    make: Callable[[str], Agent], tmp_path: Path
) -> None:
    agent = make("p1")
    said = tmp_path / "said"
    hook = tmp_path / "hook"

    def write(last: str = "true") -> None:
        there = (
            'ip -6 addr show "$SMEGMESH_INTERFACE" 2>/dev/null | grep -q "$SMEGMESH_ADDRESS" && there=yes || there=no'
        )
        hook.write_text(f"#!/bin/sh\n{there}\necho $SMEGMESH_HOOK $there >>{said}\necho hello\n{last}\n")
        hook.chmod(0o755)

    def ran() -> list[str]:
        return said.read_text().splitlines() if said.exists() else []

    write()
    hooks = {name: [str(hook)] for name in ("pre_up", "post_up", "pre_down", "post_down")}
    agent.declare("peer", [agent.host], **hooks)
    agent.start()
    eventually(lambda: ran() == ["pre_up no", "post_up yes"], 20, "the up hooks ran")
    agent.stop()
    agent.start()
    eventually(lambda: complete(agent, 1), 20, "it is up again")
    agent.apply({"state": "absent", "owner": "role", "mesh": "prod"})
    eventually(lambda: ran()[2:] == ["pre_down yes", "post_down no"], 10, "the down hooks ran, and no others")
    said.unlink()
    write("exit 7")
    with pytest.raises(AssertionError, match=f"pre_up {hook}: exit code 7"):
        agent.declare("peer", [agent.host], **hooks)
    assert agent.mesh() is None, "the declaration was taken back"
    assert "pre_up" in ran()[0] and "smeg-prod" not in agent.host.run("ip", "link")
    assert f"pre_up {hook}: hello" in agent.log.read_text()
