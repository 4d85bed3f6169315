"""Each way in which certificate files can be wrong: which file, why, what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from daemons import Agent, Operator

from smegmesh.daemon.credentials import CredentialError, load_credentials
from smegmesh.declaration import Declaration, StaticPeer
from smegmesh.declaration.meshes import load_meshes
from smegmesh.identity.address import node_address
from smegmesh.identity.certificate import make_request
from smegmesh.identity.keys import IdentityKey


@pytest.fixture
def agent(tmp_path: Path, operator: Operator) -> Agent:
    made = Agent("p1", tmp_path / "p1", operator)
    made.declare()
    return made


def declared(agent: Agent) -> Declaration:
    return load_meshes(agent.directories.etc, agent.directories.local)[0]


def test_good_files(agent: Agent) -> None:
    credentials = load_credentials(agent.authority, declared(agent), agent.keys)
    assert credentials.certificate.grant.node_name == "p1"
    assert credentials == load_credentials(agent.authority, declared(agent), agent.keys)
    agent.certify()
    assert credentials != load_credentials(agent.authority, declared(agent), agent.keys)


def no_authority(agent: Agent) -> None:
    (agent.authority / "authority.pem").unlink()


def broken_authority(agent: Agent) -> None:
    (agent.authority / "authority.pem").write_text("nonsense")


def no_certificate(agent: Agent) -> None:
    (agent.authority / "node.pem").unlink()


def broken_certificate(agent: Agent) -> None:
    (agent.authority / "node.pem").write_text("nonsense")


def other_authority(agent: Agent) -> None:
    (agent.authority / "node.pem").write_bytes(Operator().certify(agent.request))


def other_identity(agent: Agent) -> None:
    request = make_request(IdentityKey.generate(), "p1", agent.keys.node_key)
    (agent.authority / "node.pem").write_bytes(agent.operator.certify(request))


def other_node_key(agent: Agent) -> None:
    request = make_request(agent.keys.identity, "p1", bytes(range(32)))
    (agent.authority / "node.pem").write_bytes(agent.operator.certify(request))


def other_mesh(agent: Agent) -> None:
    agent.certify(meshes=("office",))


@pytest.mark.parametrize(
    ("spoil", "file", "what"),
    [
        (no_authority, "authority.pem", "cannot be read: No such file"),
        (broken_authority, "authority.pem", ""),
        (no_certificate, "node.pem", "cannot be read: No such file"),
        (broken_certificate, "node.pem", "not a certificate in PEM"),
        (other_authority, "node.pem", "authority"),
        (other_identity, "node.pem", "not for this host's identity key"),
        (other_node_key, "node.pem", "not for this host's node key"),
        (other_mesh, "node.pem", "does not admit p1 to mesh prod"),
    ],
)
def test_bad_files(agent: Agent, spoil: Callable[[Agent], None], file: str, what: str) -> None:
    spoil(agent)
    with pytest.raises(CredentialError) as raised:
        load_credentials(agent.authority, declared(agent), agent.keys)
    text = str(raised.value)
    assert text.startswith(str(agent.authority / file))
    assert what in text
    assert "run site.yml" in text
    assert "\n" not in text


def test_a_declaration_beyond_the_grant(agent: Agent) -> None:
    with pytest.raises(CredentialError, match=r"does not let p1 bridge mesh prod, as .*prod\.yml says"):
        load_credentials(agent.authority, replace(declared(agent), bridge=True), agent.keys)
    phone = StaticPeer("phone", b"p" * 32)
    with pytest.raises(CredentialError, match=r"does not let p1 carry static peer phone \(fd.*prod\.yml says"):
        load_credentials(agent.authority, replace(declared(agent), static_peers=(phone,)), agent.keys)
    agent.certify(prefixes=(f"{node_address('prod', b'p' * 32)}/128",))
    load_credentials(agent.authority, replace(declared(agent), static_peers=(phone,)), agent.keys)


def test_a_static_peer_is_not_this_host(agent: Agent) -> None:
    itself = StaticPeer("phone", agent.keys.node_key)
    with pytest.raises(CredentialError, match="static peer phone has the key of this host itself"):
        load_credentials(agent.authority, replace(declared(agent), static_peers=(itself,)), agent.keys)
