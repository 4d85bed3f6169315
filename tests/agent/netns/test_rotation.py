"""Another tunnel key under traffic: addresses stay, and nothing is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from itertools import permutations

import pytest
from agents import Agent, Pinging, eventually
from namespaces import Lab
from test_agents import complete

from smegmesh.control.errors import Refused
from smegmesh.identity.keys import encode_key
from smegmesh.store.keys import rotate_tunnel_key

pytestmark = pytest.mark.netns


def keys(agent: Agent) -> set[str]:
    """The public keys of its WireGuard peers."""
    return set(agent.host.run("wg", "show", "smeg-prod", "peers").split())


def test_no_packet_is_lost_while_hosts_rotate_their_keys(make: Callable[..., Agent], lab: Lab) -> None:
    """Two peers, and a client behind NAT whose home learned its endpoint from its packets alone.

    WireGuard holds back 128 packets for a peer, and tries a handshake again after 5 s if both begin one at once: at
    twenty a second nothing is lost even then.
    """
    everyone = one, two, client = make("p1"), make("p2"), make("c1", router=lab.router("nat"))
    reach_each_other(everyone)
    pinging = ping(everyone)
    for agent in (one, client, two, one):
        answer = agent.client().rotate(force=False)
        reached(everyone, agent, answer)
    lost = {pair: flow.lost() for pair, flow in pinging.items()}
    assert not any(lost.values()), lost
    assert one.client().status()["node_key"] == encode_key(one.node_key) != one.client().status()["tunnel_key"]


def test_no_packet_is_lost_either_where_handshakes_are_late(make: Callable[..., Agent]) -> None:
    """For three seconds no handshake gets through; what WireGuard holds back meanwhile is not thrown away."""
    everyone = one, two = make("p1"), make("p2")
    reach_each_other(everyone)
    pinging = ping(everyone)
    two.host.run("nft", "-f", "-", stdin=_NO_HANDSHAKE)
    answer = one.client().rotate(force=False)
    time.sleep(3)  # the outage itself
    two.host.run("nft", "delete", "table", "inet", "late")
    reached(everyone, one, answer)
    lost = {pair: flow.lost() for pair, flow in pinging.items()}
    assert not any(lost.values()), lost


def reach_each_other(everyone: tuple[Agent, ...]) -> None:
    """Start a mesh, whose peers come first, and wait until its tunnels are up."""
    peers = everyone[:2]
    for agent in everyone:
        agent.declare("peer" if agent in peers else "client", [peer.host for peer in peers])
        agent.start()
    eventually(lambda: all(complete(agent, len(everyone)) for agent in everyone), 30, "all know each other")
    pairs = list(permutations(everyone, 2))
    eventually(lambda: all(source.host.pings(target.address) for source, target in pairs), 20, "and reach each other")


def ping(everyone: tuple[Agent, ...]) -> dict[tuple[str, str], Pinging]:
    """Each the other, twenty times a second."""
    return {
        (source.host.name, target.host.name): Pinging(source, target.address, each=0.05)
        for source, target in permutations(everyone, 2)
    }


def reached(everyone: tuple[Agent, ...], agent: Agent, answer: dict[str, str]) -> None:
    """Wait until the others follow an agent that took another key. A client keeps tunnels to both peers."""
    others = [other for other in everyone if other is not agent]
    eventually(lambda: all(follows(other, answer) for other in others), 5, "all others have the new key alone")
    eventually(lambda: all(other.host.pings(agent.address) for other in others), 15, "and reach it")


def test_a_host_that_was_ended_while_it_rotated_goes_on(make: Callable[..., Agent]) -> None:
    """Its interface has the key before, the new one is on the disk."""
    one, two = make("p1"), make("p2")
    for agent in (one, two):
        agent.declare("peer", [one.host, two.host])
        agent.start()
    eventually(lambda: complete(one, 2) and complete(two, 2), 20, "both know each other")
    eventually(lambda: one.host.pings(two.address), 20, "and reach each other")
    one.stop()
    new = rotate_tunnel_key(one.state)
    one.start()
    eventually(lambda: complete(one, 2), 20, "it takes its interface over")
    eventually(lambda: encode_key(new.tunnel_key) in keys(two), 10, "the other has the new key")
    eventually(lambda: one.host.pings(two.address), 5, "they reach each other")


def test_while_an_agent_cannot_learn_of_it_no_key_is_rotated(make: Callable[..., Agent]) -> None:
    one, two, three = make("p1"), make("p2"), make("p3")
    for agent in (one, two, three):
        agent.declare("peer", [one.host, two.host])
        agent.start()
    eventually(lambda: all(complete(agent, 3) for agent in (one, two, three)), 30, "all know each other")
    three.stop(signal.SIGKILL)
    eventually(lambda: one.members()["p3"]["liveness"] == "mute", 15, "one is mute")
    with pytest.raises(Refused, match="p3"):
        one.client().rotate(force=False)
    assert one.client().status()["tunnel_key"] == encode_key(one.node_key)
    answer = one.client().rotate(force=True)
    eventually(lambda: answer["tunnel_key"] in keys(two), 5, "the other follows")
    three.start()
    eventually(lambda: answer["tunnel_key"] in keys(three), 15, "so does the one that comes back")
    eventually(lambda: three.host.pings(one.address), 10, "and is reached")


def follows(agent: Agent, rotated: dict[str, str]) -> bool:
    return rotated["tunnel_key"] in (held := keys(agent)) and rotated["before"] not in held


# The first message of a handshake has 148 bytes (WireGuard's whitepaper, 5.4.2), in UDP 156.
_NO_HANDSHAKE = """
table inet late {
    chain in { type filter hook input priority -300; udp dport 51820 udp length 156 drop; }
    chain out { type filter hook output priority -300; udp sport 51820 udp length 156 drop; }
}
"""
