"""Whole agents on the WireGuard of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from agents import MESH, Agent, Operator, agents, eventually
from namespaces import Lab

pytestmark = pytest.mark.kernel


def test_agents_make_a_mesh_of_kernel_interfaces(lab: Lab, tmp_path: Path) -> None:
    with agents(lab, tmp_path, Operator()) as make:
        peer, client = make("p1"), make("c1")
        for agent in (peer, client):
            (agent.etc / "agent.yml").write_text(f"node_name: {agent.host.name}\nplane: auto\n")
            agent.declare("client" if agent is client else "peer", [peer.host])
            agent.start()
        eventually(lambda: all(knows_both(agent) for agent in (peer, client)), 60, "each knows the other")
        eventually(lambda: client.host.pings(peer.address), 20, "packets between them")
        for agent in (peer, client):
            assert "wireguard" in agent.host.run("ip", "-details", "link", "show", f"smeg-{MESH}")


def knows_both(agent: Agent) -> bool:
    mesh = agent.mesh()
    return mesh is not None and mesh["state"] == "up" and mesh["members"]["alive"] == 2
