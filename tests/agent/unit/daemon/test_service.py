"""smegd as its own process under a manager: ready, reloaded, stopped; without root."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemons import MESH, Agent, Make, Operator, Run, eventually

from smegmesh.control.client import Client
from smegmesh.daemon.notify import Notifier
from smegmesh.daemon.service import Service
from smegmesh.store import StoreDamaged

SOURCE = Path(__file__).parents[4] / "roles" / "smegmesh" / "files" / "smegmesh" / "src"


class Manager:
    """What systemd is to a service: starts it, is told by it, ends it."""

    def __init__(self, directory: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._socket.settimeout(10)
        self.address: str = self._socket.getsockname()

    @contextmanager
    def running(self, agent: Agent) -> Iterator[subprocess.Popen[str]]:
        options = [f"--{name}={getattr(agent.directories, name)}" for name in ("etc", "state", "run")]
        environment = {
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "NOTIFY_SOCKET": self.address,
            "WATCHDOG_USEC": "60000000",
            "JOURNAL_STREAM": "1:2",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "smegmesh.daemon", *options],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def told(self) -> str:
        """The next message but signs of life and status alone."""
        while True:
            text = self._socket.recv(4096).decode()
            if text != "WATCHDOG=1" and not text.startswith("STATUS="):
                return text

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


@pytest.fixture
def agent(tmp_path: Path, operator: Operator) -> Agent:
    made = Agent("p1", tmp_path / "p1", operator)
    made.declare()
    return made


def test_the_life_of_a_service(agent: Agent, manager: Manager) -> None:
    with manager.running(agent) as process:
        assert manager.told() == "READY=1\nSTATUS=prod up"
        agent.declare(mesh="office")
        agent.certify(meshes=("office",))
        process.send_signal(signal.SIGHUP)
        assert manager.told().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert manager.told() == "READY=1\nSTATUS=office up, prod up"
        api = Client(agent.directories.run / "api.sock")
        problems = {mesh["mesh"]: mesh["problem"] for mesh in api.status()["meshes"]}
        assert "does not admit p1 to mesh prod" in problems[MESH]
        assert problems["office"] is None
        process.send_signal(signal.SIGTERM)
        assert manager.told() == "STOPPING=1"
        _, said = process.communicate(timeout=10)
        assert process.returncode == 0
        assert "<6>mesh=prod node=p1: interface smeg-prod created" in said.splitlines()
        assert "Traceback" not in said
        assert not (agent.directories.run / "api.sock").exists()


def test_who_is_stopped_while_starting_is_never_ready(run: Run, manager: Manager) -> None:
    async def test(make: Make) -> None:
        agent = make("p2")
        agent.declare()
        daemon = agent.make()
        daemon.stopping.set()
        await Service(daemon, Notifier({"NOTIFY_SOCKET": manager.address})).run()
        assert manager.told() == "STOPPING=1"
        assert daemon.summary() == "no mesh declared"

    run(test)


def test_a_database_found_damaged_ends_the_service_in_failure(run: Run, manager: Manager) -> None:
    async def test(make: Make) -> None:
        agent = make("p3")
        agent.declare()
        daemon = agent.make()
        service = asyncio.create_task(Service(daemon, Notifier({"NOTIFY_SOCKET": manager.address})).run())
        await eventually(lambda: daemon.summary() == "prod up", "it is up")
        daemon._host.give_up(StoreDamaged("state.db: damaged", "restart smegd"))
        with pytest.raises(StoreDamaged, match="damaged"):
            await service

    run(test)


def test_what_stops_the_start_is_one_line(agent: Agent, manager: Manager) -> None:
    (agent.directories.etc / "agent.yml").write_text("colour: red\n")
    with manager.running(agent) as process:
        _, said = process.communicate(timeout=10)
        assert process.returncode == 1
        assert said.startswith("smegd: ")
        assert "colour" in said
        assert len(said.splitlines()) == 1
