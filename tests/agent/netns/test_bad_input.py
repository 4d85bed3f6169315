"""What is wrong on a host is said in one line, with what to do; the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from agents import MESH, Agent, Operator, eventually

pytestmark = pytest.mark.netns


def up(agent: Agent, mesh: str = MESH) -> bool:
    status = agent.mesh(mesh)
    return status is not None and status["state"] == "up"


def problem(agent: Agent, mesh: str = MESH) -> str:
    status = agent.mesh(mesh)
    return (status or {}).get("problem") or ""


@contextmanager
def occupied(agent: Agent, kind: str, port: int) -> Iterator[None]:
    """Another program holds a port of the host meanwhile."""
    code = (
        f"import socket, sys; s = socket.socket(socket.AF_INET6, socket.{kind}); s.bind(('::', {port}));"
        "s.type == socket.SOCK_STREAM and s.listen(); print('held', flush=True); sys.stdin.read()"
    )
    with agent.host.start("python3", "-c", code) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate()


def test_the_link_port_in_use_stops_the_start(make: Callable[[str], Agent]) -> None:
    agent = make("p1")
    agent.declare("peer", [agent.host])
    with occupied(agent, "SOCK_STREAM", 4000):
        agent.start()
        assert agent.wait() == 1
    assert "4000" in agent.log.read_text()
    assert "link_port" in agent.log.read_text()


def test_a_wireguard_port_in_use_fails_that_mesh_alone(make: Callable[[str], Agent]) -> None:
    agent = make("p1")
    with occupied(agent, "SOCK_DGRAM", 51999):
        agent.declare("peer", [agent.host], port=51999)
        agent.start()
        eventually(lambda: "51999" in problem(agent), 15, "the status names the port")
        assert "smeg-prod" not in agent.host.run("ip", "link")
        agent.declare("peer", [agent.host], port=51998)
        eventually(lambda: up(agent), 15, "another port mends it without a restart")


def test_a_refused_port_is_not_remembered(make: Callable[[str], Agent]) -> None:
    agent = make("p1")
    agent.declare("peer", [agent.host])
    agent.start()
    eventually(lambda: up(agent), 15, "it is up on a port of its own choice")
    chosen = agent.mesh()["port"]
    with occupied(agent, "SOCK_DGRAM", 51999):
        with pytest.raises(AssertionError, match="51999"):
            agent.declare("peer", [agent.host], port=51999)
        eventually(lambda: up(agent), 15, "it is up as before")
        assert agent.mesh()["port"] == chosen


def test_a_certificate_of_another_authority_or_an_expired_one_is_refused(make: Callable[[str], Agent]) -> None:
    good, bad = make("p1"), make("p2")
    good.declare("peer", [good.host])
    good.start()
    eventually(lambda: up(good), 15, "the good one is up")
    stranger = Operator()
    bad.install_certificate(stranger, stranger.certify(bad.request))
    bad.declare("peer", [good.host])
    bad.start()
    eventually(lambda: "authority" in problem(bad), 20, "the status says that the authority is another")
    assert "p2" not in good.members()


def test_an_expired_certificate_makes_no_link(make: Callable[[str], Agent], operator: Operator) -> None:
    good, late = make("p1"), make("p2")
    good.declare("peer", [good.host])
    good.start()
    late.install_certificate(operator, operator.certify(late.request, days=-1))
    late.declare("peer", [good.host])
    late.start()
    eventually(lambda: "expired" in problem(late), 20, "the status says that it is expired")
    assert "p2" not in good.members()
    late.install_certificate(operator, operator.certify(late.request))
    late.client().reload()
    eventually(lambda: good.members().keys() == {"p1", "p2"}, 20, "a renewed one admits it, without a restart")


def test_a_certificate_for_another_mesh_is_named(make: Callable[[str], Agent], operator: Operator) -> None:
    agent = make("p1")
    agent.install_certificate(operator, operator.certify(agent.request, meshes=("office",)))
    agent.declare("peer", [agent.host])
    agent.start()
    eventually(lambda: "does not admit p1 to mesh prod" in problem(agent), 15, "the status says so")


def test_a_truncated_state_database_is_set_aside(make: Callable[[str], Agent]) -> None:
    first, second = make("p1"), make("p2")
    for agent in (first, second):
        agent.declare("peer", [first.host])
        agent.start()
    eventually(lambda: first.members().keys() == {"p1", "p2"} if up(first) else False, 20, "both know each other")
    number = second.mesh()["number"]
    second.stop()
    database = second.state / "state.db"
    database.write_bytes(database.read_bytes()[:1000])
    second.start()
    eventually(lambda: up(second) and second.members().keys() == {"p1", "p2"}, 20, "it learns the mesh again")
    eventually(lambda: second.mesh()["number"] > number, 20, "and goes on above its old number")
    assert "damaged" in " ".join(second.client().status()["problems"])
    assert (second.state / "state.db.damaged-1").exists()


def test_a_bad_declaration_leaves_the_running_mesh_alone(make: Callable[[str], Agent]) -> None:
    agent = make("p1")
    agent.declare("peer", [agent.host])
    agent.start()
    eventually(lambda: up(agent), 15, "it is up")
    path = agent.etc / "meshes.d" / "prod.yml"
    path.write_text(path.read_text() + "colour: red\n")
    agent.client().reload()
    assert up(agent)
    assert "colour" in problem(agent)
    assert str(path) in problem(agent)


def test_nothing_secret_is_in_any_log(make: Callable[[str], Agent]) -> None:
    agent = make("p1")
    agent.declare("peer", [agent.host])
    agent.start()
    eventually(lambda: up(agent), 15, "it is up")
    agent.stop()
    secret = (agent.state / "keys" / "tunnel.key").read_text().strip()
    said = agent.log.read_text() + agent.host.run("sh", "-c", "cat /proc/*/cmdline 2>/dev/null || true")
    assert secret not in said
