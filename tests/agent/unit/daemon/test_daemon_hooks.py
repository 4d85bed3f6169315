"""When daemons run hooks, and what becomes of a mesh whose hooks fail."""

from __future__ import annotations

import asyncio
import time

from daemons import Agent, Make, Run, eventually

HOOKS = {name: f"[/{name}]" for name in ("pre_up", "post_up", "pre_down", "post_down")}
UP = [("/pre_up", False), ("/post_up", True)]
DOWN = [("/pre_down", True), ("/post_down", False)]


async def up(agent: Agent, **more: object) -> None:
    """Alone in its mesh, with all hooks."""
    agent.declare(**{**HOOKS, **more})
    await agent.start()
    await eventually(lambda: agent.mesh().state == "up", "it is up")


async def reload(agent: Agent) -> dict[str, str]:
    assert agent.daemon is not None
    return (await agent.daemon.reload()).problems


def test_hooks_are_there_when_the_interface_comes_and_goes(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        await up(agent)
        await eventually(lambda: agent.hooks == UP, "before and after it is made")
        agent.file().unlink()
        await reload(agent)
        assert agent.hooks == UP + DOWN
        assert agent.daemon is not None
        assert agent.daemon.status().problems == []

    run(test)


def test_a_restart_runs_none_since_the_interface_stays(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        await up(agent)
        await eventually(lambda: agent.hooks == UP, "they ran")
        await agent.stop()
        await agent.start()
        await eventually(lambda: agent.mesh().state == "up", "it is up again")
        agent.declare(mtu=1400, **HOOKS)
        await reload(agent)
        assert agent.mesh().state == "up"
        assert agent.hooks == UP

    run(test)


def test_a_pre_up_that_fails_stops_its_mesh_alone(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.failing_hooks = {"/pre_up"}
        agent.declare(**HOOKS)
        agent.declare(mesh="office")
        await agent.start()
        await eventually(lambda: agent.mesh("office").state == "up", "the other mesh is up")
        assert agent.mesh().state == "failed"
        assert agent.mesh().problem.startswith("pre_up /pre_up: exit code 3")
        assert agent.plane.devices.keys() == {"smeg-office"}
        ran = len(agent.hooks)
        agent.declare(**{**HOOKS, "pre_up": "[/mended]"})
        assert await reload(agent) == {}
        assert agent.mesh().state == "up"
        await eventually(lambda: agent.hooks[ran:] == [("/mended", False), ("/post_up", True)], "it ran at once")

    run(test)


def test_a_mesh_that_never_was_up_needs_no_down(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.failing_hooks = {"/pre_up"}
        agent.declare(**HOOKS)
        await agent.start()
        agent.file().unlink()
        await reload(agent)
        assert {file for file, _ in agent.hooks} == {"/pre_up"}

    run(test)


def test_a_post_up_that_fails_is_a_problem_of_a_mesh_that_is_up(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.failing_hooks = {"/post_up"}
        await up(agent)
        await eventually(lambda: agent.mesh().problem == "post_up /post_up: exit code 3", "it is told")
        assert agent.mesh().state == "up"
        agent.declare(**{**HOOKS, "post_up": "[/other]"})
        assert await reload(agent) == {}
        assert agent.mesh().problem is None

    run(test)


def test_down_hooks_that_fail_keep_nobody(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.failing_hooks = {"/pre_down", "/post_down"}
        await up(agent)
        agent.file().unlink()
        assert await reload(agent) == {}
        assert agent.plane.devices == {}
        assert agent.daemon is not None
        assert agent.daemon.status().problems == [
            "mesh prod: pre_down /pre_down: exit code 3",
            "mesh prod: post_down /post_down: exit code 3",
        ]

    run(test)


def test_another_name_is_another_interface(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        await up(agent)
        agent.declare(**{**HOOKS, "interface": "wg7"})
        await reload(agent)
        await eventually(lambda: agent.hooks == UP + DOWN + UP, "down with the old, up with the new")

    run(test)


def test_a_mesh_that_is_restarted_lets_its_post_up_end(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare(post_up="[/post_up, /last]")
        await agent.start()
        await eventually(lambda: agent.hooks, "the first ran")
        agent.hook_may_end.clear()
        agent.declare(post_up="[/slow, /last]", interface="wg7")
        await reload(agent)
        await eventually(lambda: agent.hooks[-1][0] == "/slow", "it runs")
        agent.declare(post_up="[/slow, /last]", interface="wg7", mtu=1400)
        restart = asyncio.ensure_future(reload(agent))
        await asyncio.sleep(0.1)
        agent.hook_may_end.set()
        await restart
        assert [file for file, _ in agent.hooks[-2:]] == ["/slow", "/last"]

    run(test)


def test_a_stop_waits_for_no_hook(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        await up(agent)
        await eventually(lambda: agent.hooks == UP, "they ran")
        agent.hook_may_end.clear()
        agent.file().unlink()
        leaving = asyncio.ensure_future(reload(agent))
        await eventually(lambda: agent.hooks[2:] == DOWN[:1], "pre_down runs")
        began = time.monotonic()
        await agent.stop()
        await leaving
        assert time.monotonic() - began < 5
        assert agent.plane.devices == {}
        assert agent.hooks == UP + DOWN[:1]
        agent.declare(**HOOKS)
        starting = asyncio.ensure_future(agent.start())
        await eventually(lambda: agent.hooks[3:] == UP[:1], "pre_up runs")
        await agent.stop()
        await starting
        assert agent.plane.devices == {}

    run(test)
