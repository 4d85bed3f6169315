"""smegctl against whole agents, as people type it: what is declared on the host, what happens, how it all is."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import sys
import termios
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from daemons import MESH, Agent, Make, Run, eventually

from smegmesh.control import types
from smegmesh.identity.keys import encode_key

SOURCE = Path(__file__).parents[4] / "roles" / "smegmesh" / "files" / "smegmesh" / "src"
PREFIX = "2001:db8:10::/48"


class Done(NamedTuple):
    code: int
    out: str
    err: str


def command(agent: Agent, *arguments: str) -> list[str]:
    words = [*arguments, "--socket", str(agent.directories.run / "api.sock")]
    if arguments[0] == "complete":  # whose words come last
        words = ["complete", *words[-2:], *arguments[1:]]
    return [sys.executable, "-m", "smegmesh.cli", *words]


def environment(**more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"], "TERM": "xterm", **more}


async def start(agent: Agent, *arguments: str, stdout: int = PIPE, **more: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *command(agent, *arguments), env=environment(**more), stdout=stdout, stderr=PIPE
    )


async def smegctl(agent: Agent, *arguments: str) -> Done:
    process = await start(agent, *arguments)
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def says(agent: Agent, *arguments: str) -> Any:
    """What it says in JSON, where nothing goes wrong."""
    done = await smegctl(agent, *arguments, "--json")
    assert (done.code, done.err) == (0, ""), done
    return json.loads(done.out)


async def refuses(agent: Agent, *arguments: str) -> tuple[int, str]:
    """The exit status and the one line, where nothing is to be changed."""
    before = {path: path.read_text() for path in agent.directories.local.rglob("*.yml")}
    done = await smegctl(agent, *arguments)
    assert done.code != 0 and done.out == "" and done.err.count("\n") == 1, done
    assert {path: path.read_text() for path in agent.directories.local.rglob("*.yml")} == before
    return done.code, done.err.removeprefix("smegctl: ")


async def begin(agent: Agent) -> None:
    """Start it, and wait until it has said something of itself."""
    await agent.start()
    await eventually(lambda: agent.alive(1), "it is a member")


def test_a_mesh_of_the_hosts_own(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        await begin(agent)
        done = await smegctl(agent, "mesh", "create", "office", "--endpoint", "127.0.0.1", "--alias", "web")
        alone = "it asks nobody, so it is alone until another host is told of it (--bootstrap NAME=HOST names a peer)"
        assert done == (0, f"this host is in mesh office, as peer; {alone}\n", "")
        await eventually(lambda: agent.alive(1, "office"), "it says something of itself")
        assert [mesh["mesh"] for mesh in await says(agent, "mesh", "list")] == ["office", MESH]
        assert (await says(agent, "mesh", "show", "office"))["state"] == "up"
        code, said = await refuses(agent, "mesh", "create", "office", "--endpoint", "127.0.0.1")
        assert code == 1 and "declares mesh office already" in said and "smegctl mesh show office" in said
        assert (await says(agent, "node", "set", "office", "--alias", "", "--description", "x"))["changed"]
        (own,) = (await says(agent, "members", "office"))["office"]
        assert (own["alias"], own["description"]) == (None, "x")
        assert (await says(agent, "mesh", "leave", "office"))["changed"]
        assert [mesh["mesh"] for mesh in await says(agent, "mesh", "list")] == [MESH]

    run(test)


def test_what_the_host_adds_to_a_mesh_of_ansibles(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.certify(prefixes=(PREFIX,))
        agent.declare()
        await begin(agent)
        assert (await says(agent, "service", "add", MESH, "https", "tcp/443"))["changed"]
        assert not (await says(agent, "service", "add", MESH, "https", "tcp/443"))["changed"]
        assert [each["value"] for each in await says(agent, "service", "list", MESH)] == ["tcp/443"]
        assert (await says(agent, "route", "add", MESH, PREFIX))["changed"]
        listed = (await smegctl(agent, "route", "list", MESH)).out
        assert PREFIX in listed and str(agent.directories.local / f"{MESH}.d" / "node.yml") in listed
        assert (await smegctl(agent, "complete", "--", "route", "remove", MESH, "")).out == f"{PREFIX}\n"
        assert (await says(agent, "route", "remove", MESH, PREFIX))["changed"]
        assert (await says(agent, "service", "remove", MESH, "https"))["changed"]
        assert await says(agent, "service", "list", MESH) == []

    run(test)


def test_what_cannot_be_is_refused_in_one_line(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare(alias="web")
        fragment = agent.meshes_directory / f"{MESH}.d" / "service-https.yml"
        fragment.parent.mkdir()
        fragment.write_text("owner: play\nservices: {https: tcp/443}\n")
        await agent.start()
        for arguments, code, said in (
            (["mesh", "create", MESH], 1, f"mesh {MESH} is managed by Ansible in {agent.file()}"),
            (["mesh", "leave", MESH], 1, f"mesh {MESH} is managed by Ansible in {agent.file()}"),
            (["node", "set", MESH, "--alias", "x"], 1, f"alias is declared in {agent.file()} already"),
            (["service", "remove", MESH, "https"], 1, f"service https is declared in {fragment}"),
            (["service", "remove", MESH, "http"], 1, "this host offers no service http"),
            (["route", "remove", MESH, PREFIX], 1, f"{PREFIX} is not advertised by this host"),
            (["node", "set", "prdo", "--alias", "x"], 1, "mesh prdo is not declared on this host: did you mean prod?"),
            (["mesh", "show", "prdo"], 1, "this host is not in mesh prdo: did you mean prod?"),
            (["members", "other"], 1, "this host is not in mesh other: its meshes are: prod"),
            (["node", "set", MESH, "--description", "a" * 300], 2, "description: "),
            (["mesh", "create", "x", "--endpoint", "127.0.0.1", "--alias", "not a label"], 2, "alias: `not a label`"),
            (["mesh", "create", "No"], 2, "mesh: mesh id 'No' has the bad label"),
            (["mesh", "create", "x", "--endpoint", "127.0.0.1", "--authority", "none"], 2, "mesh x: "),
            (["route", "add", MESH, PREFIX], 2, "advertise[0]: the certificate does not let p1 advertise"),
            (["route", "add", MESH, "nonsense"], 2, "advertise[0]: `nonsense` is not a prefix"),
            (["service", "add", MESH, "No", "x"], 2, "services: `No` is not"),
        ):
            status, line = await refuses(agent, *arguments)
            assert status == code and line.startswith(said), (arguments, status, line)

    run(test)


def test_a_full_disk_is_one_line_and_nothing_is_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        await agent.start()

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            code, said = await refuses(agent, "service", "add", MESH, "https", "tcp/443")
        assert code == 1 and "cannot be written: No space left on device" in said and "nothing was changed" in said

    run(test)


def test_an_agent_that_is_starting_is_waited_for(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.make()
        await agent.control.start()
        assert await refuses(agent, "status") == (3, "smegd is starting: ask again in a few seconds\n")
        await agent.daemon.start()  # type: ignore[union-attr]

    run(test)


def test_a_graph_is_text_or_a_picture(run: Run, tmp_path: Path) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        await begin(agent)
        assert (await smegctl(agent, "graph", MESH)).out.startswith('digraph "prod" {\n')
        assert [node["name"] for node in (await says(agent, "graph", MESH))["nodes"]] == ["p1"]
        file = tmp_path / "prod.svg"
        file.write_text("before")
        process = await start(agent, "graph", MESH, "--format", "svg", "--output", str(file), PATH="/nonexistent")
        _out, err = await process.communicate()
        assert (process.returncode, file.read_text()) == (1, "before") and b"install the package graphviz" in err
        code, said = await refuses(agent, "graph", MESH, "--output", str(tmp_path / "none" / "x"))
        assert code == 1 and said.startswith(f"{tmp_path}/none/x: cannot be written: No such file")
        code, said = await refuses(agent, "graph", MESH, "--output", "/dev/full")
        assert code == 1 and "No space left on device" in said and Path("/dev/full").is_char_device()
        assert (await smegctl(agent, "graph", MESH, "--output", str(file))).code == 0
        assert file.read_text().startswith("digraph") and list(tmp_path.glob(".prod*")) == []

    run(test)


async def first_line(agent: Agent, process: Process) -> str:
    """What it says first; something happens until it does, for who follows hears what happens from then on."""
    assert process.stdout is not None and agent.daemon is not None
    reading = asyncio.ensure_future(process.stdout.readline())
    while not reading.done():
        agent.daemon.events.add(types.Event(kind="liveness", time=0, mesh=MESH, member="c1", liveness="down"))
        await asyncio.wait([reading], timeout=0.05)
    return reading.result().decode()


async def until(process: Process, kind: str) -> None:
    """Read events until one is of that kind."""
    assert process.stdout is not None
    while json.loads(await process.stdout.readline())["kind"] != kind:
        pass


def test_what_happens_is_followed_over_a_restart_until_an_interrupt(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        await agent.start()
        process = await start(agent, "watch", "--json")
        assert json.loads(await first_line(agent, process))["member"] == "c1"
        await agent.stop()
        await agent.start()
        async with asyncio.timeout(20):
            await until(process, "missed")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            _out, err = await process.communicate()
        assert process.returncode == 130
        assert err.decode().splitlines() == [
            "smegctl: the agent is gone; waiting for it",
            "smegctl: the agent is there again",
        ]

    run(test)


def test_what_happens_is_a_line_each_until_nobody_reads(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        await agent.start()
        process = await start(agent, "watch", MESH, TZ="UTC")
        assert await first_line(agent, process) == f"1970-01-01 00:00:00  {MESH}  c1 is down\n"
        process.kill()
        await process.communicate()
        read, write = os.pipe()
        process = await start(agent, "watch", MESH, stdout=write)
        os.close(write)
        async with asyncio.timeout(20):
            while not select.select([read], [], [], 0)[0]:
                agent.daemon.events.add(types.Event(kind="leader", time=0, mesh=MESH))  # type: ignore[union-attr]
                await asyncio.sleep(0.05)
            os.close(read)
            while process.returncode is None:
                agent.daemon.events.add(types.Event(kind="leader", time=0, mesh=MESH))  # type: ignore[union-attr]
                await asyncio.sleep(0.05)
        assert (await process.communicate(), process.returncode) == ((None, b""), 0)
        code, said = await refuses(agent, "watch", "prdo")
        assert (code, said) == (1, "this host is not in mesh prdo: did you mean prod?\n")

    run(test)


async def on_a_terminal(agent: Agent, *arguments: str, columns: int = 80, **more: str) -> list[str]:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    process = await start(agent, *arguments, stdout=slave, **more)
    assert await process.wait() == 0
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:  # how a terminal ends whose other side is closed
        os.close(master)
    return shown.decode().splitlines()


def test_colours_and_widths_are_a_terminals(run: Run) -> None:
    async def test(make: Make) -> None:
        agent, other = make("p1"), make("p2")
        agent.declare(other)
        other.declare()
        await asyncio.gather(agent.start(), other.start())
        await eventually(lambda: agent.alive(2), "they know each other")
        coloured = await on_a_terminal(agent, "status")
        assert "\033[32mall is well\033[0m" in coloured
        for arguments in (["status"], ["members"], ["mesh", "list"], ["mesh", "show", MESH]):
            assert any("\033[" in line for line in await on_a_terminal(agent, *arguments))
            assert not any("\033[" in line for line in await on_a_terminal(agent, *arguments, NO_COLOR="1"))
            assert "\033[" not in (await smegctl(agent, *arguments)).out
        narrow = await on_a_terminal(agent, "status", columns=30, NO_COLOR="1")
        assert max(map(len, narrow)) == 30
        assert (await smegctl(agent, "status")).out.splitlines()[1] == f"node key {encode_key(agent.keys.node_key)}"

    run(test)


def test_status_says_who_is_gone_and_what_changed_last(run: Run) -> None:
    async def test(make: Make) -> None:
        agent, other, third = make("p1"), make("p2"), make("p3")
        agent.declare(other)
        other.declare()
        third.declare(other)
        await asyncio.gather(agent.start(), other.start(), third.start())
        await eventually(lambda: agent.alive(3), "they know each other")
        assert "all is well" in (await smegctl(agent, "status")).out.splitlines()
        await eventually(lambda: agent.mesh().leader, "one leads")
        leaver = third if agent.mesh().leader != "p3" else other  # else what changes last is who leads
        leaver.file().unlink()
        await leaver.daemon.reload()  # type: ignore[union-attr]
        await eventually(lambda: agent.alive(2), "one has left")
        status = (await smegctl(agent, "status")).out
        assert f"what changed last:\n  prod: {leaver.name} left, " in status
        (mesh,) = (await says(agent, "status"))["meshes"]
        assert (mesh["last_change"]["kind"], mesh["last_change"]["member"]) == ("left", leaver.name)

    run(test)
