"""The API over TLS of a whole daemon: on only where it is said, and of no weight for the meshes."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from daemons import MESH, Make, Operator, Run, eventually, free_port

from smegmesh.cli.status import status_text


async def read(port: int, context: ssl.SSLContext, target: str, name: str = "p1") -> Any:
    connection = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    return json.loads(await request(*connection, target, name))


async def request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, name: str = "p1") -> str:
    """What is answered to a GET, the last on its connection."""
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    if not head:
        raise ConnectionError("closed without an answer")
    assert head.startswith(b"HTTP/1.1 200"), head
    return body.decode()


def test_an_operator_reads_what_the_socket_says(run: Run, operator: Operator, tmp_path: Path) -> None:
    alice = operator.appoint(tmp_path)

    async def test(make: Make) -> None:
        agent, port = make("p1"), free_port()
        agent.declare()
        agent.offer_api(f"127.0.0.1:{port}")
        await agent.start()
        await eventually(lambda: agent.alive(1), "it is up")
        status = await read(port, alice, "/v1/status")
        assert status["problems"] == []
        assert [mesh["state"] for mesh in status["meshes"]] == ["up"]
        members = await read(port, alice, f"/v1/meshes/{MESH}/members")
        assert members == await agent.ask(lambda client: client.members(MESH))
        agent.certify()  # a renewed certificate
        await agent.ask(lambda client: client.reload())
        assert (await read(port, alice, "/v1/meshes"))[0]["mesh"] == MESH

    run(test)


def test_operators_of_each_authority_of_the_host(run: Run, operator: Operator, tmp_path: Path) -> None:
    other = Operator()
    alice, bob = operator.appoint(tmp_path), other.appoint(tmp_path, "bob")
    bob.load_verify_locations(cadata=operator.authority.decode())

    async def test(make: Make) -> None:
        agent, port = make("p1"), free_port()
        agent.declare()
        agent.declare(mesh="office", authority="other")
        second = agent.authority.parent / "other"
        second.mkdir()
        (second / "authority.pem").write_bytes(other.authority)
        (second / "node.pem").write_bytes(other.certify(agent.request))
        agent.offer_api(f"127.0.0.1:{port}")
        await agent.start()
        for context in (alice, bob):
            assert len(await read(port, context, "/v1/meshes")) == 2
        agent.file("office").unlink()
        await agent.ask(lambda client: client.reload())
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await read(port, bob, "/v1/meshes")
        assert len(await read(port, alice, "/v1/meshes")) == 1

    run(test)


def test_it_is_off_unless_it_is_asked_for(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        daemon = await agent.start()
        assert daemon._api is None
        assert "api-accept" not in {task.get_name() for task in asyncio.all_tasks()}

    run(test)


@pytest.mark.parametrize("listen", ["everywhere", "[::]", "127.0.0.1:{taken}"])
def test_what_is_wrong_with_it_is_told_and_stops_no_mesh(run: Run, listen: str) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            agent.offer_api(listen.format(taken=taken.getsockname()[1]))
            await agent.start()
            await eventually(lambda: agent.mesh().state == "up", "it is up")
            told = status_text(await agent.ask(lambda client: client.status()), False)
        assert "smegd: api: " in told
        assert "the port is in use" in told or "is no address to listen on" in told

    run(test)


def test_an_agent_without_meshes_admits_nobody(run: Run, operator: Operator, tmp_path: Path) -> None:
    alice = operator.appoint(tmp_path)

    async def test(make: Make) -> None:
        agent, port = make("p1"), free_port()
        agent.offer_api(f"127.0.0.1:{port}")
        await agent.start()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await read(port, alice, "/v1/status")

    run(test)
