"""smegctl, names and metrics on hosts with systemd: what an operator asks, changes and watches."""

from __future__ import annotations

import json
import subprocess
from urllib.request import ProxyHandler, build_opener

from hosts import ENGINE, engine, kill, mesh, play, run, seconds_until, start

HOSTS = {"p1": "198.18.11.11", "p2": "198.18.11.12", "p3": "198.18.11.13", "c1": "198.18.11.21"}
MESH = "trial"


def smegctl(host: str, *arguments: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    return engine("exec", "--user", user, f"molecule-{host}", "/usr/local/bin/smegctl", *arguments, check=False)


def said(host: str, *arguments: str) -> str:
    answer = smegctl(host, *arguments)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def refused(host: str, *arguments: str, user: str = "root") -> tuple[int, str]:
    """Exit code, and what it says: one line."""
    answer = smegctl(host, *arguments, user=user)
    assert answer.returncode != 0
    assert "Traceback" not in answer.stderr
    return answer.returncode, answer.stderr


def dig(host: str, *question: str) -> list[str]:
    command = ["dig", "+short", "+time=2", "+tries=2", f"@{HOSTS[host]}", *question]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.split("\n")[:-1]


def metrics(host: str) -> dict[str, float]:
    opener = build_opener(ProxyHandler({}))
    with opener.open(f"http://{HOSTS[host]}:4081/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_names_are_answered_by_every_host() -> None:
    address = mesh("p2", MESH)["address"]
    for host in ("p1", "p3"):
        assert dig(host, f"p2.{MESH}.smeg", "AAAA") == [address]
        assert dig(host, "-x", address) == [f"p2.{MESH}.smeg."]
    assert dig("p3", f"declared.{MESH}.smeg", "AAAA") == [mesh("p1", MESH)["address"]]
    assert dig("p3", f"nobody.{MESH}.smeg", "AAAA") == []


def test_an_alias_and_a_service_are_known_to_all_and_have_names() -> None:
    said("p2", "node", "set", MESH, "--alias", "web")
    said("p2", "service", "add", MESH, "https", "tcp/443")
    seconds_until(lambda: dig("p3", f"web.{MESH}.smeg", "AAAA") == [mesh("p2", MESH)["address"]], within=10)
    seconds_until(lambda: dig("p1", f"_https._tcp.{MESH}.smeg", "SRV") != [], within=10)
    assert "https" in said("p3", "service", "list", MESH)
    said("p2", "service", "remove", MESH, "https")
    seconds_until(lambda: dig("p1", f"_https._tcp.{MESH}.smeg", "SRV") == [], within=10)


def test_what_is_wrong_is_said_in_one_line() -> None:
    assert f"{MESH}.yml" in refused("p1", "node", "set", MESH, "--alias", "other")[1], "what /etc declares"
    assert MESH in refused("p2", "members", "trail")[1], "did you mean"
    assert "label" in refused("p2", "node", "set", MESH, "--alias", "not a label")[1]
    code, text = refused("p2", "query", MESH, "members[")
    assert "^" in text and code == 2
    assert "smegmesh" in refused("p2", "status", user="admin")[1], "the group that may"
    run("p2", "systemctl", "stop", "smegd")
    try:
        assert "systemctl" in refused("p2", "status")[1]
    finally:
        run("p2", "systemctl", "start", "smegd")
    seconds_until(lambda: mesh("p2", MESH)["members"]["alive"] == len(HOSTS), within=20)


def test_the_doctor_finds_nothing_amiss_on_hosts_that_are_well_and_an_agent_that_is_gone() -> None:
    assert found(play("doctor")) == []
    run("p2", "systemctl", "stop", "smegd")
    try:
        assert ("p2", "agent.not-running") in found(play("doctor", succeeds=False))
    finally:
        run("p2", "systemctl", "start", "smegd")
    seconds_until(lambda: mesh("p1", MESH)["members"]["alive"] == len(HOSTS), within=20)


def found(said: str) -> list[tuple[str, str]]:
    """The errors, by host, in the table that the playbook prints."""
    rows = [line.split() for line in said.splitlines()]
    return [(row[0], row[2]) for row in rows if row[1:2] == ["error"]]


def test_metrics_and_events_tell_of_a_host_that_died_and_its_names_go() -> None:
    count = f'smegmesh_mesh_members{{mesh="{MESH}",liveness="alive"}}'
    assert metrics("p1")[count] == len(HOSTS)
    command = [ENGINE, "exec", "molecule-p1", "smegctl", "watch", "--json"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        kill("p3")
        seconds_until(lambda: mesh("p1", MESH)["members"]["down"] == 1, within=30)
        seconds_until(lambda: dig("p1", f"p3.{MESH}.smeg", "AAAA") == [], within=5)
        seconds_until(lambda: metrics("p1")[count] == len(HOSTS) - 1, within=10)
        assert watching.stdout is not None
        events = (json.loads(line) for line in watching.stdout)
        assert next(event for event in events if "down" in json.dumps(event) and "p3" in json.dumps(event))
    finally:
        watching.kill()
        watching.communicate()
        start("p3")
    seconds_until(lambda: mesh("p1", MESH)["members"]["alive"] == len(HOSTS), within=60)
    assert dig("p1", f"p3.{MESH}.smeg", "AAAA") == [mesh("p3", MESH)["address"]]


def test_the_graph_shows_all() -> None:
    text = said("p1", "graph", MESH)
    assert text.startswith(("graph", "digraph")) and all(host in text for host in HOSTS)
