"""The API over real TLS on loopback: who may ask what, and what becomes of everybody else."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from https_hosts import DAY, LOOPBACK, Answer, Issuer, Shown, ask, client_context, free_port

from smegmesh.control import types
from smegmesh.control.errors import ControlError
from smegmesh.control.https import HttpsServer, Limits
from smegmesh.control.operations import CHANGING
from smegmesh.control.ports import parse_listen
from smegmesh.control.tls import ApiTls

CLOSED = (ConnectionError, ssl.SSLError)


class Agent:
    """A source of answers."""

    starting = False

    def __init__(self) -> None:
        self.reloads = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.member = types.Member(
            name="a1", role="peer", node_key="key", address="fd00::1", liveness="alive", number=3
        )

    def status(self) -> types.Status:
        meshes = [types.Mesh(mesh="prod", state="up")]
        return types.Status(version="1.0", node_name="a1", node_key="key", uptime=3.0, meshes=meshes)

    async def members(self, mesh: str) -> list[types.Member]:
        await self.may_answer.wait()
        if mesh == "faulty":
            raise RuntimeError("a secret detail")
        return {"prod": [self.member]}[mesh]

    async def reload(self) -> types.Reloaded:
        self.reloads += 1
        return types.Reloaded()


@dataclass
class Site:
    """A running API."""

    issuer: Issuer
    port: int
    agent: Agent
    server: HttpsServer
    tls: ApiTls | None

    async def ask(self, shown: Shown | None, *request: object) -> Answer:
        return await ask(self.port, client_context(self.issuer, shown), *request)


@asynccontextmanager
async def serving(issuer: Issuer, *others: Issuer, limits: Limits | None = None) -> AsyncIterator[Site]:
    port, agent = free_port(), Agent()
    tls = issuer.serves(issuer.node(), *others)
    server = HttpsServer(f"{LOOPBACK}:{port}", agent, lambda: site.tls, limits or Limits())
    site = Site(issuer, port, agent, server, tls)
    server.start()
    try:
        await listening(port)
        yield site
    finally:
        await server.stop()


async def listening(port: int) -> None:
    async def connects() -> bool:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            return False
        writer.transport.abort()
        return True

    await eventually(connects)


async def eventually(condition: Callable[[], object], within: float = 8.0) -> None:
    end = time.monotonic() + within
    while True:
        held = condition()
        if await held if asyncio.iscoroutine(held) else held:
            return
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "ours")


@pytest.fixture
def other(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "theirs", "other")


async def test_an_operator_reads(issuer: Issuer) -> None:
    alice = issuer.operator()
    async with serving(issuer) as site:
        status = await site.ask(alice)
        assert (status.status, status.kind) == (200, "application/json")
        assert msgspec.convert(status.data, types.Status, strict=True) == site.agent.status()
        assert (await site.ask(alice, "GET", "/v1/meshes")).data[0]["mesh"] == "prod"
        assert (await site.ask(alice, "GET", "/v1/meshes/prod/members")).data[0]["name"] == "a1"
        found = await site.ask(alice, "GET", "/v1/meshes/prod/query?expression=members.prod%5B%5D.number")
        assert (found.status, found.data) == (200, {"result": [3]})
        missing = await site.ask(alice, "GET", "/v1/meshes/office/members")
        assert (missing.status, missing.kind) == (404, "application/problem+json")
        assert missing.data["fix"] == "its meshes are: prod"
        assert (await site.ask(alice, "HEAD")).data is None
        assert status.headers["Connection"] == "close"


async def test_many_ask_at_once(issuer: Issuer) -> None:
    alice = issuer.operator()
    async with serving(issuer) as site:
        answers = await asyncio.gather(*(site.ask(alice) for _ in range(40)))
    assert {answer.status for answer in answers} == {200}


@pytest.mark.parametrize(
    ("method", "target"),
    [
        *((operation.method, operation.path) for operation in CHANGING),
        ("POST", "/v1/status"),
        ("PUT", "/v1/x"),
        ("DELETE", "/v1/meshes"),
    ],
)
async def test_nothing_is_changed_over_the_network(issuer: Issuer, method: str, target: str) -> None:
    async with serving(issuer) as site:
        answer = await site.ask(issuer.operator(), method, target, b"x" * 1000)
        assert (answer.status, answer.kind) == (405, "application/problem+json")
        assert answer.headers["Allow"] == "GET, HEAD"
        assert "changes nothing" in answer.data["detail"]
        assert site.agent.reloads == 0


async def test_other_errors_are_problem_documents(issuer: Issuer) -> None:
    async with serving(issuer) as site:
        for target, status in (("/nothing", 404), ("/v1/reload", 404), ("/v1/meshes/faulty/members", 500)):
            answer = await site.ask(issuer.operator(), "GET", target)
            assert (answer.status, answer.kind) == (status, "application/problem+json")
            assert "secret" not in str(answer.data)


async def test_a_node_is_no_operator(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "smegmesh.control")
    async with serving(issuer) as site:
        for method, target in (("GET", "/v1/status"), ("POST", "/v1/status"), ("GET", "/"), ("GET", "/ui/main.js")):
            answer = await site.ask(issuer.node("b1"), method, target)
            assert (answer.status, answer.kind) == (403, "application/problem+json")
            assert "not an operator's" in answer.data["detail"]
            assert "smegmesh_authority" in answer.data["fix"]
    assert any("refused a connection from 127.0.0.1: the certificate is not an" in text for text in caplog.messages)


async def test_an_expired_operator(issuer: Issuer) -> None:
    async with serving(issuer) as site:
        expired = await site.ask(issuer.operator(age=3 * DAY, life=DAY))
        assert expired.status == 403
        assert "of 'alice' is expired since" in expired.data["detail"]
        assert (await site.ask(issuer.operator())).status == 200


async def test_a_certificate_that_expires_while_its_connection_is_open(issuer: Issuer) -> None:
    now = [time.time()]
    async with serving(issuer) as site:
        site.tls = issuer.serves(issuer.node(), wall=lambda: now[0])
        reader, writer = await asyncio.open_connection(
            LOOPBACK, site.port, ssl=client_context(issuer, issuer.operator()), server_hostname="a1"
        )
        await eventually(lambda: site.server._connections)
        now[0] += 2 * DAY
        writer.write(b"GET /v1/status HTTP/1.1\r\nHost: a1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        writer.transport.abort()


async def test_another_authority_and_no_certificate(
    issuer: Issuer, other: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "smegmesh.control")
    for shown, reason in ((other.operator(), "certificate of another authority"), (None, "no certificate was shown")):
        async with serving(issuer) as site:
            with pytest.raises(CLOSED):
                await site.ask(shown)
            await eventually(lambda reason=reason: any(reason in text for text in caplog.messages))


async def test_operators_of_every_authority_that_the_host_holds(issuer: Issuer, other: Issuer) -> None:
    async with serving(issuer, other) as site:
        assert (await site.ask(other.operator("bob"))).status == 200
        refused = await site.ask(other.node("b1"))
        assert (refused.status, "not an operator's" in refused.data["detail"]) == (403, True)


async def test_renewed_credentials_are_followed_and_no_mesh_means_nobody(issuer: Issuer, other: Issuer) -> None:
    async with serving(issuer) as site:
        assert (await site.ask(issuer.operator())).status == 200
        site.tls = other.serves(other.node())
        with pytest.raises(ssl.SSLCertVerificationError):
            await site.ask(issuer.operator())
        assert (await ask(site.port, client_context(other, other.operator()))).status == 200
        site.tls = None
        with pytest.raises(CLOSED):
            await ask(site.port, client_context(other, other.operator()))


async def test_files_that_cannot_be_used_are_a_problem_until_they_can(issuer: Issuer) -> None:
    async with serving(issuer) as site:
        good, node = site.tls, issuer.node("b1")
        node.key.write_bytes(issuer.operator().key.read_bytes())
        site.tls = issuer.serves(node)
        with pytest.raises(CLOSED):
            await site.ask(issuer.operator())
        assert site.server.problem is not None
        assert f"api: cannot use {node.certificate}" in site.server.problem
        site.tls = good
        assert (await site.ask(issuer.operator())).status == 200
        assert site.server.problem is None


async def test_tls_older_than_1_3(issuer: Issuer) -> None:
    context = client_context(issuer, issuer.operator())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(issuer) as site:
        with pytest.raises(CLOSED):
            await ask(site.port, context)


async def test_curl_as_documented(issuer: Issuer) -> None:
    alice = issuer.operator()
    async with serving(issuer) as site:
        command = ["curl", "--silent", "--show-error", "--resolve", f"a1:{site.port}:{LOOPBACK}"]
        command += ["--cert", alice.certificate, "--key", alice.key, "--cacert", issuer.file]
        done = await asyncio.to_thread(
            subprocess.run, [*command, f"https://a1:{site.port}/v1/meshes"], capture_output=True, text=True, check=False
        )
    assert '"mesh":"prod"' in done.stdout, done.stderr


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), 8) == b""
    except (ConnectionError, ssl.SSLError):
        return True


@pytest.mark.parametrize("said", [b"", b"GET /v1/status HTTP/1.1\r\nHost: a1\r\nX-Slow: "])
async def test_slow_clients_are_dropped(issuer: Issuer, said: bytes) -> None:
    async with serving(issuer, limits=Limits(connection_time=0.2)) as site:
        reader, writer = await asyncio.open_connection(
            LOOPBACK, site.port, ssl=client_context(issuer, issuer.operator()), server_hostname="a1"
        )
        writer.write(said)
        assert await ended(reader)
        writer.transport.abort()


async def test_who_does_not_end_its_connection_is_dropped(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    def read_and_stay() -> bytes:
        with socket.create_connection((LOOPBACK, site.port), timeout=8) as plain:
            session = client_context(issuer, alice).wrap_socket(
                plain, server_hostname="a1", do_handshake_on_connect=True
            )
            with session:
                session.sendall(b"GET /v1/status HTTP/1.1\r\nHost: a1\r\n\r\n")
                answer = session.recv(9)
                with contextlib.suppress(*CLOSED):
                    while True:  # says nothing of an end itself, and sends
                        session.sendall(b"x")
                        time.sleep(0.02)
                return answer

    alice = issuer.operator()
    async with serving(issuer, limits=Limits(connection_time=0.3)) as site:
        assert await asyncio.to_thread(read_and_stay) == b"HTTP/1.1 "
        await eventually(lambda: not site.server._connections)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_who_does_not_read_is_dropped(issuer: Issuer) -> None:
    async with serving(issuer, limits=Limits(connection_time=2.0)) as site:
        site.agent.member = types.Member(
            name="x" * 30_000_000, role="peer", node_key="key", address="fd00::1", liveness="alive", number=3
        )
        reader, writer = await asyncio.open_connection(
            LOOPBACK, site.port, ssl=client_context(issuer, issuer.operator()), server_hostname="a1", limit=1024
        )
        writer.write(b"GET /v1/meshes/prod/members HTTP/1.1\r\nHost: a1\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await eventually(lambda: not site.server._connections)
        writer.transport.abort()


async def test_who_does_not_speak_tls_in_time_is_dropped(issuer: Issuer) -> None:
    async with serving(issuer, limits=Limits(handshake_time=0.2)) as site:
        for said in (b"", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection(LOOPBACK, site.port)
            writer.write(said)
            assert await ended(reader)
            writer.transport.abort()


async def test_too_large_a_request(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(issuer) as site:
        reader, writer = await asyncio.open_connection(
            LOOPBACK, site.port, ssl=client_context(issuer, issuer.operator()), server_hostname="a1"
        )
        writer.write(b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a1\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.transport.abort()
    assert not caplog.messages


async def test_a_flood_of_refusals_is_not_logged_whole(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "smegmesh.control")
    async with serving(issuer) as site:
        for _ in range(60):
            reader, writer = await asyncio.open_connection(LOOPBACK, site.port)
            writer.write(b"nonsense")
            assert await ended(reader)
            writer.transport.abort()
    assert 30 <= len(caplog.messages) < 60


async def test_unfinished_handshakes_make_room(issuer: Issuer) -> None:
    async with serving(issuer, limits=Limits(handshakes=2)) as site:
        idle = [await asyncio.open_connection(LOOPBACK, site.port) for _ in range(30)]
        assert await ended(idle[0][0])
        assert (await site.ask(issuer.operator())).status == 200
        assert len(site.server._handshakes) <= 2
        for _, writer in idle:
            writer.transport.abort()


async def test_who_is_refused_makes_room_for_operators_and_these_are_limited(issuer: Issuer) -> None:
    async with serving(issuer, limits=Limits(connections=2)) as site:

        async def connect(shown: Shown) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            context = client_context(issuer, shown)
            return await asyncio.open_connection(LOOPBACK, site.port, ssl=context, server_hostname="a1")

        nodes = [await connect(issuer.node("b1")) for _ in range(2)]
        await eventually(lambda: len(site.server._connections) == 2)
        operators = [await connect(issuer.operator()) for _ in range(2)]
        assert await ended(nodes[0][0])
        assert await ended(nodes[1][0])
        await eventually(lambda: list(site.server._connections.values()) == [True, True])
        one_more = await connect(issuer.operator())
        assert await ended(one_more[0])
        for _, writer in (*nodes, *operators, one_more):
            writer.transport.abort()


async def test_stopping_ends_what_is_open(issuer: Issuer) -> None:
    async with serving(issuer) as site:
        site.agent.may_answer.clear()
        asking = asyncio.create_task(site.ask(issuer.operator(), "GET", "/v1/meshes/prod/members"))
        await eventually(lambda: site.server._connections)
        await site.server.stop()
        with pytest.raises((*CLOSED, http.client.HTTPException)):
            await asking


async def test_a_port_in_use_is_a_problem_until_it_is_free(issuer: Issuer) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind((LOOPBACK, port))
        taken.listen()
        server = HttpsServer(f"{LOOPBACK}:{port}", Agent(), lambda: None, Limits(listen_pause=0.05))
        server.start()
        await eventually(lambda: server.problem)
        assert f"api: cannot listen on {LOOPBACK} port {port}/tcp: the port is in use: stop" in str(server.problem)
    await eventually(lambda: server.problem is None)
    await server.stop()


@pytest.mark.parametrize(
    "text", ["", "4080", "::", ":::4080", "[::]", "[::]:0", "[::]:70000", "a1:4080", "1.2.3:4", "[1.2.3.4]:5"]
)
async def test_addresses_that_are_none(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ControlError, match=r"like '\[::\]:4080'"):
        parse_listen(text)
    server = HttpsServer(text, Agent(), lambda: None)
    server.start()
    await eventually(lambda: server.problem)
    assert str(server.problem) in caplog.messages
    await server.stop()


def test_addresses() -> None:
    assert parse_listen("[::]:4080") == ("::", 4080)
    assert parse_listen("198.18.0.1:4080") == ("198.18.0.1", 4080)


async def test_an_address_of_another_host() -> None:
    server = HttpsServer("[2001:db8:ffff::1]:4080", Agent(), lambda: None)
    server.start()
    await eventually(lambda: server.problem)
    assert "no interface of this host has the address" in str(server.problem)
    await server.stop()
