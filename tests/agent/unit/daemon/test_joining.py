"""A host without a certificate joins through a peer: asked, compared, signed, fetched, up; and what is refused."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from daemons import MESH, Agent, Make, Operator, Run, eventually, free_port

from smegmesh.cli.__main__ import main
from smegmesh.control.errors import ControlError, Refused
from smegmesh.control.join_client import JoinAnswer, ask_to_join
from smegmesh.daemon.joins import Pace
from smegmesh.identity.address import node_address
from smegmesh.identity.certificate import Authority, make_request
from smegmesh.identity.joining import read_join, write_fingerprint
from smegmesh.identity.keys import IdentityKey, encode_key, generate_private_key, public_key
from smegmesh.identity.token import Token


def take_requests(agent: Agent) -> int:
    """Have the agent's settings name where it takes requests; the port."""
    port = free_port()
    with (agent.directories.etc / "agent.yml").open("a") as file:
        file.write(f'join: {{listen: "127.0.0.1:{port}"}}\n')
    return port


def uncertified(agent: Agent) -> Agent:
    """A host that nobody has given certificates, in no mesh."""
    for path in agent.authority.iterdir():
        path.unlink()
    agent.authority.rmdir()
    return agent


def keep(operator: Operator, directory: Path) -> Path:
    """The directory of an authority, with its key."""
    directory.mkdir()
    (directory / "authority.pem").write_bytes(operator.authority)
    (directory / "authority.key").write_bytes(operator._key)
    return directory


class Terminal(io.StringIO):
    """Standard input of somebody who answers."""

    def isatty(self) -> bool:
        return True


class Shell:
    """smegctl on the hosts, as people call it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    async def __call__(
        self, agent: Agent, *words: object, says: str | None = None, reads: str = "", code: int = 0
    ) -> Any:
        """What a command answers as JSON; `says` is typed at its terminal, `reads` is its input where there is none."""
        places = ["--socket", agent.directories.run / "api.sock"] if words[0] != "appoint" else []
        if words[0] == "mesh":
            places += ["--etc", agent.directories.etc, "--state", agent.directories.state]
        data = io.TextIOWrapper(io.BytesIO(reads.encode()))
        self._monkeypatch.setattr("sys.stdin", data if says is None else Terminal(says))
        status = await asyncio.to_thread(main, [str(word) for word in (*words, *places, "--json")])
        out, self.asked = self._capsys.readouterr()
        assert status == code, out
        answer = json.loads(out)
        return answer if code == 0 else answer["error"]["message"]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that take a request as often as it comes."""
    monkeypatch.setattr(Pace, "admit", lambda *_: True)


def asks(agent: Agent, port: int, mesh: str = MESH, *more: object) -> tuple[object, ...]:
    return ("mesh", "join", f"127.0.0.1:{port}", mesh, *more)


async def ask(port: int, request: bytes, mesh: str = MESH) -> JoinAnswer:
    return await asyncio.to_thread(ask_to_join, "127.0.0.1", port, mesh, request)


def request_of(name: str) -> bytes:
    """Of a host with keys of its own."""
    return make_request(IdentityKey.generate(), name, public_key(generate_private_key()))


@pytest.mark.usefixtures("quick")
def test_a_host_joins_once_somebody_has_compared_and_signed(
    run: Run, operator: Operator, tmp_path: Path, shell: Shell
) -> None:
    directory = keep(operator, tmp_path / "authority")

    async def test(make: Make) -> None:
        peer, host = make("p1"), uncertified(make("web3"))
        peer.declare()
        port = take_requests(peer)
        await peer.start()
        await eventually(lambda: peer.alive(1), "the peer is up")

        first = await shell(host, *asks(host, port))
        assert first["state"] == "pending"
        assert not (host.directories.etc / "authorities" / "default").exists()
        (waiting,) = await shell(peer, "joins")
        assert (waiting["name"], waiting["state"], waiting["note"]) == ("web3", "pending", None)
        assert (waiting["fingerprint"], waiting["authority"]) == (first["fingerprint"], first["authority"])

        approved = await shell(peer, "approve", "--authority", directory, says="yes\n")
        assert [each["name"] for each in approved] == ["web3"]
        assert first["fingerprint"] in shell.asked and first["authority"] in shell.asked
        assert [each["state"] for each in await shell(peer, "joins")] == ["approved"]

        joined = await shell(host, *asks(host, port), says="yes\n")
        assert first["authority"] in shell.asked
        assert (joined["state"], joined["running"]) == ("joined", False)
        await host.start()
        await eventually(lambda: peer.alive(2) and host.alive(2), "they see each other")

    run(test)


@pytest.mark.usefixtures("quick")
def test_a_running_agent_comes_up_as_a_peer_at_once(run: Run, operator: Operator, tmp_path: Path, shell: Shell) -> None:
    directory = keep(operator, tmp_path / "authority")
    authority = write_fingerprint(Authority(operator.authority).fingerprint)

    async def test(make: Make) -> None:
        peer, host = make("p1"), uncertified(make("web3"))
        peer.declare()
        port = take_requests(peer)
        await peer.start()
        await host.start()
        wanted = asks(host, port, MESH, "--endpoint", "127.0.0.1", "--authority-fingerprint", authority)
        first = await shell(host, *wanted)
        await shell(peer, "approve", "--authority", directory, MESH, first["fingerprint"])
        assert (await shell(host, *wanted))["running"]
        await eventually(lambda: peer.alive(2) and host.alive(2), "they see each other")
        assert host.mesh().role == "peer"
        assert "declared here already" in await shell(host, *wanted, code=1)

    run(test)


@pytest.mark.usefixtures("quick")
def test_files_are_carried_by_hand_where_no_peer_has_the_key(
    run: Run, operator: Operator, tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = keep(operator, tmp_path / "authority")
    requests, certificates = tmp_path / "requests.json", tmp_path / "certificates.pem"

    async def test(make: Make) -> None:
        peer, host = make("p1"), uncertified(make("web3"))
        peer.declare()
        port = take_requests(peer)
        await peer.start()
        await shell(host, *asks(host, port))
        requests.write_text(json.dumps(await shell(peer, "joins")))
        files = ("--requests", requests, "--output", certificates)
        more = ("--bridge", MESH, "--prefix", "2001:db8:10::/48", "--days", 30)
        await shell(host, "approve", "--authority", directory, *files, *more, says="yes\n")
        (taken,) = await peer.ask(lambda client: client.approve(certificates.read_text()))
        assert taken["state"] == "approved"
        await shell(host, *asks(host, port), says="yes\n")
        granted = Authority(operator.authority).verify(
            ssl.PEM_cert_to_DER_cert((host.authority / "node.pem").read_text())
        )
        assert granted.grant.meshes == granted.grant.bridges == (MESH,)
        assert granted.grant.prefixes == ("2001:db8:10::/48",)

    run(test)


@pytest.mark.usefixtures("quick")
def test_a_wrong_authority_or_a_no_changes_nothing(run: Run, operator: Operator, tmp_path: Path, shell: Shell) -> None:
    directory = keep(operator, tmp_path / "authority")
    wrong = write_fingerprint(Authority(Operator().authority).fingerprint)

    async def test(make: Make) -> None:
        peer, host = make("p1"), uncertified(make("web3"))
        peer.declare()
        port = take_requests(peer)
        await peer.start()
        told = await shell(host, *asks(host, port, MESH, "--authority-fingerprint", wrong), code=1)
        assert "not the expected one" in told
        first = await shell(host, *asks(host, port))
        assert "no request of this mesh" in await shell(peer, "approve", "--authority", directory, MESH, wrong, code=1)
        assert await shell(peer, "approve", "--authority", directory, says="no\n") == []
        assert (await shell(host, *asks(host, port)))["state"] == "pending"
        await shell(peer, "approve", "--authority", directory, MESH, first["fingerprint"])
        assert "not the one" in await shell(host, *asks(host, port), says="no\n", code=1)
        assert "is no terminal" in await shell(host, *asks(host, port), code=2)
        assert not list(host.directories.etc.glob("authorities/*/*"))
        assert not list(host.directories.local.glob("*"))

    run(test)


@pytest.mark.usefixtures("quick")
def test_a_certificate_of_another_authority_is_not_taken(
    run: Run, operator: Operator, tmp_path: Path, shell: Shell
) -> None:
    other = keep(Operator(), tmp_path / "other")

    async def test(make: Make) -> None:
        peer, host = make("p1"), uncertified(make("web3"))
        peer.declare()
        port = take_requests(peer)
        await peer.start()
        await shell(host, *asks(host, port))
        await shell(peer, "approve", "--authority", other, says="yes\n", code=1)
        assert [each["state"] for each in await shell(peer, "joins")] == ["pending"]
        with pytest.raises(Refused, match="no request"):
            await peer.ask(lambda client: client.approve(operator.certify(request_of("web4")).decode()))

    run(test)


@pytest.mark.usefixtures("quick")
def test_a_renewal_may_not_lose_what_the_host_has(run: Run, operator: Operator, tmp_path: Path, shell: Shell) -> None:
    directory = keep(operator, tmp_path / "authority")

    async def test(make: Make) -> None:
        peer, host = make("p1"), make("web3")
        host.certify(meshes=("office", MESH), bridges=(MESH,))
        before = (host.authority / "node.pem").read_bytes()
        peer.declare()
        port = take_requests(peer)
        await peer.start()
        await host.start()
        first = await shell(host, *asks(host, port))
        chosen = ("approve", "--authority", directory, MESH, first["fingerprint"])
        await shell(peer, *chosen)
        assert "lacks" in await shell(host, *asks(host, port), code=1)
        assert (host.authority / "node.pem").read_bytes() == before
        await shell(peer, "joins", "--reject", first["fingerprint"])
        assert "rejected" in await shell(host, *asks(host, port), code=1)

    run(test)


@pytest.mark.usefixtures("quick")
def test_nobody_joins_while_one_authority_takes_over_from_another(run: Run, operator: Operator, shell: Shell) -> None:
    """Of two, people would compare one, and the host would trust both."""

    async def test(make: Make) -> None:
        peer, host = make("p1"), uncertified(make("web3"))
        (peer.authority / "authority.pem").write_bytes(operator.authority + Operator().authority)
        peer.declare()
        port = take_requests(peer)
        await peer.start()
        await eventually(lambda: peer.alive(1), "the peer is up")
        assert "holds 2 certificates" in await shell(host, *asks(host, port), code=1)

    run(test)


@pytest.mark.usefixtures("quick")
def test_a_mesh_that_ansible_declares_is_not_joined_by_hand(run: Run, shell: Shell) -> None:
    async def test(make: Make) -> None:
        peer, host = make("p1"), make("web3")
        host.declare(peer)
        told = await shell(host, *asks(host, free_port()), code=2)
        assert "managed by Ansible" in told

    run(test)


def test_one_request_of_an_address_at_a_time(run: Run) -> None:
    async def test(make: Make) -> None:
        peer = make("p1")
        peer.declare()
        port = take_requests(peer)
        await peer.start()
        assert (await ask(port, request_of("web3"))).state == "pending"
        with pytest.raises(ControlError, match="one request in 10 s"):
            await ask(port, request_of("web4"))

    run(test)


@pytest.mark.usefixtures("quick")
def test_what_is_no_request_gets_no_place(run: Run, operator: Operator) -> None:
    async def test(make: Make) -> None:
        peer = make("p1")
        peer.declare()
        port = take_requests(peer)
        await peer.start()
        with pytest.raises(ControlError, match="not in mesh office"):
            await ask(port, request_of("web3"), "office")
        end = b"-----END CERTIFICATE REQUEST-----\n"
        for junk in (end, b"x" * 9000, b"\0" * 100 + end, b"junk\n" + request_of("web3")):
            answer = await ask(port, junk)
            assert (answer.state, answer.certificate, answer.authority) == ("refused", b"", b"")
        assert await peer.ask(lambda client: client.joins()) == []
        states = [(await ask(port, request_of(f"web{number}"))).state for number in range(5)]
        assert states == ["pending"] * 4 + ["refused"]

    run(test)


@pytest.mark.usefixtures("quick")
def test_keys_of_another_node_or_revoked_ones_are_refused(
    run: Run, operator: Operator, tmp_path: Path, shell: Shell
) -> None:
    async def test(make: Make) -> None:
        peer, other = make("p1"), make("p2")
        peer.declare()
        other.declare(peer)
        port = take_requests(peer)
        await peer.start()
        await other.start()
        await eventually(lambda: peer.alive(2), "they see each other")
        stolen = await ask(port, make_request(IdentityKey.generate(), "web3", other.keys.node_key))
        assert "another identity key" in stolen.reason
        assert (await ask(port, other.request)).state == "pending"
        (renewal,) = await peer.ask(lambda client: client.joins())
        assert renewal["note"] == "it is a member already: a renewal"
        same_name = await ask(port, request_of("P2"))
        assert same_name.state == "pending"
        assert (await peer.ask(lambda client: client.joins()))[1]["note"] == "another member has this name"
        await shell(peer, "approve", "--authority", keep(operator, tmp_path / "authority"), says="no\nno\n")
        assert "the peer says: another member has this name" in shell.asked
        await peer.ask(lambda client: client.revoke(MESH, operator.revoke(other.keys.node_key)))
        assert "revoked" in (await ask(port, other.request)).reason

    run(test)


@pytest.mark.usefixtures("quick")
def test_the_key_of_a_static_peer_is_refused_with_a_token_and_without(
    run: Run, operator: Operator, tmp_path: Path, shell: Shell
) -> None:
    """All members know these keys, and who had one certified would have the address."""
    phone = public_key(generate_private_key())
    request = make_request(IdentityKey.generate(), "web3", phone)

    async def test(make: Make) -> None:
        peer, other = make("p1"), make("p2")
        peer.declare()
        other.certify(prefixes=(f"{node_address(MESH, phone)}/128",))
        other.declare(peer, static_peers=json.dumps({"phone": {"public_key": encode_key(phone)}}))
        port = take_requests(peer)
        await peer.start()
        await other.start()
        await eventually(lambda: peer.alive(2), "they see each other")
        await make_enroller(peer, keep(operator, tmp_path / "authority"), shell)
        token = Token.read((await shell(peer, "token", MESH))["token"])
        signed = token.sign(read_join(MESH, request).fingerprint)
        for asked in (request, signed + request):
            answer = await ask(port, asked)
            assert (answer.state, answer.certificate) == ("refused", b"")
            assert "that of a static peer" in answer.reason
        assert await peer.ask(lambda client: client.joins()) == []

    run(test)


@pytest.mark.usefixtures("quick")
def test_the_ports_are_not_each_others(run: Run) -> None:
    async def test(make: Make) -> None:
        peer = make("p1")
        peer.declare()
        take_requests(peer)
        await peer.start()
        with pytest.raises(ControlError, match="CERTIFICATE"):
            await ask(peer.link_port, request_of("web3"))

    run(test)


def test_it_is_off_unless_it_is_asked_for(run: Run) -> None:
    async def test(make: Make) -> None:
        peer = make("p1")
        peer.declare()
        await peer.start()
        assert "join-accept" not in {task.get_name() for task in asyncio.all_tasks()}
        with pytest.raises(Refused, match="takes no requests"):
            await peer.ask(lambda client: client.joins())

    run(test)


@pytest.mark.usefixtures("quick")
def test_silent_and_slow_connections_hold_up_nobody(run: Run) -> None:
    async def test(make: Make) -> None:
        peer = make("p1")
        peer.declare()
        port = take_requests(peer)
        await peer.start()
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(10)]
        assert (await ask(port, request_of("web3"))).state == "pending"
        for connection in silent:
            connection.close()

    run(test)


async def make_enroller(peer: Agent, directory: Path, shell: Shell, *more: object) -> str:
    """Have the authority let the peer admit hosts; the certificate."""
    answer = await shell(
        peer, "appoint", "--authority", directory, *(more or ("--mesh", MESH)), reads=peer.request.decode()
    )
    certificate = str(answer["certificate"])
    (peer.authority / "enroller.pem").write_text(certificate)
    return certificate


@pytest.mark.usefixtures("quick")
def test_a_token_lets_one_host_in_at_an_enroller(
    run: Run, operator: Operator, tmp_path: Path, shell: Shell, caplog: pytest.LogCaptureFixture
) -> None:
    directory, token = keep(operator, tmp_path / "authority"), tmp_path / "token"
    caplog.set_level("DEBUG")

    async def test(make: Make) -> None:
        peer, other, host, late = make("p1"), make("p2"), uncertified(make("web3")), uncertified(make("web4"))
        peer.declare()
        other.declare(peer, alias="www")
        port = take_requests(peer)
        await peer.start()
        await other.start()
        await eventually(lambda: peer.alive(2), "the peers are up")
        await make_enroller(peer, directory, shell)
        made = await shell(peer, "token", MESH)
        token.write_text(made["token"])
        secret = made["token"].split()[1]

        settings = host.directories.etc / "agent.yml"
        named = settings.read_text()
        for taken in ("p2", "P2", "www"):
            settings.write_text(named.replace("web3", taken))
            told = await shell(host, *asks(host, port, MESH, "--token", token), code=1)
            assert f"another member is called {taken}" in told, "a token gives no leave to be somebody else"
        settings.write_text(named)
        joined = await shell(host, *asks(host, port, MESH, "--endpoint", "127.0.0.1", "--token", token))
        assert joined["state"] == "joined"
        again = await ask(port, host.request)
        assert again.state == "approved", "an answer that was lost can be fetched"
        told = await shell(late, *asks(late, port, MESH, "--token", "-"), reads=made["token"], code=1)
        assert "was used" in told
        assert not late.authority.exists()
        assert (await ask(port, late.request)).state == "pending"

        await host.start()
        await eventually(lambda: all(each.alive(3) for each in (peer, other, host)), "all see each other")
        await peer.stop()  # p2 has never seen the enroller's certificate but in the host's own
        await eventually(lambda: other.mesh().links == host.mesh().links == 1, "they are linked by themselves")
        await peer.start()
        listed = json.dumps([await shell(peer, "joins"), await shell(peer, "status")])
        assert secret not in listed + caplog.text
        await host.stop()
        await host.start()
        await eventually(lambda: all(each.alive(3) for each in (peer, other, host)), "it comes back from its files")

    run(test)


@pytest.mark.usefixtures("quick")
def test_what_a_token_does_not_open(run: Run, operator: Operator, tmp_path: Path, shell: Shell) -> None:
    directory, token = keep(operator, tmp_path / "authority"), tmp_path / "token"

    async def test(make: Make) -> None:
        peer, host = make("p1"), uncertified(make("web3"))
        peer.declare()
        peer.declare(mesh="office")
        port = take_requests(peer)
        await peer.start()
        assert "is no enroller" in await shell(peer, "token", MESH, code=1)
        other = await make_enroller(peer, directory, shell, "--mesh", "office")
        assert "not to prod" in await shell(peer, "token", MESH, code=1)
        token.write_text((await shell(peer, "token", "office"))["token"])
        wanted = asks(host, port, MESH, "--token", token)
        assert "not good here" in await shell(host, *wanted, code=1)
        token.write_text("smegmesh-token-1 1234\n")
        told = await shell(host, *wanted, code=2)
        assert "not a token" in told and "1234" not in told

        await make_enroller(peer, directory, shell)
        assert "1 to 86400" in await shell(peer, "token", MESH, "--seconds", 100000, code=1)
        token.write_text((await shell(peer, "token", MESH))["token"])
        (peer.authority / "enroller.pem").write_text(other)
        assert "not to prod" in await shell(host, *wanted, code=1)
        (peer.authority / "enroller.pem").unlink()
        assert "is no enroller" in await shell(host, *wanted, code=1)
        assert "more than 90 days" in await shell(
            peer,
            *("appoint", "--authority", directory, "--mesh", MESH, "--days", 91),
            reads=peer.request.decode(),
            code=2,
        )

    run(test)
