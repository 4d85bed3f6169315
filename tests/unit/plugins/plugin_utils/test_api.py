# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking agents, dead and alive."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import time

import pytest
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import api, identity


def client(*endpoints, timeout=5.0, **options):
    return api.Client(api.Connection(endpoints, timeout=timeout, **options))


# --- over a socket --------------------------------------------------------------------------------


def test_an_agent_says_all_it_knows(agent):
    with client(agent.endpoint) as asked:
        assert asked.status()["node_name"] == "a1"
        assert [mesh["mesh"] for mesh in asked.meshes()] == ["prod", "office"]
        assert [member["name"] for member in asked.members("prod")] == ["a1", "web1", "laptop"]
        assert asked.endpoint == agent.endpoint


def test_the_next_agent_is_asked_and_the_dead_one_not_again(agent, tmp_path):
    dead = f"unix://{tmp_path}/none.sock"
    asked = client(dead, agent.endpoint)
    assert asked.status() and asked.endpoint == agent.endpoint
    assert asked.meshes()


def test_all_dead_is_one_error_that_names_each(agent, tmp_path):
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(tmp_path / "closed"))
    agent.blocked.clear()
    endpoints = [f"unix://{tmp_path}/none", f"unix://{tmp_path}/closed", agent.endpoint]
    with pytest.raises(api.ApiError) as caught:
        client(*endpoints, timeout=0.2).status()
    silent.close()
    assert str(caught.value) == (
        f"no agent answers: {endpoints[0]} (there is no such socket), {endpoints[1]} (Connection refused), "
        f"{endpoints[2]} (no answer within 0.2 s): see that smegd runs there and is reachable"
    )


def test_a_refusal_is_the_agents_own_words_and_asks_nobody_else(agent, tmp_path):
    asked = client(agent.endpoint, f"unix://{tmp_path}/none")
    agent.answer = (404, {"detail": "this host is not in mesh a b", "fix": "its meshes are: prod"})
    with pytest.raises(api.ApiError, match=r"unix:.*: this host is not in mesh a b: its meshes are: prod$"):
        asked.members("a b")
    assert agent.asked == ["/v1/meshes/a%20b/members"]


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"null", b"\xff"])
def test_who_is_no_agent_is_told_apart(agent, content):
    agent.answer = (200, content)
    with pytest.raises(api.ApiError, match="is it smegd that listens there"):
        client(agent.endpoint).status()


@pytest.mark.parametrize(("status", "content"), [(500, b"oops"), (502, b"[]")])
def test_an_error_without_words_is_its_status(agent, status, content):
    agent.answer = (status, content)
    with pytest.raises(api.ApiError, match=f"HTTP status {status} for /v1/status$"):
        client(agent.endpoint).status()


@pytest.mark.parametrize(
    "endpoint",
    ["", "a1", "http://a1", "https://", "https://a1/api", "https://me@a1", "https://a1:x", "unix://run/x", "unix:x"],
)
def test_what_is_no_endpoint_is_refused_before_any_is_asked(agent, endpoint):
    with pytest.raises(api.ApiError, match=r"is not understood: write https://HOST:PORT or unix:///PATH$"):
        client(agent.endpoint, endpoint)
    assert not agent.asked


def test_no_endpoints_and_no_time_are_refused():
    with pytest.raises(api.ApiError, match="endpoints is empty"):
        client()
    with pytest.raises(api.ApiError, match="timeout must be more than 0"):
        client("unix:///x", timeout=0)


def test_the_only_mesh_need_not_be_named(agent):
    asked = client(agent.endpoint)
    assert asked.choose("office") == "office"
    with pytest.raises(api.ApiError, match="the meshes of this agent are: prod, office: say with mesh"):
        asked.choose(None)
    del agent.status["meshes"][1]
    assert asked.choose(None) == "prod"


def test_a_snapshot_holds_the_meshes_that_are_up_or_the_one_that_is_meant(agent):
    whole = api.snapshot(client(agent.endpoint))
    assert list(whole) == ["status", "meshes", "members"]
    assert list(whole["members"]) == ["prod"] and len(whole["meshes"]) == 2
    with pytest.raises(api.ApiError, match="not in mesh office"):
        api.snapshot(client(agent.endpoint), "office")


def test_without_requests_https_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(api, "REQUESTS_ERROR", ImportError("no"))
    with pytest.raises(api.ApiError, match=r"required Python library \(requests\)"):
        client("https://a1", ca="x", client_cert="x")


# --- over HTTPS -----------------------------------------------------------------------------------


class Authority:
    """An authority's files, and those of its nodes."""

    def __init__(self, directory, name):
        self._directory = directory / name
        self._directory.mkdir()
        self._now = int(time.time())
        self._pem, self._key = identity.load("certificate").make_authority(name, 30, now=self._now)
        self.pem = self._write("authority.pem", self._pem)

    def node(self, name):
        """Certificate and key of a node."""
        keys, certificate = identity.load("keys"), identity.load("certificate")
        own, node_key = keys.IdentityKey.generate(), keys.public_key(keys.generate_private_key())
        request = certificate.read_request(certificate.make_request(own, name, node_key))
        grant = certificate.Grant(name, node_key, ("*",), (), ())
        pem = certificate.issue(
            self._pem,
            self._key,
            request,
            grant,
            not_before=self._now - 60,
            not_after=self._now + int(datetime.timedelta(days=1).total_seconds()),
        )
        return self._write(f"{name}.pem", pem), self._write(f"{name}.key", own.to_pem())

    def _write(self, name, content):
        path = self._directory / name
        path.write_bytes(content)
        return str(path)


def read(path):
    with open(path, "rb") as file:
        return file.read()


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    pytest.importorskip("requests")
    directory = tmp_path_factory.mktemp("authorities")
    return Authority(directory, "default"), Authority(directory, "other")


@pytest.fixture(scope="module")
def authority(authorities):
    return authorities[0]


@pytest.fixture(scope="module")
def node(authority):
    return authority.node("a1")


@pytest.fixture(scope="module")
def controller(authority):
    certificate, key = authority.node("controller")
    return {"ca": authority.pem, "client_cert": certificate, "client_key": key}


def test_agents_are_asked_by_address_over_one_connection(tls_agent, authority, node, controller):
    agent = tls_agent(*node, authority.pem)
    with client(agent.endpoint, **controller) as asked:
        assert asked.status()["node_name"] == "a1"
        assert len(asked.members("prod")) == 3
        with pytest.raises(api.ApiError, match="not in mesh x: its meshes are: prod"):
            asked.members("x")
    assert agent.connections == 1


def test_the_key_may_be_in_the_certificates_file(tls_agent, authority, node, controller, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(read(controller[each]) for each in ("client_cert", "client_key")))
    agent = tls_agent(*node, authority.pem)
    with client(agent.endpoint, ca=authority.pem, client_cert=str(both)) as asked:
        assert asked.status()


def test_an_agent_that_dies_between_two_questions_is_followed_by_the_next(tls_agent, authority, node, controller):
    agents = [tls_agent(*node, authority.pem) for _number in range(2)]
    with client(*[agent.endpoint for agent in agents], **controller) as asked:
        assert asked.status() and asked.endpoint == agents[0].endpoint
        agents[0].answer = (200, {})
        agents[0].stop()
        asked._session.close()
        assert asked.members("prod") and asked.endpoint == agents[1].endpoint


def test_an_agent_of_another_authority_is_not_believed(tls_agent, authorities, controller):
    own, other = authorities
    agent = tls_agent(*other.node("a1"), own.pem)
    with client(agent.endpoint, **controller) as asked, pytest.raises(api.ApiError, match="is not accepted") as caught:
        asked.status()
    assert "\n" not in str(caught.value) and not agent.asked


def test_the_environment_adds_no_authority_and_no_proxy(tls_agent, authorities, controller, monkeypatch):
    own, other = authorities
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", other.pem)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    good, stranger = tls_agent(*own.node("a1"), own.pem), tls_agent(*other.node("a1"), own.pem)
    with client(stranger.endpoint, good.endpoint, **controller) as asked:
        assert asked.status() and asked.endpoint == good.endpoint


def test_a_client_of_another_authority_is_told_that_it_was_refused(tls_agent, authorities, node):
    own, other = authorities
    certificate, key = other.node("controller")
    agent = tls_agent(*node, own.pem)
    asked = client(agent.endpoint, ca=own.pem, client_cert=certificate, client_key=key)
    with asked, pytest.raises(api.ApiError, match=r"no agent answers: https://[^ ]* \(.*\)") as caught:
        asked.status()
    # Whether the alert or the end of the connection is seen first is up to the system.
    assert any(words in str(caught.value) for words in ("alert unknown ca", "EOF", "reset", "pipe"))
    assert not agent.asked


def test_less_than_tls_1_3_is_refused(tls_agent, authority, node, controller):
    agent = tls_agent(*node, authority.pem, version=ssl.TLSVersion.TLSv1_2)
    with client(agent.endpoint, **controller) as asked, pytest.raises(api.ApiError, match=r"TLS: .*version"):
        asked.status()


def test_a_port_that_nobody_listens_on_and_one_that_is_silent(authority, controller):
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        ports = closed.getsockname()[1], silent.getsockname()[1]
        asked = client(*[f"https://127.0.0.1:{port}" for port in ports], timeout=0.3, **controller)
        with asked, pytest.raises(api.ApiError, match=r"\(Connection refused\), .* \(no answer within 0.3 s\)"):
            asked.status()


def test_files_that_are_missing_or_wrong_are_named(authority, node, controller, tmp_path):
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    absent = os.fspath(tmp_path / "absent.pem")
    for options, words in [
        ({"ca": None}, "^ca is missing"),
        ({"client_cert": None}, "^client_cert is missing"),
        ({"ca": absent}, f"^ca: {absent}: No such file"),
        ({"ca": str(wrong)}, f"^ca: {wrong}: "),
        ({"client_key": absent}, f"^client_cert, client_key: .*, {absent}: No such file"),
        ({"client_key": node[1]}, "name a certificate and its own private key"),
    ]:
        with pytest.raises(api.ApiError, match=words) as caught:
            client("https://a1", **{**controller, **options})
        assert "\n" not in str(caught.value)


def test_an_encrypted_key_is_an_error_and_no_question_on_the_terminal(authority, controller, tmp_path):
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = serialization.load_pem_private_key(read(controller["client_key"]), None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(api.ApiError, match=r"not encrypted, in PEM$"):
        client("https://a1", **{**controller, "client_key": str(encrypted)})
