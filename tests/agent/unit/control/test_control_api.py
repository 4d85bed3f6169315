"""The API over a real Unix socket: what it says, to whom, and how errors read."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control_agent import Agent, running
from msgspec.structs import replace

from smegmesh.control import answers, types
from smegmesh.control.access import Credentials, may_change, peer_credentials
from smegmesh.control.client import Client
from smegmesh.control.errors import ControlError, NotPermitted, NotRunning, Refused
from smegmesh.control.server import ControlServer

SOURCE = Path(__file__).parents[4] / "roles" / "smegmesh" / "files" / "smegmesh" / "src"
NOBODY = 65534


async def ask(function: Callable[..., Any], *arguments: object) -> Any:
    return await asyncio.to_thread(function, *arguments)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


async def test_answers_are_what_the_types_say(path: Path) -> None:
    client = Client(path)
    async with running(path) as agent:
        assert msgspec.convert(await ask(client.status), types.Status, strict=True) == agent.status()
        assert msgspec.convert(await ask(client.meshes), list[types.Mesh], strict=True) == agent.meshes
        assert msgspec.convert(await ask(client.members, "prod"), list[types.Member], strict=True) == [agent.member]
        assert msgspec.convert(await ask(client.diagnosis, "prod"), types.Diagnosis, strict=True) == agent.known
        assert await ask(client.reload) == {"changed": ["prod"], "problems": {"office": "port 51820 is in use"}}
        assert agent.reloads == 1


async def test_few_searches_wait_and_those_whose_client_is_gone_are_not_made(path: Path) -> None:
    async with running(path) as agent:
        begun, go_on, members = 0, asyncio.Event(), agent.members

        async def slow(mesh: str) -> list[types.Member]:
            nonlocal begun
            begun += 1
            await go_on.wait()
            return await members(mesh)

        agent.members = slow  # type: ignore[method-assign]
        asking = [await ask_for_search(path) for _ in range(10)]
        reader, writer = await ask_for_search(path)
        assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        assert begun == 2, "who waits for a turn has not taken the members"
        for _reader, waiting in asking[2:]:
            waiting.close()
            await waiting.wait_closed()
        go_on.set()
        for answered, _writer in asking[:2]:
            assert (await answered.readline()).startswith(b"HTTP/1.1 200 ")
        assert await ask(Client(path).query, "prod", "status.node_name") == "a1"
        assert begun == 3
        for closing in (writer, asking[0][1], asking[1][1]):
            closing.close()


async def ask_for_search(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /v1/meshes/prod/query?expression=status HTTP/1.1\r\nHost: a\r\n\r\n")
    return reader, writer


async def test_an_expression_finds_what_the_members_are(path: Path) -> None:
    async with running(path):
        assert await ask(Client(path).query, "prod", "[status.node_name, members.prod[?own].name, 'ü&?']") == [
            "a1",
            ["a1"],
            "ü&?",
        ]
        for expression, why in (
            ("members[", "expression is not complete, at column 9: see https"),
            ("", "cannot be empty"),
        ):
            with pytest.raises(Refused, match=why) as caught:
                await ask(Client(path).query, "prod", expression)
            assert caught.value.status == 400
        with pytest.raises(Refused, match="its meshes are: prod, office"):
            await ask(Client(path).query, "other", "status")


async def test_a_node_is_taken_out(path: Path) -> None:
    removed = {"mesh": "prod", "node_key": "key", "changed": True}
    async with running(path):
        assert await ask(Client(path).revoke, "prod", "signed") == removed
        assert await ask(Client(path).forget, "prod", "a/1") == removed
        with pytest.raises(Refused, match="a2 is not down: revoke it"):
            await ask(Client(path).forget, "prod", "a2")
        with pytest.raises(Refused, match="its meshes are: prod, office"):
            await ask(Client(path).revoke, "other", "signed")


async def test_a_mesh_the_host_is_not_in(path: Path) -> None:
    async with running(path):
        for mesh in ("other", "a/b", "../status", "%2f"):
            for method in (Client(path).members, Client(path).diagnosis):
                with pytest.raises(Refused, match="its meshes are: prod, office") as caught:
                    await ask(method, mesh)
                assert caught.value.status == 404


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/status", 405),
        ("GET", "/v1/reload", 405),
        ("GET", "/v1/meshes/prod/revocations", 405),
        ("GET", "/v1/meshes/faulty/members", 500),
    ],
)
async def test_every_error_is_a_problem_document(path: Path, method: str, target: str, status: int) -> None:
    def raw() -> tuple[int, str | None, bytes]:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request(method, target)
        response = connection.getresponse()
        answer = response.status, response.getheader("Content-Type"), response.read()
        connection.close()
        return answer

    async with running(path):
        code, kind, content = await ask(raw)
    assert (code, (kind or "").partition(";")[0]) == (status, "application/problem+json")
    problem = json.loads(content)
    assert problem["status"] == status and problem["title"] and problem["detail"] and problem["fix"]
    assert b"secret" not in content


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def read(path: Path, target: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    answer = Answer(response.status, response.headers, response.read())
    connection.close()
    return answer


async def test_who_has_seen_it_is_told_so(path: Path) -> None:
    """Until something changes that is more than a time or a count of bytes."""
    async with running(path) as agent:
        for target in ("/v1/status", "/v1/meshes", "/v1/meshes/prod", "/v1/meshes/prod/members"):
            first = await ask(read, path, target)
            tag = first.headers["ETag"]
            again = await ask(partial(read, If_None_Match=f'"x", {tag}'), path, target)
            assert (first.status, again.status, again.body) == (200, 304, b"")
            assert again.headers["ETag"] == tag
        agent.member = replace(agent.member, received=7, handshake_age=1.0)
        again = await ask(partial(read, If_None_Match=tag), path, target)
        assert again.status == 304
        assert json.loads((await ask(read, path, target)).body)[0]["received"] == 7
        agent.member = replace(agent.member, liveness="down")
        again = await ask(partial(read, If_None_Match=tag), path, target)
        assert (again.status, json.loads(again.body)[0]["liveness"]) == (200, "down")


async def test_an_agent_that_starts_says_so_and_not_that_there_are_no_meshes(path: Path) -> None:
    async with running(path) as agent:
        agent.starting = True
        for target in ("/v1/status", "/v1/meshes/prod/members", "/v1/health"):
            answer = await ask(read, path, target)
            assert (answer.status, answer.headers.get_content_type()) == (503, "application/problem+json")
            assert "starting" in json.loads(answer.body)["detail"]
        with pytest.raises(NotRunning, match="ask again in a few seconds"):
            await ask(Client(path).status)
        assert (await ask(read, path, "/v1/health/live")).status == 200
        assert await ask(Client(path).reload), "it waits until the start is over"


async def test_health_gives_its_reasons(path: Path) -> None:
    async with running(path) as agent:
        answer = await ask(read, path, "/v1/health")
        assert answer.status == 503
        assert json.loads(answer.body)["reasons"] == ["mesh office: port 51820 is in use"]
        agent.meshes.pop()
        assert json.loads((await ask(read, path, "/v1/health")).body) == {"status": "ready"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["a1", "c1"]),
        ("?role=client", ["c1"]),
        ("?liveness=alive&role=peer", ["a1"]),
        ("?alias=web", ["a1"]),
        ("?service=https", ["a1"]),
        ("?home=a1", ["c1"]),
        ("?name=x", []),
    ],
)
async def test_members_are_chosen(path: Path, query: str, found: list[str]) -> None:
    async with running(path) as agent:
        agent.member = replace(agent.member, alias="web", services={"https": "tcp/443"})
        agent.others = [
            replace(agent.member, name="c1", node_key="x", role="client", alias=None, services={}, home="a1")
        ]
        answer = await ask(read, path, f"/v1/meshes/prod/members{query}")
        assert [member["name"] for member in json.loads(answer.body)] == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [("dns", "a1"), ("https", "a1"), ("https", "b2")]),
        ("?name=https", [("https", "a1"), ("https", "b2")]),
        ("?liveness=down&name=https", [("https", "b2")]),
        ("?name=x", []),
    ],
)
async def test_services_are_chosen(path: Path, query: str, found: list[tuple[str, str]]) -> None:
    async with running(path) as agent:
        agent.member = replace(agent.member, services={"https": "tcp/443", "dns": "udp/53"})
        agent.others = [replace(agent.member, name="b2", node_key="x", liveness="down", services={"https": "tcp/1"})]
        answer = await ask(read, path, f"/v1/meshes/prod/services{query}")
        assert [(service["name"], service["member"]) for service in json.loads(answer.body)] == found


async def test_long_answers_are_made_beside_the_loop_and_once_for_a_list_of_members(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(path) as agent:
        await ask(read, path, "/v1/status")  # loads the routes
        made = []

        def noting(body: bytes) -> str:
            made.append(threading.current_thread())
            return answers.tag_of(body)

        monkeypatch.setattr("smegmesh.control.routes.tag_of", noting)
        members = [agent.member]

        async def the_same(_mesh: str) -> list[types.Member]:
            return members

        agent.members = the_same  # type: ignore[method-assign]
        for target in ("services", "services?name=https", "members?role=peer", "members"):
            assert (await ask(read, path, f"/v1/meshes/prod/{target}")).status == 200
        assert len(made) == 4 and threading.current_thread() not in made
        for target in ("services", "members"):
            assert (await ask(read, path, f"/v1/meshes/prod/{target}")).status == 200
        assert len(made) == 4
        members = [replace(agent.member, services={"https": "tcp/443"})]
        assert json.loads((await ask(read, path, "/v1/meshes/prod/services")).body)[0]["value"] == "tcp/443"


async def test_one_member_by_what_it_is_called(path: Path) -> None:
    async with running(path) as agent:
        agent.others = [replace(agent.member, name="laptop", node_key="k/+=", alias="a1")]
        for name, found in (("a1", "a1"), ("k%2F%2B%3D", "laptop"), ("laptop", "laptop")):
            assert json.loads((await ask(read, path, f"/v1/meshes/prod/members/{name}")).body)["name"] == found
        near = await ask(read, path, "/v1/meshes/prod/members/latop")
        assert (near.status, json.loads(near.body)["fix"]) == (404, "did you mean laptop?")
        agent.others.append(replace(agent.others[0], node_key="other"))
        assert (await ask(read, path, "/v1/meshes/prod/members/laptop")).status == 409


@pytest.mark.parametrize(
    ("target", "fix"),
    [
        ("/v1/meshes/prod/members?rolle=client", "did you mean role?"),
        ("/v1/meshes/prod/members?role=clinet", "did you mean client?"),
        ("/v1/meshes/prod/members?role=peer&role=peer", "give it once"),
        ("/v1/status?x=1", "known are: none"),
        ("/v1/meshes/prod/graph?format=svg", "known are: json, dot"),
    ],
)
async def test_a_query_with_a_mistake_is_no_query_without_it(path: Path, target: str, fix: str) -> None:
    async with running(path):
        answer = await ask(read, path, target)
    assert (answer.status, json.loads(answer.body)["fix"]) == (400, fix)


async def test_a_method_that_is_none_is_told_which_are(path: Path) -> None:
    async with running(path):
        answer = await ask(read, path, "/v1/meshes/prod/node", "GET")
    assert (answer.status, answer.headers["Allow"]) == (405, "PATCH")
    assert json.loads(answer.body)["fix"] == "the methods of this path are: PATCH"


async def test_names_cannot_leave_their_place_in_a_picture(path: Path) -> None:
    async with running(path):
        for target, headers in (
            ("/v1/meshes/prod/graph?format=dot", {}),
            ("/v1/meshes/prod/graph", {"Accept": "text/vnd.graphviz"}),
        ):
            answer = await ask(partial(read, **headers), path, target)
            assert answer.headers.get_content_type() == "text/vnd.graphviz"
            assert r'label="a\"1\\ (leader)"' in answer.body.decode()
        assert json.loads((await ask(read, path, "/v1/meshes/prod/graph")).body)["nodes"][0]["name"] == 'a"1\\'


async def test_many_ask_at_once(path: Path) -> None:
    async with running(path):
        answers = await asyncio.gather(*(ask(Client(path).status) for _ in range(20)))
    assert {answer["node_name"] for answer in answers} == {"a1"}


async def test_a_connection_that_cannot_be_served_is_not_the_last(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(path):
        with monkeypatch.context() as broken:
            broken.setitem(sys.modules, "smegmesh.control.routes", None)  # cannot be imported
            with pytest.raises(NotRunning):
                await ask(Client(path).status)
        assert (await ask(Client(path).status))["node_name"] == "a1"


async def test_the_socket_is_for_the_group_alone_from_the_start(path: Path) -> None:
    async with running(path, "root"):
        status = path.stat()
        assert stat.S_IMODE(status.st_mode) == 0o660
        assert status.st_gid == 0
    assert not list(path.parent.iterdir())


async def test_what_a_crash_left_is_replaced_and_a_living_agent_is_not(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    async with running(path):
        with pytest.raises(ControlError, match="another smegd listens there"):
            await ControlServer(path, None, Agent()).start()
        assert (await ask(Client(path).status))["node_name"] == "a1"


async def test_a_stopped_server_leaves_its_successors_socket(path: Path) -> None:
    first = ControlServer(path, None, Agent())
    await first.start()
    path.unlink()
    async with running(path):
        await first.stop()
        assert (await ask(Client(path).status))["node_name"] == "a1"


async def test_bad_places(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="create the directory"):
        await ControlServer(tmp_path / "none" / "api.sock", None, Agent()).start()
    with pytest.raises(ControlError, match="too long for a Unix socket"):
        await ControlServer(tmp_path / ("x" * 120), None, Agent()).start()
    with pytest.raises(ControlError, match="group no-such-group does not exist"):
        ControlServer(tmp_path / "api.sock", "no-such-group", Agent())


def run_as(uid: int, gid: int, groups: list[int], path: Path, call: str, *arguments: str) -> str:
    """Ask as another user; its answer, or the name of the error and its text."""
    program = (
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(SOURCE)!r})\n"
        "from smegmesh.control.client import Client\n"
        "import os\n"
        f"os.setgroups({groups}); os.setgid({gid}); os.setuid({uid})\n"
        f"try: print(Client(Path({str(path)!r})).{call}(*{arguments!r}))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_who_may_do_what(path: Path) -> None:
    for directory in (path.parent, *path.parent.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o011)
    async with running(path, "root") as agent:
        assert "NotPermitted" in await ask(run_as, NOBODY, NOBODY, [], path, "status")
        text = await ask(run_as, NOBODY, NOBODY, [], path, "status")
        assert "usermod -aG root USER" in text
        assert "node_name" in await ask(run_as, NOBODY, NOBODY, [0], path, "status")
        assert agent.reloads == 0
        assert "changed" in await ask(run_as, NOBODY, NOBODY, [0], path, "reload")
        assert "changed" in await ask(run_as, NOBODY, 0, [], path, "reload")
        assert agent.reloads == 2
        path.chmod(0o666)
        assert "node_name" in await ask(run_as, NOBODY, NOBODY, [], path, "status")
        refused = await ask(run_as, NOBODY, NOBODY, [], path, "reload")
        assert "NotPermitted" in refused and "use sudo" in refused
        for call, *arguments in (("revoke", "prod", "signed"), ("forget", "prod", "a/1")):
            assert "NotPermitted" in await ask(run_as, NOBODY, NOBODY, [], path, call, *arguments)
        assert agent.reloads == 2


def test_peer_credentials_are_the_kernels() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        credentials = peer_credentials(one)
    assert credentials.uid == os.geteuid()
    assert credentials.groups == {os.getegid(), *os.getgroups()}


def test_who_may_change_things() -> None:
    assert may_change(Credentials(0, frozenset()), 8)
    assert may_change(Credentials(os.geteuid(), frozenset()), 8)
    assert may_change(Credentials(NOBODY, frozenset({7, 8})), 8)
    assert not may_change(Credentials(NOBODY, frozenset({7})), 8)


def test_nobody_there(path: Path) -> None:
    with pytest.raises(NotRunning, match="systemctl start smegd"):
        Client(path).status()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunning, match="systemctl start smegd"):
        Client(path).status()


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"", NotRunning, "try again in a few seconds"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{", NotRunning, "try again"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", ControlError, "not JSON"),
        (b"220 mail ESMTP\r\n", NotRunning, "try again"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n[]", Refused, "HTTP status 503"),
        (b'HTTP/1.1 403 No\r\nContent-Length: 14\r\n\r\n{"detail":"x"}', NotPermitted, "x"),
    ],
)
async def test_strange_answers_are_one_clear_line(
    path: Path, answer: bytes, error: type[ControlError], text: str
) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(reply, path)
    with pytest.raises(error, match=text) as caught:
        await ask(Client(path).status)
    assert "\n" not in str(caught.value)
    server.close()
    await server.wait_closed()


async def test_an_agent_that_hangs(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(ControlError, match=r"no answer within 0\.05 s"):
            await ask(Client(path, timeout=0.05).status)
        with pytest.raises(ControlError, match=r"no answer within 0\.07 s"):
            await ask(Client(path, timeout=0.05, reload_timeout=0.07).reload)


def test_an_agent_nobody_asks_does_not_load_the_web_server() -> None:
    imported = "import smegmesh.control.server, smegmesh.control.https"
    lines = (f"import sys; sys.path.insert(0, {str(SOURCE)!r})", imported)
    program = "; ".join([*lines, "print('aiohttp' in sys.modules)"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
