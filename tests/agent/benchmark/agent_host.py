"""Hosts of a mesh, and the files of an agent on one, as the role leaves them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from smegmesh.declaration import load_agent
from smegmesh.identity.certificate import Grant, issue, make_authority, make_request, read_request
from smegmesh.identity.keys import IdentityKey, encode_key, generate_private_key
from smegmesh.store.keys import KEYS_DIRECTORY, HostKeys, load_keys

MESH = "bench"
LINK_PORT = 4000
DNS_PORT = 53
_DAY = 86400.0
_SOURCE = os.pathsep.join(path for path in sys.path if path.endswith("/src"))


def python(*arguments: str) -> list[str]:
    """What starts this Python with the agent's package."""
    return ["env", f"PYTHONPATH={_SOURCE}", sys.executable, *arguments]


class Operator:
    """Who holds the authority's key."""

    def __init__(self) -> None:
        self.authority, self._key = make_authority("bench", 365, now=time.time() - _DAY)

    def certify(self, keys: HostKeys, name: str) -> bytes:
        """A certificate (PEM) for a host's keys."""
        request = read_request(make_request(keys.identity, name, keys.node_key))
        grant = Grant(name, keys.node_key, (MESH,), (), ())
        now = time.time()
        return issue(self.authority, self._key, request, grant, not_before=now - _DAY, not_after=now + 30 * _DAY)


@dataclass(frozen=True)
class Node:
    """Who a host is, and where its agent listens for links."""

    name: str
    address: str
    keys: HostKeys
    certificate: bytes  # PEM

    @classmethod
    def make(cls, name: str, address: str, operator: Operator) -> Node:
        """With new keys."""
        keys = HostKeys(IdentityKey.generate(), generate_private_key())
        return cls(name, address, keys, operator.certify(keys, name))

    @property
    def link(self) -> str:
        """The address of its links."""
        return f"{self.address}:{LINK_PORT}"


class AgentHost:
    """The files of a node's agent, which listens for links at the node's address and for its API at `socket`."""

    def __init__(self, directory: Path, node: Node) -> None:
        self.node = node
        self.etc, self.state, self.run = (directory / part for part in ("etc", "state", "run"))
        self.socket = self.run / "api.sock"
        self.identity_key = self.state / KEYS_DIRECTORY / "identity.key"
        self.authority_file = _authority_directory(directory) / "authority.pem"
        self.certificate_file = _authority_directory(directory) / "node.pem"

    @classmethod
    def make(cls, directory: Path, node: Node, authority: bytes, plane: str = "memory") -> AgentHost:
        """Write them all but the declaration; `authority` is its certificate (PEM)."""
        host = cls(directory, node)
        for path in (host.etc / "meshes.d", host.authority_file.parent, host.identity_key.parent, host.run):
            path.mkdir(parents=True)
        settings = {"node_name": node.name, "plane": plane, "listen": node.address, "link_port": LINK_PORT}
        (host.etc / "agent.yml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
        host.authority_file.write_bytes(authority)
        host.certificate_file.write_bytes(node.certificate)
        _write_secret(host.identity_key, node.keys.identity.to_pem())
        tunnel_key = f"{encode_key(node.keys.tunnel_private)}\n"
        _write_secret(host.identity_key.with_name("tunnel.key"), tunnel_key.encode())
        return host

    @classmethod
    def opened(cls, directory: Path) -> AgentHost:
        """One that was made before."""
        settings = load_agent(directory / "etc" / "agent.yml")
        certificate = (_authority_directory(directory) / "node.pem").read_bytes()
        return cls(directory, Node(settings.node_name, settings.listen, load_keys(directory / "state"), certificate))

    def declare(self, bootstrap: Iterable[Node], alias: str = "") -> None:
        """Write the declaration of a peer, whole or not at all."""
        lines = ["owner: role", f"mesh: {MESH}", "role: peer", f"endpoint: {self.node.address}"]
        lines += [f"alias: {alias}"] if alias else []
        lines += ["bootstrap:", *(f'  - {{name: {node.name}, address: "{node.link}"}}' for node in bootstrap)]
        new = self.etc / "declaration"
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.etc / "meshes.d" / f"{MESH}.yml")

    def offer_names(self) -> None:
        """Have the agent answer DNS questions at the node's address."""
        with (self.etc / "agent.yml").open("a") as file:
            file.write(f'dns: {{listen: "{self.node.address}:{DNS_PORT}"}}\n')

    def command(self) -> list[str]:
        """What starts the agent."""
        heap = ("MALLOC_ARENA_MAX=1", "MALLOC_TRIM_THRESHOLD_=131072")  # as its unit has it
        return ["env", *heap, *python("-m", "smegmesh.daemon", *self.options())]

    def options(self) -> list[str]:
        """Where its files are, for its command line."""
        return ["--etc", str(self.etc), "--state", str(self.state), "--run", str(self.run)]


def _authority_directory(directory: Path) -> Path:
    return directory / "etc" / "authorities" / "default"


def _write_secret(path: Path, content: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(content)
