"""Meshes, routes, services and the node itself, declared through the API of a whole agent."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import http.client
import json
import os
import socket
import threading
import time
from typing import Any

import pytest
from daemons import MESH, Agent, Make, Run, eventually

from smegmesh.control import types
from smegmesh.daemon.declaring import Declaring
from smegmesh.declaration import write
from smegmesh.declaration.change import Places

PREFIX = "2001:db8:10::/48"
OFFICE = {"role": "peer", "endpoint": "127.0.0.1"}


def ask_now(agent: Agent, method: str, target: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(20)
    connection.sock.connect(str(agent.directories.run / "api.sock"))
    data = None if body is None else json.dumps(body)
    connection.request(method, target, data, {"Content-Type": "application/json"} if data else {})
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


async def ask(agent: Agent, method: str, target: str, body: object = None) -> tuple[int, Any]:
    return await asyncio.to_thread(ask_now, agent, method, target, body)


def local(agent: Agent) -> list[str]:
    """All that is in local.d, hidden files included."""
    directory = agent.directories.local
    return sorted(str(each.relative_to(directory)) for each in directory.rglob("*"))


def test_a_mesh_of_the_hosts_own(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        await agent.start()
        status, answer = await ask(agent, "PUT", "/v1/meshes/office", OFFICE)
        assert (status, answer["changed"]) == (200, True)
        assert agent.mesh("office").state == "up", "it is when the answer comes"
        await eventually(lambda: agent.alive(1, "office"), "it says something of itself")
        assert (await ask(agent, "PUT", "/v1/meshes/office", OFFICE))[1]["changed"] is False
        assert (await ask(agent, "PATCH", "/v1/meshes/office", {"alias": "web"}))[0] == 200
        members = (await ask(agent, "GET", "/v1/meshes/office/members"))[1]
        assert [member["alias"] for member in members] == ["web"], "who has changed something sees it"
        assert (await ask(agent, "PUT", "/v1/meshes/office/services/https", {"value": "tcp/443"}))[0] == 200
        assert (await ask(agent, "DELETE", "/v1/meshes/office"))[0] == 200
        assert agent.mesh("office") is None and local(agent) == []
        assert (await ask(agent, "DELETE", "/v1/meshes/office"))[0] == 404

    run(test)


def test_what_the_host_adds_reaches_the_others(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = make("p1"), make("p2")
        one.certify(prefixes=(PREFIX,))
        one.declare(alias="web")
        two.declare(one)
        await asyncio.gather(one.start(), two.start())
        await eventually(lambda: two.alive(2), "they know each other")
        mesh = f"/v1/meshes/{MESH}"
        for method, target, body in (
            ("PATCH", f"{mesh}/node", {"description": "the web host"}),
            ("PUT", f"{mesh}/services/https", {"value": "tcp/443"}),
            ("PUT", f"{mesh}/routes/{PREFIX}", None),
        ):
            assert (await ask(one, method, target, body))[0] == 200

        async def seen() -> Any:
            return (await ask(two, "GET", f"{mesh}/members/p1"))[1]

        async with asyncio.timeout(8):
            while (await seen())["advertise"] != [PREFIX]:
                await asyncio.sleep(0.01)
        there = await seen()
        assert (there["description"], there["services"]) == ("the web host", {"https": "tcp/443"})
        services = (await ask(two, "GET", f"{mesh}/services?name=https"))[1]
        assert [(each["member"], each["value"], each["own"]) for each in services] == [("p1", "tcp/443", False)]
        routes = (await ask(one, "GET", f"{mesh}/routes"))[1]
        assert [(each["prefix"], each["active"]) for each in routes["advertised"]] == [(PREFIX, True)]
        graph = (await ask(two, "GET", f"{mesh}/graph"))[1]
        assert {edge["kind"] for edge in graph["edges"]} == {"ring", "exit"}
        status, refused = await ask(one, "PATCH", f"{mesh}/node", {"alias": "x"})
        assert status == 409 and str(one.file()) in refused["detail"]
        status, refused = await ask(one, "DELETE", mesh)
        assert status == 409 and str(one.file()) in refused["detail"]

    run(test)


@pytest.mark.parametrize(
    ("body", "status", "what"),
    [
        ({**OFFICE, "authority": "none"}, 422, "nothing was changed"),
        ({**OFFICE, "prot": 1}, 422, "did you mean `port`?"),
        ({**OFFICE, "post_up": ["/bin/true"]}, 422, "with Ansible"),
        ([OFFICE], 400, "keys and their values"),
    ],
)
def test_what_cannot_be_leaves_nothing_behind(run: Run, body: object, status: int, what: str) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        await agent.start()
        code, problem = await ask(agent, "PUT", "/v1/meshes/office", body)
        assert (code, problem["status"]) == (status, status)
        assert what in problem["fix"]
        assert not agent.directories.local.exists() or local(agent) == []
        assert agent.mesh("office") is None

    run(test)


def test_a_change_that_cannot_be_leaves_the_mesh_as_it_was(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        await agent.start()
        await ask(agent, "PUT", "/v1/meshes/office", OFFICE)
        before = (agent.directories.local / "office.yml").read_text()
        status, problem = await ask(agent, "PATCH", "/v1/meshes/office", {"authority": "none"})
        assert status == 422 and "none" in problem["detail"]
        assert (agent.directories.local / "office.yml").read_text() == before
        assert local(agent) == ["office.yml"]
        assert (agent.mesh("office").state, agent.mesh("office").problem) == ("up", None)

    run(test)


@pytest.mark.parametrize("fault", [OSError(errno.EMFILE, "Too many open files"), RuntimeError("a fault")])
def test_a_fault_while_the_agent_follows_leaves_nothing_behind(run: Run, fault: Exception) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        daemon = await agent.start()
        faults = [fault]

        async def reload() -> types.Reloaded:
            if faults:
                raise faults.pop()
            return await daemon.reload()

        places = Places(agent.directories.etc, agent.directories.local)
        daemon.declaring = Declaring(places, reload, daemon.status)
        status, problem = await ask(agent, "PUT", "/v1/meshes/office", OFFICE)
        assert (status, problem["title"]) == (500, "internal error"), "it is not the file that cannot be written"
        assert (local(agent), agent.mesh("office")) == ([], None)
        assert (await ask(agent, "PUT", "/v1/meshes/office", OFFICE))[0] == 200

    run(test)


def test_a_problem_that_was_there_before_refuses_no_change(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        daemon = await agent.start()
        (agent.authority / "node.pem").write_bytes(b"damaged")
        assert "node.pem" in (await daemon.reload()).problems[MESH]
        assert (await ask(agent, "PUT", f"/v1/meshes/{MESH}/services/https", {"value": "tcp/443"}))[0] == 200
        assert local(agent) != []
        (agent.authority / "authority.pem").write_bytes(b"damaged")
        status, problem = await ask(agent, "PUT", f"/v1/meshes/{MESH}/services/https", {"value": "tcp/444"})
        assert status == 422 and "authority.pem" in problem["detail"]

    run(test)


def test_the_agent_lives_while_somebody_else_writes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of local.d is waited for outside the event loop, and what changed meanwhile is not written over."""
    waits = threading.Event()

    def sleep(seconds: float) -> None:
        waits.set()
        time.sleep(seconds)

    monkeypatch.setattr(write, "sleep", sleep)

    async def test(make: Make) -> None:
        agent = make("p1")
        await agent.start()
        await ask(agent, "PUT", "/v1/meshes/office", OFFICE)
        file = agent.directories.local / "office.yml"
        descriptor = os.open(agent.directories.local, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        changing = asyncio.create_task(ask(agent, "PATCH", "/v1/meshes/office", {"alias": "web"}))
        await eventually(waits.is_set, "it waits for the lock")
        assert (await ask(agent, "GET", "/v1/status"))[0] == 200
        file.write_text(f"{file.read_text()}description: by hand\n")
        os.close(descriptor)
        status, problem = await changing
        assert (status, problem["fix"]) == (409, "ask again")
        assert "by hand" in file.read_text()

    run(test)
