"""Real agents for the targets, with WireGuard in memory and links on loopback.

agents.py install       the places and the command line of the host's agent, none of it running
agents.py start NAME    an agent that may be in any mesh, and advertise 2001:db8:10::/48; a1 is the host's own, others
                        live elsewhere; the URL of its API over TLS is in /opt/smegmesh-test/running/NAME
agents.py join NAME     has another agent than a1 join the mesh prod, which it hears of from a1
agents.py kill NAME     has an agent die without a word
agents.py end           ends all agents
agents.py clean         ends them, and removes what they and `install` made
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from smegmesh.identity.certificate import Grant, issue, make_authority, make_request, read_request
from smegmesh.store.keys import ensure_keys

USER = "smegmesh"
INSTALLED = Path("/opt/smegmesh")
SMEGCTL = INSTALLED / "current/bin/smegctl"
# Only scripts/integration makes it, where nothing is a real host's.
TEST = Path("/opt/smegmesh-test")
PYTHON, SOURCE, LOG = TEST / "venv/bin/python", TEST / "src", TEST / "log"
AUTHORITY, HOSTS, RUNNING = TEST / "authority", TEST / "hosts", TEST / "running"
DAY = 86400
START_SECONDS = 20


class Places(NamedTuple):
    """Where an agent has what."""

    etc: Path
    state: Path
    run: Path


OWN = Places(Path("/etc/smegmesh"), Path("/var/lib/smegmesh"), Path("/run/smegmesh"))


def places(name: str) -> Places:
    return OWN if name == "a1" else Places(*(HOSTS / name / part for part in Places._fields))


def install() -> None:
    """What the module agent would make, but from this checkout and in a moment."""
    if not any(user.pw_name == USER for user in pwd.getpwall()):
        subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", USER], check=True)
    _make(OWN)
    program = INSTALLED / "versions/test/bin/smegctl"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {PYTHON} -m smegmesh.cli "$@"\n')
    program.chmod(0o755)
    if not (INSTALLED / "current").is_symlink():
        (INSTALLED / "current").symlink_to("versions/test")


def _make(where: Places) -> None:
    (where.etc / "meshes.d").mkdir(parents=True, exist_ok=True)
    for path in (where.state, where.run):
        path.mkdir(parents=True, exist_ok=True)
        shutil.chown(path, USER, USER)


def start(name: str) -> None:
    """Returns when the agent answers."""
    install()
    where = places(name)
    _make(where)
    _certify(name, where)
    port, api = _free_port(), f"127.0.0.1:{_free_port()}"
    (where.etc / "agent.yml").write_text(
        f"node_name: {name}\nplane: memory\nlisten: 127.0.0.1\nlink_port: {port}\napi: {{listen: '{api}'}}\n"
    )
    command = [PYTHON, "-m", "smegmesh.daemon", "--etc", where.etc, "--state", where.state, "--run", where.run]
    with (LOG / name).open("ab") as log:
        process = subprocess.Popen(
            ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups", *command],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    RUNNING.mkdir(exist_ok=True)
    (RUNNING / name).write_text(
        json.dumps({"pid": process.pid, "address": f"127.0.0.1:{port}", "api": f"https://{api}"})
    )
    deadline = time.monotonic() + START_SECONDS
    asked = [SMEGCTL, "status", "--socket", where.run / "api.sock"]
    while subprocess.run(asked, capture_output=True, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"agent {name} does not answer: {(LOG / name).read_text()[-2000:]}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def _certify(name: str, where: Places) -> None:
    """Keys and a certificate, as the module mesh_certificate gives them to a1."""
    now = time.time()
    certificate, key = AUTHORITY / "authority.pem", AUTHORITY / "authority.key"
    if not certificate.exists():
        AUTHORITY.mkdir()
        for path, content in zip((certificate, key), make_authority("test", 365, now=now - DAY), strict=True):
            path.write_bytes(content)
    keys, _made = ensure_keys(where.state)
    for path in where.state.rglob("*"):
        shutil.chown(path, USER, USER)
    request = read_request(make_request(keys.identity, name, keys.node_key))
    grant = Grant(name, request.node_key, ("*",), (), ("2001:db8:10::/48",))
    directory = where.etc / "authorities/default"
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(certificate, directory)
    node = issue(certificate.read_bytes(), key.read_bytes(), request, grant, not_before=now - DAY, not_after=now + DAY)
    (directory / "node.pem").write_bytes(node)


def join(name: str) -> None:
    where = places(name)
    bootstrap = {"name": "a1", "address": json.loads((RUNNING / "a1").read_text())["address"]}
    declaration = {"owner": "play", "state": "present", "mesh": "prod", "role": "peer", "endpoint": "127.0.0.1"}
    request = json.dumps({"declarations": [{**declaration, "bootstrap": [bootstrap]}]})
    options = ["--etc", where.etc, "--state", where.state, "--socket", where.run / "api.sock"]
    subprocess.run([SMEGCTL, "apply", *options], input=request, text=True, check=True)


def kill(name: str) -> None:
    _signal(RUNNING / name, signal.SIGKILL)


def end() -> None:
    for file in sorted(RUNNING.glob("*")):
        _signal(file, signal.SIGTERM)


def _signal(file: Path, number: signal.Signals) -> None:
    """Returns when the agent has ended; one that does not within ten seconds is killed."""
    pid = json.loads(file.read_text())["pid"]
    os.kill(pid, number)
    deadline = time.monotonic() + 10
    while _lives(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    file.unlink()


def _lives(pid: int) -> bool:
    """Whether a process is there and is no zombie, which has no command line any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


def clean() -> None:
    end()
    for path in (*OWN, INSTALLED, AUTHORITY, HOSTS):
        shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    if not TEST.is_dir():
        sys.exit("this writes to the places of a real agent: run it with scripts/integration")
    what, *names = sys.argv[1:]
    {"install": install, "start": start, "join": join, "kill": kill, "end": end, "clean": clean}[what](*names)


main()
