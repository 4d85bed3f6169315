# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An agent's read API with made-up members, over a socket or over TLS."""

from __future__ import annotations

import copy
import http.server
import json
import socket
import socketserver
import ssl
import threading

import pytest

KEYS = ["A" * 42 + letter + "=" for letter in "AEIM"]
MEMBERS = [
    {
        "name": "a1",
        "role": "peer",
        "node_key": KEYS[0],
        "address": "fd94:2a49:680b:debe::a1",
        "liveness": "alive",
        "alias": "one",
        "leader": True,
        "own": True,
        "home": None,
        "endpoints": ["198.18.7.11:51820"],
    },
    {
        "name": "web1",
        "role": "peer",
        "node_key": KEYS[1],
        "address": "fd94:2a49:680b:debe::1",
        "liveness": "down",
        "alias": "{{ 1 + 1 }}",
        "leader": False,
        "own": False,
        "home": None,
        "endpoints": ["[2001:db8::1]:51820"],
    },
    {
        "name": "laptop",
        "role": "client",
        "node_key": KEYS[2],
        "address": "fd94:2a49:680b:debe::2",
        "liveness": "alive",
        "alias": None,
        "leader": False,
        "own": False,
        "home": "a1",
        "endpoints": [],
    },
]
STATUS = {
    "version": "0.1.0",
    "node_name": "a1",
    "meshes": [{"mesh": "prod", "state": "up"}, {"mesh": "office", "state": "failed", "problem": "no authority"}],
}


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        """A client that goes away is no news."""


class _UnixServer(_Server):
    address_family = socket.AF_UNIX

    def server_bind(self):
        self.socket.bind(self.server_address)


class Agent:
    """What an agent says, how it says it, and what it was asked."""

    def __init__(self, server_class, address, context=None):
        self.status = copy.deepcopy(STATUS)
        self.members = {"prod": copy.deepcopy(MEMBERS)}
        self.asked = []
        self.connections = 0
        self.answer = None  # (status, body) instead of what the API would say
        self.blocked = threading.Event()
        self.blocked.set()
        self._server = server_class(address, _handler(self))
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1] if isinstance(address, tuple) else None
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self):
        self.blocked.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._thread = None

    def say(self, path):
        if self.answer is not None:
            return self.answer
        if path == "/v1/status":
            return 200, self.status
        if path == "/v1/meshes":
            return 200, self.status["meshes"]
        mesh = path.removeprefix("/v1/meshes/").removesuffix("/members")
        if mesh in self.members:
            return 200, self.members[mesh]
        return 404, {
            "title": "no such mesh",
            "status": 404,
            "detail": f"this host is not in mesh {mesh}",
            "fix": "its meshes are: prod",
        }


def _handler(agent):
    """The class that answers for an agent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            agent.connections += 1
            super().setup()

        def do_GET(self):
            agent.asked.append(self.path)
            agent.blocked.wait()
            status, said = agent.say(self.path)
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments):
            """Nothing to say."""

        def address_string(self):
            return ""

    return Handler


@pytest.fixture
def socket_path(tmp_path_factory):
    """A path short enough for a socket."""
    return str(tmp_path_factory.mktemp("agent") / "api.sock")


@pytest.fixture
def agent(socket_path):
    """An agent on a socket of this machine; C(agent.endpoint) is its URL."""
    agent = Agent(_UnixServer, socket_path)
    agent.endpoint = f"unix://{socket_path}"
    yield agent
    agent.stop()


@pytest.fixture
def tls_agent():
    """Makes agents over TLS 1.3 that want a client's certificate: (certificate, key, authority, **) -> Agent."""
    agents = []

    def make(certificate, key, authority, version=ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = version
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
        agent = Agent(_Server, ("127.0.0.1", 0), context)
        agent.endpoint = f"https://127.0.0.1:{agent.port}"
        agents.append(agent)
        return agent

    yield make
    for agent in agents:
        agent.stop()
