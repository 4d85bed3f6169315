"""What becomes of hooks, without processes: order, failures, and what they are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from smegmesh.crdt.entry import Role
from smegmesh.daemon.hooks import HookError, Hooks, hook_environment
from smegmesh.daemon.journal import NodeLogger
from smegmesh.declaration import Declaration
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.identity.keys import encode_key

KEY = bytes(range(32))
DECLARATION = Declaration(
    "prod.yml",
    "role",
    "prod",
    Role.PEER,
    "smeg-prod",
    pre_up=("/a", "/b"),
    post_up=("/c", "/d"),
    pre_down=("/e",),
)


class Host:
    """Runs no file: notes what would run, and fails those it is told to."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.told: list[Mapping[str, str]] = []
        self.failing: dict[str, Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        environment = hook_environment(DECLARATION, 51820, "a1", KEY)
        self.hooks = Hooks(DECLARATION, environment, self.run, NodeLogger(logging.getLogger("test"), {"mesh": "prod"}))

    async def run(self, file: str, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.ran.append(file)
        self.told.append(environment)
        say("hello")
        await self.gate.wait()
        if file in self.failing:
            raise self.failing[file]


async def test_a_hook_is_told_all_that_is_public_and_nothing_else() -> None:
    host = Host()
    await host.hooks.prepare()
    assert host.told[0] == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "SMEGMESH_HOOK": "pre_up",
        "SMEGMESH_MESH": "prod",
        "SMEGMESH_INTERFACE": "smeg-prod",
        "SMEGMESH_ADDRESS": str(node_address("prod", KEY)),
        "SMEGMESH_PREFIX": str(mesh_prefix("prod")),
        "SMEGMESH_ROLE": "peer",
        "SMEGMESH_PORT": "51820",
        "SMEGMESH_NODE_NAME": "a1",
        "SMEGMESH_NODE_KEY": encode_key(KEY),
    }


async def test_output_goes_to_the_log_of_the_mesh(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await Host().hooks.run("pre_down")
    assert caplog.messages == ["mesh=prod: pre_down /e: runs", "mesh=prod: pre_down /e: hello"]


async def test_a_pre_up_that_fails_keeps_the_rest_from_running() -> None:
    host = Host()
    host.failing["/a"] = HookError("exit code 3")
    with pytest.raises(HookError, match=r"^pre_up /a: exit code 3$"):
        await host.hooks.prepare()
    assert host.ran == ["/a"]
    assert host.hooks.problems == [], "that is the interface's problem"
    host.failing.clear()
    await host.hooks.prepare()
    assert host.ran == ["/a", "/a", "/b"]


async def test_another_hook_that_fails_is_a_problem_until_it_does_not(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    host.failing["/c"] = OSError(8, "Exec format error")
    await host.hooks.run("post_up")
    assert host.ran == ["/c", "/d"]
    assert host.hooks.problems == ["post_up /c: cannot be run: Exec format error"]
    assert host.hooks.problems_of("post_up") == host.hooks.problems
    assert host.hooks.problems_of("pre_down") == []
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["mesh=prod: post_up /c: cannot be run: Exec format error"]
    host.failing.clear()
    await host.hooks.run("post_up")
    assert host.hooks.problems == []


async def test_a_hook_that_is_declared_otherwise_is_no_problem_any_more() -> None:
    host = Host()
    host.failing = {"/c": HookError("exit code 1"), "/e": HookError("exit code 2")}
    await host.hooks.run("post_up")
    await host.hooks.run("pre_down")
    host.hooks.follow(replace(DECLARATION, post_up=()))
    assert host.hooks.problems == ["pre_down /e: exit code 2"]
    assert not host.hooks.declared("post_up")
    await host.hooks.run("post_up")
    assert host.ran == ["/c", "/d", "/e"]


async def test_one_hook_at_a_time() -> None:
    host = Host()
    host.gate.clear()
    up, down = asyncio.ensure_future(host.hooks.run("post_up")), asyncio.ensure_future(host.hooks.run("pre_down"))
    finished = asyncio.ensure_future(host.hooks.finished())
    for _turn in range(10):
        await asyncio.sleep(0)
    assert host.ran == ["/c"]
    assert not finished.done()
    host.gate.set()
    await asyncio.gather(up, down, finished)
    assert host.ran == ["/c", "/d", "/e"]


async def test_what_is_cut_short_is_told(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    host.gate.clear()
    running = asyncio.ensure_future(host.hooks.run("post_up"))
    for _turn in range(3):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert "post_up /c: ended before it was done" in caplog.messages[-1]
    await host.hooks.finished()
