"""Metrics of whole daemons: where they are told, to whom, and that Prometheus' own tools take them."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from pathlib import Path

import pytest
from daemons import MESH, Agent, Make, Operator, Run, eventually, free_port
from prometheus_client.parser import text_string_to_metric_families as parse
from test_daemon_api import request

from smegmesh.daemon import scrape
from smegmesh.identity.keys import encode_key

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def always_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "_KEPT", 0.0)


async def on_socket(agent: Agent) -> str:
    reader, writer = await asyncio.open_unix_connection(agent.directories.run / "api.sock")
    return await request(reader, writer, "/metrics")


def value(text: str, name: str, **labels: str) -> float:
    (found,) = (
        sample.value
        for family in parse(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
    return found


async def two(make: Make) -> tuple[Agent, Agent]:
    first, second = make("p1"), make("p2")
    first.declare(second)
    second.declare(first)
    return first, second


def test_the_socket_the_api_and_the_port_tell_the_same(run: Run, operator: Operator, tmp_path: Path) -> None:
    alice = operator.appoint(tmp_path)

    async def test(make: Make) -> None:
        first, second = await two(make)
        api, plain = free_port(), free_port()
        first.offer_api(f"127.0.0.1:{api}")
        first.offer_metrics(f'listen: "127.0.0.1:{plain}"')
        await first.start()
        await second.start()
        await eventually(lambda: first.alive(2) and second.alive(2), "they know each other")
        reader, writer = await asyncio.open_connection("127.0.0.1", api, ssl=alice, server_hostname="p1")
        over_tls = await request(reader, writer, "/metrics")
        in_plain = await request(*await asyncio.open_connection("127.0.0.1", plain), "/metrics")
        for text in (await on_socket(first), over_tls, in_plain):
            assert value(text, "smegmesh_mesh_members", mesh=MESH, liveness="alive") == 2
            assert "p2" not in text and encode_key(second.keys.node_key) not in text, "nobody is named"
        with pytest.raises(AssertionError, match="404"):
            await request(*await asyncio.open_connection("127.0.0.1", plain), "/v1/status")

    run(test)


def test_they_follow_what_happens(run: Run) -> None:
    async def test(make: Make) -> None:
        first, second = await two(make)
        await first.start()
        alone = await on_socket(first)
        assert value(alone, "smegmesh_mesh_links", mesh=MESH) == 0
        assert value(alone, "smegmesh_mesh_agreement_age_seconds") == pytest.approx(uptime(first), abs=0.5)
        met = uptime(first)
        await second.start()
        await eventually(lambda: first.alive(2) and informed(first) and informed(second), "they agree")
        one, other = await on_socket(first), await on_socket(second)
        for name in ("smegmesh_mesh_leader_id", "smegmesh_authority_expiry_timestamp_seconds"):
            assert value(one, name) == value(other, name) != 0
        assert value(one, "smegmesh_mesh_is_leader") + value(other, "smegmesh_mesh_is_leader") == 1
        for name in ("smegmesh_mesh_agreement_age_seconds", "smegmesh_mesh_change_age_seconds"):
            assert 0 <= value(one, name) < uptime(first) - met
        assert value(one, "smegmesh_gossip_frames_total", direction="received", **{"class": "links"}) >= 1
        assert value(one, "smegmesh_apply_duration_seconds_count") >= 1, "the tunnel to the other"
        assert value(one, "process_resident_memory_bytes") > 1e7
        assert value(one, "smegmesh_wireguard_peers", handshake="never") == 1
        first.file().write_text("mesh: [")
        first.declare(mesh="lab", port=1)
        first.file("lab").write_text("owner: nobody")
        await first.ask(lambda client: client.reload())
        broken = await on_socket(first)
        assert value(broken, "smegmesh_mesh_up", mesh=MESH) == 1, "it goes on as it was"
        assert value(broken, "smegmesh_mesh_up", mesh="lab") == 0

    def informed(agent: Agent) -> bool:
        assert agent.daemon is not None
        return agent.daemon._meshes[MESH].informed

    def uptime(agent: Agent) -> float:
        assert agent.daemon is not None
        return agent.daemon.status().uptime

    run(test)


@pytest.mark.parametrize("per_peer", [False, True])
def test_promtool_takes_them(run: Run, per_peer: bool, promtool: str) -> None:
    async def test(make: Make) -> None:
        first, second = await two(make)
        first.offer_metrics(f"per_peer: {str(per_peer).lower()}")
        await first.start()
        await second.start()
        await eventually(lambda: first.alive(2), "they know each other")
        text = await on_socket(first)
        assert ("smegmesh_peer_receive_bytes_total" in text) is per_peer
        assert ('peer="p2"' in text) is per_peer
        checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")

    run(test)


def test_a_port_that_is_taken_stops_no_mesh(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            agent.offer_metrics(f'listen: "127.0.0.1:{taken.getsockname()[1]}"')
            daemon = await agent.start()
            await eventually(lambda: agent.mesh().state == "up", "it is up")
            (problem,) = daemon.status().problems
        assert re.match(r"metrics: cannot listen on .*or give metrics\.listen another port", problem)

    run(test)


def test_many_who_ask_at_once_cost_one_reading(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "_KEPT", 5.0)

    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        daemon = await agent.start()
        dumps: list[str] = []
        dump = agent.plane.dump
        monkeypatch.setattr(agent.plane, "dump", lambda device: (dumps.append(device), dump(device))[1])
        texts = await asyncio.gather(*(daemon.metrics() for _ in range(20)))
        assert len(set(texts)) == 1 and len(dumps) == 1

    run(test)
