"""The command line as people and Ansible use it: a real process's arguments, input, output and exit status."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from smegmesh.cli import doctor_host
from smegmesh.cli.__main__ import main
from smegmesh.cli.errors import BadInput
from smegmesh.cli.output import duration, plain, size, table
from smegmesh.cli.parsing import Help, find
from smegmesh.control import types
from smegmesh.control.errors import Rejected
from smegmesh.control.server import ControlServer
from smegmesh.declaration import load_meshes
from smegmesh.doctor.facts import Unseen
from smegmesh.identity.address import mesh_prefix
from smegmesh.identity.certificate import Grant, issue, make_authority, make_request, read_request
from smegmesh.identity.keys import encode_key, generate_private_key, public_key
from smegmesh.store.keys import ensure_keys, rotate_tunnel_key
from smegmesh.store.pair_keys import load_pair_keys
from smegmesh.store.static_keys import ensure_static_key

SOURCE = Path(__file__).parents[4] / "roles" / "smegmesh" / "files" / "smegmesh" / "src"
PHONE = b"p" * 32
PEER = {"owner": "role", "mesh": "prod", "role": "peer", "endpoint": "198.18.0.11"}
HTTPS = {"mesh": "prod", "name": "service-https", "services": {"https": "tcp/443"}}
ROUTE = {"mesh": "prod", "name": "route-lab", "advertise": ["2001:db8:10::/48"]}
NOW = time.time()
STATUS = types.Status(
    version="1.0",
    node_name="a1",
    node_key="key",
    tunnel_key="now",
    uptime=3720.0,
    problems=["/var/lib/smegmesh/state.db was damaged"],
    meshes=[
        types.Mesh(
            mesh="prod",
            state="up",
            role="peer",
            interface="smeg-prod",
            plane="userspace",
            address="fd00::1",
            port=51820,
            members=types.Members(alive=4, down=1),
            leader="a2",
            alarms=["key in use twice"],
            routes=[
                types.Route(prefix=prefix, mesh=None, path=[], via="a2", used=used)
                for prefix, used in {"2001:db8:10::/48": True, "2001:db8:20::/48": False}.items()
            ],
            last_change=types.Event(kind="liveness", time=NOW - 185_000, mesh="prod", member="c1", liveness="down"),
        ),
        types.Mesh(mesh="office", state="failed", problem="port 51820 is in use"),
    ],
)
MEMBERS = [
    types.Member(
        name="a1",
        alias="web\x1b[31m",
        role="peer",
        node_key="key",
        address="fd00::1",
        liveness="alive",
        number=3,
        own=True,
        leader=True,
        services={"https": "tcp/443"},
    ),
    types.Member(
        name="c1",
        role="client",
        node_key="other",
        address="fd00::2",
        liveness="down",
        number=1,
        handshake_age=61.0,
        received=2048,
        sent=7,
        home="a1",
        backup="a2",
        through="a2",
    ),
]


class Agent:
    """A real API server in a thread, whose answers a test sets; a fault is answered as one."""

    starting = False

    def __init__(self) -> None:
        self.reloads = 0
        self.revoked: list[bytes] = []
        self.reloaded: types.Reloaded | None = types.Reloaded(changed=["prod"])
        self.meshes: dict[str, list[types.Member]] | None = {"prod": MEMBERS}
        self.static: list[types.StaticPeer] = []

    def status(self) -> types.Status:
        return STATUS

    async def members(self, mesh: str) -> list[types.Member]:
        assert self.meshes is not None
        return self.meshes[mesh]

    async def static_peers(self, mesh: str) -> list[types.StaticPeer]:
        assert self.meshes is not None
        return self.static if self.meshes[mesh] else []

    async def diagnosis(self, mesh: str) -> types.Diagnosis:
        return types.Diagnosis(mtu=1420)

    async def revoke(self, mesh: str, revocation: bytes) -> types.Removed:
        self.revoked.append(revocation)
        return types.Removed(mesh=mesh, node_key="key", changed=len(self.revoked) == 1)

    async def forget(self, mesh: str, member: str) -> types.Removed:
        if member != "a7":
            raise Rejected(f"{member} is not down", "revoke it")
        return types.Removed(mesh=mesh, node_key="key", changed=True)

    async def reload(self) -> types.Reloaded:
        self.reloads += 1
        assert self.reloaded is not None
        return self.reloaded

    @contextmanager
    def listening(self, path: Path) -> Iterator[None]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        server = ControlServer(path, None, self)
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class Host:
    """smegctl with the directories of one host."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.etc, self.state, self.socket = root / "etc", root / "state", root / "api.sock"
        self.state.mkdir()
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin.encode())))
        try:
            places = find(arguments)[0].places
        except (BadInput, Help):
            places = ()
        options = [text for place in places for text in (f"--{place}", str(getattr(self, place)))]
        code = main([*arguments, *options])
        output = self._capsys.readouterr()
        return code, output.out, output.err

    def apply(self, *declarations: dict[str, Any], check: bool = False, **more: Any) -> tuple[int, Any]:
        arguments = ["apply", "--json", *(["--check"] if check else [])]
        code, out, err = self.run(*arguments, stdin=json.dumps({"declarations": list(declarations), **more}))
        assert err == ""
        return code, json.loads(out)

    def apply_fragments(self, *fragments: dict[str, Any], check: bool = False, **more: Any) -> tuple[int, Any]:
        arguments = ["apply", "--json", *(["--check"] if check else [])]
        code, out, err = self.run(*arguments, stdin=json.dumps({"fragments": list(fragments), **more}))
        assert err == ""
        return code, json.loads(out)

    def declared(self) -> list[str]:
        return [declaration.mesh for declaration in load_meshes(self.etc, self.state / "local.d")]

    def path(self, mesh: str) -> Path:
        return self.etc / "meshes.d" / f"{mesh}.yml"

    def fragments(self) -> list[str]:
        return sorted(str(path.relative_to(self.etc / "meshes.d")) for path in (self.etc / "meshes.d").glob("*.d/*"))

    def certify(self, *prefixes: str) -> None:
        """Install a certificate that lets this host advertise these prefixes."""
        keys, _ = ensure_keys(self.state)
        now = time.time()
        certificate, key = make_authority("test", 365, now=now - 10)
        asked = read_request(make_request(keys.identity, "a1", keys.node_key))
        grant = Grant("a1", keys.node_key, ("*",), prefixes=prefixes)
        directory = self.etc / "authorities" / "default"
        directory.mkdir(parents=True)
        (directory / "authority.pem").write_bytes(certificate)
        (directory / "node.pem").write_bytes(
            issue(certificate, key, asked, grant, not_before=now - 10, not_after=now + 60)
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Host:
    return Host(tmp_path, monkeypatch, capsys)


@pytest.fixture
def agent(host: Host) -> Iterator[Agent]:
    agent = Agent()
    with agent.listening(host.socket):
        yield agent


def test_status_as_text_and_as_json(host: Host, agent: Agent) -> None:
    code, out, _ = host.run("status")
    assert code == 0
    assert out.splitlines() == [
        "a1: smegd 1.0, up 1h 2m",
        "node key key",
        "",
        "what is wrong:",
        "  smegd: /var/lib/smegmesh/state.db was damaged",
        "  prod: alarm: key in use twice",
        "  prod: down: c1",
        "  office: port 51820 is in use",
        "",
        "MESH    STATE   ROLE  ALIVE   MUTE  DOWN  LEADER  LINKS  ROUTES",
        "prod    up      peer  4 of 5     0     1  a2          0  1 of 2",
        "office  failed  -     0 of 0     0     0  -           0  -",
        "",
        "what changed last:",
        "  prod: c1 is down, 2d 3h ago",
        "  office: nothing since the agent started",
    ]
    code, out, _ = host.run("status", "--json")
    assert (code, json.loads(out)) == (0, msgspec.to_builtins(STATUS))


def test_members_as_text_and_as_json(host: Host, agent: Agent) -> None:
    code, out, _ = host.run("members")
    assert code == 0
    assert out.splitlines() == [
        "NAME           ROLE    ADDRESS  STATE  HANDSHAKE  RECEIVED  SENT  HOME     NOTE",
        "a1 (web?[31m)  peer    fd00::1  alive  -          0 B       0 B   -        this host, leader",
        "c1             client  fd00::2  down   1m 1s      2.0 KiB   7 B   a1 / a2  through a2: its figures",
    ]
    for arguments in (["members", "--json"], ["members", "prod", "--json"]):
        code, out, _ = host.run(*arguments)
        assert (code, json.loads(out)) == (0, {"prod": msgspec.to_builtins(MEMBERS)})
    code, _, err = host.run("members", "other")
    assert (code, err) == (1, "smegctl: this host is not in mesh other: its meshes are: prod, office\n")


def static_peer(**more: Any) -> types.StaticPeer:
    return types.StaticPeer(name="phone", public_key=encode_key(PHONE), address="fd00::9", **more)


def test_static_peers_as_text_and_as_json(host: Host, agent: Agent) -> None:
    assert host.run("static-peers") == (0, "this host has no static peers\n", "")
    agent.static = [static_peer(preshared_key=True, handshake_age=61.0, received=2048, endpoint="198.18.0.9:7")]
    code, out, _ = host.run("static-peers")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["NAME", "phone"])
    assert out.splitlines()[1].split()[3:] == ["198.18.0.9:7", "yes", "1m", "1s", "2.0", "KiB", "0", "B", "-"]
    _code, status, _ = host.run("status")
    assert status.endswith("\nstatic peers: 1, see `smegctl static-peers`\n")
    code, out, _ = host.run("static-peers", "prod", "--json")
    assert (code, json.loads(out)) == (0, {"prod": msgspec.to_builtins(agent.static)})


def exporting(agent: Agent, **more: Any) -> None:
    """The agent has a static peer, and knows where it is reached itself."""
    agent.static = [static_peer(**more)]
    agent.meshes = {"prod": [msgspec.structs.replace(MEMBERS[0], endpoints=["198.18.0.1:51820"]), MEMBERS[1]]}


def test_a_client_is_exported_with_its_secret_only_for_root_and_only_if_asked(
    host: Host, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_keys(host.state)
    secret = encode_key(ensure_static_key(host.state, "prod", PHONE))
    exporting(agent, preshared_key=True)
    code, out, _ = host.run("export-client", "prod", "phone")
    assert code == 0
    assert out.splitlines() == [
        "# phone in mesh prod",
        "[Interface]",
        f"# PrivateKey = (made on the device, and nowhere else: the one whose public key is {encode_key(PHONE)})",
        "Address = fd00::9/128",
        "",
        "[Peer]",
        "# a1",
        "PublicKey = now",
        "# PresharedKey = (the tunnel has one: export with --preshared-key to see it)",
        f"AllowedIPs = {mesh_prefix('prod')}",
        "Endpoint = 198.18.0.1:51820",
        "PersistentKeepalive = 25",
    ]
    _code, out, _ = host.run("export-client", "prod", "phone", "--preshared-key")
    assert f"\nPresharedKey = {secret}\n" in out
    file = tmp_path / "phone.conf"
    code, out, _ = host.run("export-client", "prod", "phone", "--preshared-key", "--output", str(file), "--json")
    assert (code, json.loads(out)) == (0, {"file": str(file)})
    assert (file.stat().st_mode & 0o777, secret in file.read_text()) == (0o600, True)
    code, _, err = host.run("export-client", "prod", "phone", "--output", str(file))
    assert (code, err) == (
        1,
        f"smegctl: {file}: cannot be written: File exists: name a new file in a directory that is there\n",
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, out, err = host.run("export-client", "prod", "phone", "--preshared-key")
    assert (code, out, err) == (4, "", "smegctl: only root sees a preshared key: use sudo\n")


def test_a_client_may_send_what_its_host_uses_beyond_the_mesh(
    host: Host, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporting(agent)
    reached = {"2001:db8:10::/48": True, "2001:db8:20::/48": False}
    routes = [types.Route(prefix=each, mesh=None, path=[], via="a2", used=used) for each, used in reached.items()]
    prod = msgspec.structs.replace(STATUS.meshes[0], routes=routes)
    monkeypatch.setattr(agent, "status", lambda: msgspec.structs.replace(STATUS, meshes=[prod]))
    _code, out, _ = host.run("export-client", "prod", "phone", "--routes")
    assert f"\nAllowedIPs = {mesh_prefix('prod')}, 2001:db8:10::/48\n" in out


@pytest.mark.parametrize(
    ("peer", "arguments", "said"),
    [
        ({}, ["tablet"], "no static peer tablet on this host: its static peers are: phone"),
        ({}, ["phone", "--preshared-key"], "has no preshared key: declare it with `preshared_key: true`"),
        ({"problem": "phone is a member"}, ["phone"], "phone is a member: mend that"),
    ],
)
def test_what_cannot_be_exported(
    host: Host, agent: Agent, peer: dict[str, Any], arguments: list[str], said: str
) -> None:
    exporting(agent, **peer)
    code, out, err = host.run("export-client", "prod", *arguments)
    assert (code, out) == (1, "") and said in err
    agent.meshes = {"prod": MEMBERS}
    agent.static = [static_peer()]
    _code, _out, err = host.run("export-client", "prod", "phone")
    assert "knows of no endpoint of its own" in err


def pairs(**keys: bytes) -> str:
    return json.dumps({"prod": {other: encode_key(key) for other, key in keys.items()}})


def test_preshared_keys_are_taken_as_a_whole_told_once_and_never_shown(host: Host, agent: Agent) -> None:
    ensure_keys(host.state)
    first = pairs(b=b"1" * 32, a=b"2" * 32)
    code, out, _ = host.run("preshared-keys", "--check", stdin=first)
    assert (code, out) == (0, "mesh prod, with a: new\nmesh prod, with b: new\n")
    assert (load_pair_keys(host.state), agent.reloads) == ({}, 0)
    code, out, _ = host.run("preshared-keys", "--json", stdin=first)
    listed = [{"mesh": "prod", "host": other, "change": "new"} for other in "ab"]
    assert (code, json.loads(out)) == (0, {"changed": True, "changes": listed, "reloaded": True})
    assert load_pair_keys(host.state) == {"prod": {"a": (b"2" * 32,), "b": (b"1" * 32,)}}
    assert host.run("preshared-keys", stdin=first) == (0, "nothing to change\n", "")
    assert agent.reloads == 1
    code, out, _ = host.run("preshared-keys", stdin=pairs(b=b"3" * 32))
    assert out == "mesh prod, with a: removed\nmesh prod, with b: replaced\n"
    assert load_pair_keys(host.state) == {"prod": {"b": (b"3" * 32, b"1" * 32)}}


def test_preshared_keys_wait_for_an_agent_that_is_stopped(host: Host) -> None:
    code, _, err = host.run("preshared-keys", stdin=pairs(a=b"1" * 32))
    assert code == 1 and "cannot be written: No such file or directory: certify the host first" in err
    ensure_keys(host.state)
    code, out, _ = host.run("preshared-keys", "--json", stdin=pairs(a=b"1" * 32))
    assert (code, json.loads(out)["reloaded"]) == (0, False)


@pytest.mark.parametrize(
    ("stdin", "path", "message"),
    [
        ("nonsense", "standard input", "is not JSON"),
        ("[]", "standard input", "is not a mapping"),
        ('{"prod": ["secret"]}', "standard input", "is not a mapping"),
        ('{"prod": {"a": "secret"}}', "prod.a", "not a key"),
        ('{"prod": {"a": 5}}', "prod.a", "not a key"),
        (pairs(**{"a b": b"1" * 32}), "prod.a b", "node name"),
        (pairs(a=b"1" * 32).replace("prod", "Prod"), "Prod.a", "mesh id"),
    ],
)
def test_bad_preshared_keys_change_nothing(host: Host, agent: Agent, stdin: str, path: str, message: str) -> None:
    ensure_keys(host.state)
    code, out, err = host.run("preshared-keys", "--json", stdin=stdin)
    error = json.loads(out)["error"]
    assert (code, err, error["path"]) == (2, "", path)
    assert message in error["message"] and error["fix"]
    assert "secret" not in out and encode_key(b"1" * 32) not in out
    assert (load_pair_keys(host.state), agent.reloads) == ({}, 0)


def test_what_an_expression_finds_is_json(host: Host, agent: Agent) -> None:
    assert host.run("query", "prod", "members.prod[?role=='client'].name") == (0, '[\n  "c1"\n]\n', "")
    assert host.run("query", "prod", "members.prod[0].alias") == (0, '"web\\u001b[31m"\n', "")
    assert host.run("query", "prod", "nothing", "--json") == (0, '{"result": null}\n', "")


def test_a_wrong_expression_is_shown_where_it_is_wrong(host: Host, agent: Agent) -> None:
    code, out, error = host.run("query", "prod", "members..prod")
    assert (code, out) == (2, "")
    assert error.splitlines()[1:] == ["  members..prod", "          ^"]
    assert error.startswith("smegctl: expression ") and ", at column 9: see https://jmespath.org" in error
    code, out, error = host.run("query", "prod", "members[", "--json")
    said = {"message": "expression is not complete, at column 9", "path": "", "fix": "see https://jmespath.org"}
    assert (code, json.loads(out), error) == (2, {"error": said}, "")
    code, _out, error = host.run("query", "prod", "nosuch(@)")
    assert (code, error) == (2, "smegctl: expression Unknown function: nosuch(): see https://jmespath.org\n")
    assert host.run("query", "other", "status")[0] == 1


def test_a_revocation_is_handed_over_as_it_is(host: Host, agent: Agent) -> None:
    line = "smegmesh-revocation-1 prod key signature\n"
    assert host.run("revoke", stdin=line) == (0, "key is revoked in mesh prod\n", "")
    assert host.run("revoke", stdin=line) == (0, "key is revoked already in mesh prod\n", "")
    code, _out, err = host.run("revoke", stdin="nonsense")
    assert (code, agent.revoked) == (2, [line.encode()] * 2)
    assert err == "smegctl: standard input: holds no revocation: give it the file that the authority made\n"


def test_a_member_is_forgotten(host: Host, agent: Agent) -> None:
    assert host.run("forget", "prod", "a7") == (0, "key is forgotten in mesh prod\n", "")
    assert host.run("forget", "prod", "a1") == (1, "", "smegctl: a1 is not down: revoke it\n")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that nothing is wrong with, whatever this one is like; its firewall cannot be read."""
    monkeypatch.setattr(doctor_host, "forwarding", lambda: True)
    monkeypatch.setattr(doctor_host, "strict_interfaces", lambda _meshes: ())
    monkeypatch.setattr(doctor_host, "ruleset", lambda: (None, (Unseen("firewall", "only root may read it"),)))


@pytest.mark.usefixtures("quiet")
def test_the_doctor_says_what_is_wrong_and_ends_with_1(host: Host, agent: Agent) -> None:
    code, out, err = host.run("doctor", "--json")
    said = json.loads(out)
    assert (code, err, said["node"], said["healthy"]) == (1, "", "a1", False)
    assert said["skipped"] == [{"check": "firewall", "why": "only root may read it"}]
    assert [(each["severity"], each["id"], each["mesh"], each["peer"]) for each in said["findings"]] == [
        ("error", "mesh.not-up", "office", None),
        ("error", "mesh.isolated", "prod", None),
        ("warning", "agent.problem", None, None),
        ("warning", "mesh.alarm", "prod", None),
        ("warning", "peer.down", "prod", "c1"),
    ]
    code, out, err = host.run("doctor")
    lines = out.splitlines()
    assert (code, err) == (1, "")
    assert lines[0].split() == ["SEVERITY", "ID", "MESH", "PEER", "WHAT"]
    assert lines[1].split()[:4] == ["error", "mesh.not-up", "office", "-"]
    assert any(line.startswith("peer.down: start c1, or `smegctl forget prod c1`") for line in lines)
    assert lines[-1] == "not looked at: firewall: only root may read it"


@pytest.mark.usefixtures("quiet")
def test_the_doctor_of_one_mesh_leaves_the_others_out(host: Host, agent: Agent) -> None:
    _code, out, _err = host.run("doctor", "--json", "--mesh", "office")
    assert {each["mesh"] for each in json.loads(out)["findings"]} == {None, "office"}
    code, out, err = host.run("doctor", "--mesh", "lab")
    assert (code, out) == (1, "") and err == "smegctl: this host is not in mesh lab: see `smegctl status`\n"


@pytest.mark.usefixtures("quiet")
def test_warnings_alone_are_no_failure(host: Host, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = msgspec.structs.replace(STATUS.meshes[0], links=1, alarms=[])
    monkeypatch.setattr(Agent, "status", lambda _self: msgspec.structs.replace(STATUS, meshes=[mesh], problems=[]))
    code, out, _err = host.run("doctor", "--json")
    assert (code, [each["id"] for each in json.loads(out)["findings"]]) == (0, ["peer.down"])
    agent.meshes = {"prod": MEMBERS[:1]}
    assert host.run("doctor") == (0, "nothing is wrong\n\nnot looked at: firewall: only root may read it\n", "")


@pytest.mark.usefixtures("quiet")
def test_the_doctor_of_a_host_whose_agent_is_stopped(host: Host) -> None:
    assert host.apply(PEER)[0] == 0
    host.certify()
    code, out, _err = host.run("doctor", "--json", "--mesh", "prod")
    found = [(each["severity"], each["id"]) for each in json.loads(out)["findings"]]
    assert (code, found) == (1, [("error", "agent.not-running"), ("warning", "certificate.expiring")])
    (host.etc / "authorities/default/node.pem").unlink()
    said = json.loads(host.run("doctor", "--json")[1])
    assert "node.pem" in said["skipped"][-1]["why"]


def test_exit_status_says_what_is_wrong(host: Host, agent: Agent) -> None:
    agent.meshes = None
    code, out, err = host.run("members", "prod")
    assert (code, out) == (1, "") and "journalctl" in err
    host.socket.unlink()
    code, out, err = host.run("status")
    assert (code, out) == (3, "") and "systemctl start smegd" in err and err.count("\n") == 1
    code, out, err = host.run("status", "--json")
    assert (code, err) == (3, "") and "systemctl start smegd" in json.loads(out)["error"]["fix"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_who_may_not_is_told_how_he_may(host: Host, agent: Agent) -> None:
    lines = [
        f"import os, sys; sys.path.insert(0, {str(SOURCE)!r})",
        "import smegmesh.cli.show",
        "from smegmesh.cli.__main__ import main",
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)",
        f"sys.exit(main(['status', '--socket', {str(host.socket)!r}]))",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert "no permission" in done.stderr and "use sudo" in done.stderr and done.stderr.count("\n") == 1


def test_apply_writes_once_and_tells_the_agent_once(host: Host, agent: Agent) -> None:
    code, answer = host.apply(PEER, check=True)
    assert code == 0 and answer["changed"] and not host.etc.exists() and agent.reloads == 0
    code, written = host.apply(PEER)
    assert (code, written) == (0, {**answer, "reloaded": True})
    path = host.path("prod")
    assert written["changes"] == [{"path": str(path), "before": "", "after": path.read_text()}]
    assert path.read_text().startswith("# Managed by Ansible (role smegmesh)")
    assert path.stat().st_mode & 0o777 == 0o644
    before = path.stat()
    assert host.apply(PEER) == (0, {"changed": False, "changes": [], "reloaded": False})
    assert host.apply(PEER, check=True) == (0, {"changed": False, "changes": [], "reloaded": False})
    assert (path.stat().st_ino, path.stat().st_mtime_ns, agent.reloads) == (before.st_ino, before.st_mtime_ns, 1)


def test_apply_works_with_the_agent_stopped(host: Host) -> None:
    code, answer = host.apply(PEER)
    assert (code, answer["changed"], answer["reloaded"]) == (0, True, False)
    assert host.declared() == ["prod"]
    code, out, _ = host.run("apply", stdin=json.dumps({"declarations": [{**PEER, "state": "absent"}]}))
    assert (code, out) == (0, f"changed: {host.path('prod')}\n")
    assert host.declared() == []


def test_purge_removes_the_owners_other_declarations_alone(host: Host) -> None:
    host.apply(PEER, {**PEER, "mesh": "old"}, {**PEER, "mesh": "mine", "owner": "local"})
    host.apply({**PEER, "mesh": "played", "owner": "play"})
    assert host.declared() == ["mine", "old", "played", "prod"]
    assert [path.name for path in (host.state / "local.d").iterdir()] == ["mine.yml"]
    code, answer = host.apply(PEER, purge_owner="role")
    assert code == 0
    assert [(change["path"], change["after"]) for change in answer["changes"]] == [(str(host.path("old")), "")]
    assert host.declared() == ["mine", "played", "prod"]


@pytest.mark.parametrize(
    ("declarations", "path", "message", "fix"),
    [
        ([{**PEER, "prot": 1}], "prod.yml: prot", "unknown key `prot`", "did you mean `port`?"),
        ([{**PEER, "mesh": "No Name"}], "standard input: declarations[0].mesh", "mesh id 'No Name'", "use a name"),
        ([{**PEER, "mesh": "../x"}], "standard input: declarations[0].mesh", "mesh id '../x'", "use a name"),
        ([{"owner": "role", "role": "peer"}], "standard input: declarations[0].mesh", "mesh id None", "use a name"),
        ([PEER, PEER], "standard input: declarations[1].mesh", "mesh prod is there twice", "keep one"),
        ([{**PEER, "owner": "me"}], "standard input: declarations[0].owner", "'me' is no owner", "role, play, local"),
        ([{**PEER, "state": "gone"}], "standard input: declarations[0].state", "'gone' is no state", "absent"),
        (["prod"], "standard input: declarations[0]", "is not a mapping", "keys and values"),
        ([{**PEER, "role": "client"}], "prod.yml: endpoint", "a client has no endpoint", "take it out"),
        ([{**PEER, "port": 1}, {**PEER, "mesh": "b", "port": 1}], "prod.yml: port", "the port of mesh b", "own port"),
        ([{**PEER, "port": "1"}], "prod.yml: port", "not text ('1')", "no quotes"),
        ([{**PEER, "mesh": "there", "owner": "play"}], "there.yml: owner", "belongs to role", "one of the two"),
        ([{**PEER, "mesh": "there", "owner": "play", "state": "absent"}], "there.yml: owner", "belongs to role", "one"),
        ([{**PEER, "mesh": "there", "owner": "local"}], "there.yml: mesh", "is managed by Ansible in", "inventory"),
        ([{**PEER, "interface": "smeg-there"}], "prod.yml: interface", "is that of mesh there", "own interface"),
    ],
)
def test_bad_input_changes_nothing(
    host: Host, agent: Agent, declarations: list[Any], path: str, message: str, fix: str
) -> None:
    host.apply({**PEER, "mesh": "there"})
    good = {**PEER, "mesh": "good"}
    for check in (True, False):
        code, answer = host.apply(*declarations, good, check=check)
        assert code == 2
        error = answer["error"]
        assert error["path"].endswith(path)
        assert message in error["message"] and fix in error["fix"]
    assert host.declared() == ["there"]
    assert [each.name for each in (host.etc / "meshes.d").iterdir()] == ["there.yml"]
    assert agent.reloads == 1


@pytest.mark.parametrize(
    ("stdin", "path", "message"),
    [
        ("", "standard input", "is not JSON"),
        ("[]", "standard input", "has no list `declarations`"),
        ('{"declarations": 1}', "standard input: declarations", "is not a list"),
        ('{"fragments": {}}', "standard input: fragments", "is not a list"),
        ('{"declarations": [], "purge": 1}', "standard input: purge", "unknown key `purge`"),
        ('{"declarations": [], "purge_owner": "you"}', "standard input: purge_owner", "'you' is no owner"),
    ],
)
def test_bad_requests(host: Host, stdin: str, path: str, message: str) -> None:
    code, out, err = host.run("apply", "--json", stdin=stdin)
    assert (code, err) == (2, "")
    error = json.loads(out)["error"]
    assert error["path"] == path and message in error["message"] and error["fix"]
    code, out, err = host.run("apply", stdin=stdin)
    assert (code, out) == (2, "") and err.startswith(f"smegctl: {path}: {message}") and err.count("\n") == 1


def test_a_broken_file_is_mended_by_its_writer_and_stops_all_others(host: Host) -> None:
    host.apply(PEER)
    host.path("prod").write_text("owner: [")
    code, answer = host.apply({**PEER, "mesh": "other"})
    assert code == 2 and answer["error"]["path"] == str(host.path("prod"))
    code, _ = host.apply(PEER)
    assert (code, host.declared()) == (0, ["prod"])


def test_what_a_running_agent_refuses_is_put_back(host: Host, agent: Agent) -> None:
    host.apply({**PEER, "port": 51820}, {**PEER, "mesh": "old"})
    before = {path: path.read_text() for path in (host.etc / "meshes.d").iterdir()}
    agent.reloaded = types.Reloaded(problems={"new": "port 7 is in use"})
    code, answer = host.apply({**PEER, "port": 51821}, {**PEER, "mesh": "new", "port": 7}, purge_owner="role")
    assert code == 1
    assert answer["error"]["message"] == "mesh new: port 7 is in use; nothing was changed"
    assert {path: path.read_text() for path in (host.etc / "meshes.d").iterdir()} == before
    assert agent.reloads == 3  # the agent goes on with the files as they were
    agent.reloaded = None
    code, answer = host.apply({**PEER, "port": 51821})
    assert code == 1 and "could not answer" in answer["error"]["message"]
    assert {path: path.read_text() for path in (host.etc / "meshes.d").iterdir()} == before


def test_a_problem_that_was_there_before_refuses_no_change(host: Host, agent: Agent) -> None:
    agent.reloaded = types.Reloaded(problems={"office": "port 51820 is in use"})  # as its status says
    assert host.apply({**PEER, "mesh": "office"})[0] == 0
    agent.reloaded = types.Reloaded(problems={"office": "port 7 is in use"})
    assert host.apply({**PEER, "mesh": "office", "port": 7})[0] == 1


def test_problems_of_other_meshes_are_not_this_changes(host: Host, agent: Agent) -> None:
    agent.reloaded = types.Reloaded(changed=["prod"], problems={"other": "certificate expired"})
    assert host.apply(PEER)[0] == 0


def test_a_reload_says_what_became_of_it(host: Host, agent: Agent) -> None:
    assert host.run("reload") == (0, "changed: prod\n", "")
    agent.reloaded = types.Reloaded()
    assert host.run("reload") == (0, "nothing to change\n", "")
    agent.reloaded = types.Reloaded(problems={"prod": "authority.pem cannot be read"})
    assert host.run("reload") == (1, "prod: authority.pem cannot be read\n", "")
    code, out, _err = host.run("reload", "--json")
    assert (code, json.loads(out)) == (1, {"changed": [], "problems": {"prod": "authority.pem cannot be read"}})


def test_what_cannot_be_written_changes_nothing(host: Host) -> None:
    host.apply(PEER)
    before = host.path("prod").read_text()
    (host.etc / "meshes.d" / ".zoo.yml.new").mkdir()
    code, answer = host.apply({**PEER, "port": 7}, {**PEER, "mesh": "zoo"})
    assert code == 1 and "no declaration was changed" in answer["error"]["fix"]
    assert host.path("prod").read_text() == before
    assert host.declared() == ["prod"]


def test_fragments_are_written_as_declarations_are(host: Host, agent: Agent) -> None:
    host.apply(PEER)
    code, answer = host.apply_fragments(HTTPS, ROUTE, check=True)
    assert code == 0 and answer["changed"] and host.fragments() == [] and agent.reloads == 1
    code, written = host.apply_fragments(HTTPS, ROUTE)
    assert (code, written, agent.reloads) == (0, {**answer, "reloaded": True}, 2)
    assert host.fragments() == ["prod.d/route-lab.yml", "prod.d/service-https.yml"]
    path = host.etc / "meshes.d" / "prod.d" / "service-https.yml"
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# Managed by Ansible (module mesh_service or mesh_route)")
    assert lines[1:] == ["owner: play", "services:", "  https: tcp/443"]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o755)
    for check in (True, False):
        code, answer = host.apply_fragments(HTTPS, ROUTE, check=check)
        assert (code, answer["changed"]) == (0, False)
    code, answer = host.apply_fragments({**HTTPS, "services": {"https": "tcp/8443"}})
    assert [change["path"] for change in answer["changes"]] == [str(path)]
    for fragment in (HTTPS, ROUTE):
        gone = {"mesh": fragment["mesh"], "name": fragment["name"], "state": "absent"}
        assert host.apply_fragments(gone)[1]["changed"]
        assert not host.apply_fragments(gone)[1]["changed"]
    assert not path.parent.exists()
    assert host.declared() == ["prod"]


def test_a_mesh_and_its_fragments_in_one_request(host: Host) -> None:
    assert host.apply_fragments(HTTPS, declarations=[PEER])[0] == 0
    (declaration,) = load_meshes(host.etc, host.state / "local.d")
    assert dict(declaration.services) == {"https": "tcp/443"}


def test_who_writes_the_declaration_leaves_fragments_alone_and_who_leaves_the_mesh_takes_them_along(host: Host) -> None:
    host.apply(PEER, {**PEER, "mesh": "old"})
    host.apply_fragments(HTTPS, {**HTTPS, "mesh": "old"})
    code, answer = host.apply({**PEER, "port": 7}, purge_owner="role")
    assert code == 0
    assert [Path(change["path"]).name for change in answer["changes"]] == ["service-https.yml", "old.yml", "prod.yml"]
    assert host.fragments() == ["prod.d/service-https.yml"]
    code, answer = host.apply({**PEER, "state": "absent"})
    assert (code, host.fragments(), host.declared()) == (0, [], [])
    assert list((host.etc / "meshes.d").iterdir()) == []


def test_a_mesh_that_was_removed_by_hand_can_still_be_left(host: Host) -> None:
    host.apply_fragments(HTTPS, declarations=[PEER])
    host.path("prod").unlink()
    code, answer = host.apply({**PEER, "mesh": "other"})
    assert code == 2 and "mesh prod is not declared" in answer["error"]["message"]
    assert host.apply({**PEER, "state": "absent"})[0] == 0
    assert host.fragments() == []


@pytest.mark.parametrize(
    ("fragments", "path", "message", "fix"),
    [
        ([{**HTTPS, "mesh": "other"}], "other.d/service-https.yml", "mesh other is not declared", "declare it first"),
        ([{**HTTPS, "name": "b"}], "prod.d/there.yml: services.https", "declared in", "keep one of the two"),
        (
            [{**HTTPS, "name": "service-A", "services": {"A": "x"}}],
            "service-A.yml: services",
            "`A` is not",
            "DNS label",
        ),
        ([{**HTTPS, "services": {}}], "service-https.yml: services", "too few", "tcp/443"),
        ([{"mesh": "prod", "name": "x"}], "prod.d/x.yml", "declares nothing", "services:"),
        ([{**ROUTE, "advertise": ["::1/128"]}], "route-lab.yml: advertise[0]", "loopback", "2001:db8:10::/48"),
        ([HTTPS, HTTPS], "standard input: fragments[1].name", "is there twice", "keep one"),
        ([{**HTTPS, "name": "../x"}], "standard input: fragments[0].name", "'../x' is no name", "use 1 to 128"),
        ([{**HTTPS, "name": 7}], "standard input: fragments[0].name", "7 is no name", "use 1 to 128"),
        ([{**HTTPS, "mesh": "../x"}], "standard input: fragments[0].mesh", "mesh id '../x'", "use a name"),
        (
            [{**HTTPS, "owner": "role"}],
            "standard input: fragments[0].owner",
            "unknown key `owner`",
            "the keys are mesh",
        ),
        ([{**HTTPS, "state": "gone"}], "standard input: fragments[0].state", "'gone' is no state", "absent"),
        (["prod"], "standard input: fragments[0]", "is not a mapping", "keys and values"),
    ],
)
def test_bad_fragments_change_nothing(
    host: Host, agent: Agent, fragments: list[Any], path: str, message: str, fix: str
) -> None:
    host.apply_fragments({**HTTPS, "name": "there"}, declarations=[PEER])
    for check in (True, False):
        code, answer = host.apply_fragments(*fragments, {**ROUTE, "name": "good"}, check=check)
        assert code == 2
        error = answer["error"]
        assert error["path"].endswith(path)
        assert message in error["message"] and fix in error["fix"]
    assert (host.fragments(), agent.reloads) == (["prod.d/there.yml"], 1)


def test_what_the_certificate_does_not_allow_is_refused(host: Host, agent: Agent) -> None:
    host.apply(PEER)
    host.certify("2001:db8:10::/44")
    assert host.apply_fragments(HTTPS, ROUTE)[0] == 0
    for check in (True, False):
        code, answer = host.apply_fragments({**ROUTE, "advertise": ["2001:db8:10::/48", "::/0"]}, check=check)
        assert code == 2
        error = answer["error"]
        assert error["path"].endswith("prod.d/route-lab.yml: advertise[1]")
        assert error["message"] == "the certificate does not let a1 advertise ::/0"
        assert error["fix"].startswith("declare it and run site")
    assert host.apply({**PEER, "advertise": ["::/0"]})[0] == 0, "its certificate is issued after the check"


def test_a_damaged_certificate_is_the_agents_to_complain_of(host: Host) -> None:
    host.apply(PEER)
    host.certify()
    (host.etc / "authorities" / "default" / "node.pem").write_text("nonsense")
    (host.etc / "authorities" / "file").write_text("nonsense")
    assert host.apply_fragments(ROUTE)[0] == 0


def test_fragments_that_a_running_agent_refuses_are_put_back(host: Host, agent: Agent) -> None:
    host.apply(PEER)
    agent.reloaded = types.Reloaded(problems={"prod": "no such luck"})
    code, answer = host.apply_fragments(HTTPS, ROUTE)
    assert (code, answer["error"]["message"]) == (1, "mesh prod: no such luck; nothing was changed")
    assert [path.name for path in (host.etc / "meshes.d").iterdir()] == ["prod.yml"]


def test_a_fragment_can_be_taken_out_of_a_mesh_in_trouble(host: Host, agent: Agent) -> None:
    host.apply_fragments(HTTPS, ROUTE, declarations=[PEER])
    agent.reloaded = types.Reloaded(problems={"prod": "no such luck"})
    assert host.apply_fragments({"mesh": "prod", "name": "route-lab", "state": "absent"})[0] == 0
    assert host.fragments() == ["prod.d/service-https.yml"]


def test_request_makes_keys_once_and_shows_none(host: Host) -> None:
    code, out, err = host.run("request", "--node-name", "a1", "--json")
    answer = json.loads(out)
    assert (code, err, answer["changed"]) == (0, "", True)
    request = read_request(answer["request"].encode())
    assert (request.node_name, encode_key(request.node_key)) == ("a1", answer["node_key"])
    private = [path.read_text() for path in (host.state / "keys").iterdir()]
    assert all(line not in out for text in private for line in text.split() if len(line) > 20)
    code, out, _ = host.run("request", "--node-name", "a1", "--json")
    assert json.loads(out) == {**answer, "changed": False}
    code, out, _ = host.run("request", "--node-name", "a1")
    assert (code, out) == (0, answer["request"])


def import_key(host: Host, private: bytes, *options: str) -> tuple[int, dict[str, Any]]:
    code, out, err = host.run("import-key", "--json", *options, stdin=f"{encode_key(private)}\n")
    assert encode_key(private) not in out + err
    answer: dict[str, Any] = json.loads(out)
    return code, answer


def test_a_key_that_is_imported_is_the_hosts(host: Host) -> None:
    private = generate_private_key()
    public = encode_key(public_key(private))
    found = {"changed": True, "node_key": public, "before": ""}
    assert import_key(host, private, "--check") == (0, found)
    assert not list(host.state.iterdir())
    assert import_key(host, private) == (0, found)
    assert import_key(host, private) == (0, {"changed": False, "node_key": public, "before": public})
    assert (host.state / "keys" / "tunnel.key").stat().st_mode & 0o777 == 0o600
    assert json.loads(host.run("request", "--node-name", "a1", "--json")[1])["node_key"] == public


def test_another_key_is_replaced_only_when_asked(host: Host) -> None:
    first, second = generate_private_key(), generate_private_key()
    import_key(host, first)
    before = encode_key(public_key(first))
    for options in ((), ("--check",)):
        code, answer = import_key(host, second, *options)
        assert code == 1 and f"another key already, {before}" in answer["error"]["message"]
    replaced = {"changed": True, "node_key": encode_key(public_key(second)), "before": before}
    assert import_key(host, second, "--check", "--replace") == (0, replaced)
    assert import_key(host, first) == (0, {"changed": False, "node_key": before, "before": before})
    assert import_key(host, second, "--replace") == (0, replaced)
    assert [path.name for path in (host.state / "keys").iterdir()] == ["tunnel.key"], "no copy of the old one"


def test_a_key_that_was_rotated_since_is_still_the_hosts(host: Host) -> None:
    first, other = generate_private_key(), generate_private_key()
    import_key(host, first)
    ensure_keys(host.state)
    rotated = rotate_tunnel_key(host.state)
    public = encode_key(public_key(first))
    assert import_key(host, first, "--replace") == (0, {"changed": False, "node_key": public, "before": public})
    assert ensure_keys(host.state) == (rotated, False)
    assert import_key(host, other, "--replace")[0] == 0
    keys, _made = ensure_keys(host.state)
    assert keys.node_key == keys.tunnel_key == public_key(other) and keys.identity.public == rotated.identity.public


@pytest.mark.parametrize("text", ["", "secret", encode_key(bytes(32)), encode_key(b"x" * 32) + "x"])
def test_what_is_no_key_is_refused_and_not_repeated(host: Host, text: str) -> None:
    code, out, err = host.run("import-key", "--json", stdin=text)
    error = json.loads(out)["error"]
    assert (code, error["path"]) == (2, "standard input") and "wg genkey" in error["fix"]
    assert not text or text not in out + err
    assert not list(host.state.iterdir())


def test_a_damaged_key_is_not_taken_for_none(host: Host) -> None:
    host.run("request", "--node-name", "a1")
    (host.state / "keys" / "tunnel.key").write_text("half of a ke")
    code, answer = import_key(host, generate_private_key())
    assert code == 1 and "restore its files from a copy, or remove tunnel.key" in answer["error"]["fix"]


def test_a_bad_node_name_makes_no_keys(host: Host) -> None:
    code, out, _ = host.run("request", "--node-name", "a 1", "--json")
    error = json.loads(out)["error"]
    assert (code, error["path"]) == (2, "--node-name") and "use 1 to 64 letters" in error["fix"]
    assert not list(host.state.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_keys_made_by_root_belong_to_the_agent(host: Host) -> None:
    os.chown(host.state, 12345, 12346)
    assert host.run("request", "--node-name", "a1")[0] == 0
    made = [host.state / "keys", *(host.state / "keys").iterdir()]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(12345, 12346)}
    host.apply({**PEER, "owner": "local"})
    assert (host.state / "local.d").stat().st_uid == 12345


def smegctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "smegmesh.cli", *arguments],
        env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )


def test_a_real_process(tmp_path: Path) -> None:
    done = smegctl("status", "--socket", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (3, "") and done.stderr.startswith("smegctl: smegd is not running")
    done = smegctl("version", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["version"]
    assert smegctl("statsu").returncode == 2


def test_status_loads_no_heavy_library() -> None:
    program = "import sys, smegmesh.cli.show, smegmesh.cli.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )
    assert not {"aiohttp", "asyncio", "cryptography", "jsonschema", "msgspec", "yaml"} & set(done.stdout.split())


def test_units() -> None:
    assert [duration(value) for value in (None, 0, 59.9, 60, 3720, 90000)] == [
        None,
        "0s",
        "59s",
        "1m 0s",
        "1h 2m",
        "1d 1h",
    ]
    assert [size(value) for value in (0, 1023, 1024, 1536 * 1024, 2**50)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 MiB",
        "1024.0 TiB",
    ]
    assert plain("a\x1b[0m\nb") == "a?[0m?b"


def test_colour_marks_states_and_keeps_columns() -> None:
    assert table(["S", "X"], [["up", 1]], colour=True) == "S   X\n\033[32mup\033[0m  1"
