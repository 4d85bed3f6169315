"""Hosts with a real agent each: declared as the role declares them, run as systemd would run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path
from typing import Any

from namespaces import Host, Lab, Router

from smegmesh.control.client import Client
from smegmesh.control.errors import ControlError
from smegmesh.identity.address import node_address
from smegmesh.identity.certificate import Grant, issue, make_authority, read_request
from smegmesh.identity.keys import decode_key, encode_key
from smegmesh.store.keys import KEYS_DIRECTORY, ensure_keys

MESH = "prod"
DAY = 86400

Fits = Callable[[bytes], bool]


class Operator:
    """Who holds the authority's key."""

    def __init__(self) -> None:
        self.authority, self._key = make_authority("test", 365, now=time.time() - DAY)

    def certify(
        self,
        request: bytes,
        meshes: tuple[str, ...] = (MESH,),
        days: int = 30,
        *,
        bridges: tuple[str, ...] = (),
        prefixes: tuple[str, ...] = (),
        start: float = -1,
    ) -> bytes:
        """From `start` on, in days from now; `days` may be over by then."""
        asked = read_request(request)
        grant = Grant(asked.node_name, asked.node_key, meshes, bridges, prefixes)
        begin = time.time() + (start if days > 0 else -3) * DAY
        end = time.time() + days * DAY if days > 0 else time.time() - DAY
        return issue(self.authority, self._key, asked, grant, not_before=begin, not_after=end)


class Agent:
    """smegd on one host of the lab."""

    def __init__(
        self, host: Host, directory: Path, operator: Operator, fits: Fits = lambda key: True, **certified: Any
    ) -> None:
        """`fits` says of a node key whether the host may have it: where hashes choose, a test chooses the key.

        `certified` is what else `Operator.certify` takes.
        """
        self.host = host
        self.etc, self.state, self.run = (directory / name for name in ("etc", "state", "run"))
        for path in (self.etc / "meshes.d", self.etc / "authorities/default", self.state, self.run):
            path.mkdir(parents=True)
        self.set_up({})
        while not fits(ensure_keys(self.state)[0].node_key):
            shutil.rmtree(self.state / KEYS_DIRECTORY)
        self._certify(operator, **certified)
        self.log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def import_key(self, private: bytes, operator: Operator) -> None:
        """Give the host another tunnel key, and a certificate for it."""
        options = ("--replace", "--json", "--state", str(self.state))
        self._smegctl("import-key", *options, stdin=encode_key(private))
        self._certify(operator)

    def _certify(self, operator: Operator, **certified: Any) -> None:
        made = json.loads(self._smegctl("request", "--node-name", self.host.name, "--json", "--state", str(self.state)))
        self.request = made["request"].encode()
        self.node_key = decode_key(made["node_key"])
        self.address = self.address_in(MESH)
        self.install_certificate(operator, operator.certify(self.request, **certified))

    def set_up(self, settings: dict[str, object]) -> None:
        """Write agent.yml, with these settings beside the usual; an agent reads it when it starts."""
        usual = {"node_name": self.host.name, "plane": "userspace"}
        (self.etc / "agent.yml").write_text(json.dumps({**usual, **settings}))

    def install_certificate(self, operator: Operator, certificate: bytes) -> None:
        directory = self.etc / "authorities/default"
        (directory / "authority.pem").write_bytes(operator.authority)
        (directory / "node.pem").write_bytes(certificate)

    def address_in(self, mesh: str) -> IPv6Address:
        return node_address(mesh, self.node_key)

    def declare(
        self, role: str, bootstrap: list[Host], mesh: str = MESH, *, ipv6: bool = False, **more: object
    ) -> None:
        """Write a declaration; a running agent reads it with `reload`. With `ipv6` the underlay is that."""
        declaration: dict[str, object] = {
            "state": "present",
            "owner": "role",
            "mesh": mesh,
            "authority": "default",
            "role": role,
            "bootstrap": [
                {"name": host.name, "address": f"[{host.underlay6}]:4000" if ipv6 else f"{host.underlay}:4000"}
                for host in bootstrap
            ],
            **({"endpoint": self.host.underlay6 if ipv6 else self.host.underlay} if role == "peer" else {}),
            **more,
        }
        self.apply({key: value for key, value in declaration.items() if value is not None})

    def apply(self, *declarations: dict[str, object]) -> dict[str, Any]:
        """Hand declarations to smegctl, as the module does."""
        options = ["--etc", str(self.etc), "--state", str(self.state), "--socket", str(self.run / "api.sock")]
        text = self._smegctl("apply", "--json", *options, stdin=json.dumps({"declarations": declarations}))
        answer: dict[str, Any] = json.loads(text)
        return answer

    def doctor(self, *arguments: str, status: int | None = None) -> dict[str, Any]:
        """What `smegctl doctor` says; with what exit status, if that is given."""
        options = ["--etc", str(self.etc), "--state", str(self.state), "--socket", str(self.run / "api.sock")]
        command = ["env", _PATH, sys.executable, "-m", "smegmesh.cli", "doctor", "--json", *options, *arguments]
        done = subprocess.run(self.host.command(command), capture_output=True, text=True, timeout=20, check=False)
        if status is not None:
            assert done.returncode == status, done.stdout + done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def _smegctl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.host.run("env", _PATH, sys.executable, "-m", "smegmesh.cli", *arguments, stdin=stdin)

    def start(self, *program: str) -> None:
        """Start smegd, or another program that takes its arguments."""
        options = ["--etc", str(self.etc), "--state", str(self.state), "--run", str(self.run)]
        program = program or ("-m", "smegmesh.daemon")
        command = self.host.command(["env", _PATH, sys.executable, *program, *options])
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """End the agent; the interface stays."""
        assert self._process is not None
        self._process.send_signal(with_signal)
        code = self._process.wait(20)
        self._process = None
        return code

    def wait(self) -> int:
        """Wait for an agent that ends by itself; its exit code."""
        assert self._process is not None
        code = self._process.wait(20)
        self._process = None
        return code

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def client(self) -> Client:
        return Client(self.run / "api.sock", timeout=5)

    def mesh(self, mesh: str = MESH) -> dict[str, Any] | None:
        """The mesh in the agent's status, None as long as there is no answer."""
        try:
            return next((each for each in self.client().status()["meshes"] if each["mesh"] == mesh), None)
        except ControlError:
            return None

    def members(self, mesh: str = MESH) -> dict[str, dict[str, Any]]:
        return {member["name"]: member for member in self.client().members(mesh)}


class Pinging:
    """A ping that runs beside the test, a hundred echoes a second unless told otherwise."""

    def __init__(self, agent: Agent, target: object, source: object = None, each: float = 0.01) -> None:
        self._each = each
        self._under_way = max(round(0.1 / each), 1)  # echoes of the last tenth of a second: an answer may still come
        command = ["ping", "-n", "-i", str(each), *(("-I", str(source)) if source else ()), str(target)]
        self._process = subprocess.Popen(
            agent.host.command(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def lost(self) -> int:
        """End it; the echoes without an answer."""
        sent, answered = self._end()
        assert sent > self._under_way
        return len(set(range(1, max({sent - self._under_way, *answered}) + 1)) - answered)

    def gap(self) -> float:
        """End it; seconds of the longest time without an answer."""
        sent, answered = self._end()
        marks = [0, *sorted(answered), sent - self._under_way]
        return max(after - before for before, after in pairwise(marks)) * self._each

    def _end(self) -> tuple[int, set[int]]:
        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate(timeout=10)
        sent = int(re.search(r"(\d+) packets transmitted", output)[1])  # type: ignore[index]
        return sent, {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", output)}


@contextmanager
def agents(lab: Lab, directory: Path, operator: Operator) -> Iterator[Callable[..., Agent]]:
    """Makes agents by host name, perhaps behind a router; ends those that still run.

    Their logs are in what pytest shows of a failed test.
    """
    made: list[Agent] = []

    def make(name: str, fits: Fits = lambda key: True, router: Router | None = None, **certified: Any) -> Agent:
        host = lab.host(name) if router is None else lab.inside(router, name)
        agent = Agent(host, directory / name, operator, fits, **certified)
        made.append(agent)
        return agent

    try:
        yield make
    finally:
        for agent in made:
            if agent.log.exists():
                print(f"--- {agent.host.name}\n{agent.log.read_text()[-4000:]}")
            if agent.running:
                agent.stop(signal.SIGKILL)


def eventually(condition: Callable[[], object], within: float, what: str) -> float:
    """Wait until a condition holds; the seconds it took. Fails after `within` seconds."""
    start = time.monotonic()
    while time.monotonic() - start < within:
        if condition():
            return time.monotonic() - start
        time.sleep(0.05)
    raise AssertionError(f"not within {within:g} s: {what}")


_PATH = "PYTHONPATH=" + os.pathsep.join(path for path in sys.path if path.endswith("/src"))
