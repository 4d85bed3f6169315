"""`smegctl mesh join`: ask a peer for a certificate, and once that is there, declare the mesh with it.

The peer is not trusted: what it sends is taken only with an authority whose fingerprint somebody has compared, or
which this host has already.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smegmesh.cli import apply
from smegmesh.cli.errors import Failed
from smegmesh.cli.output import plain
from smegmesh.control.client import Client
from smegmesh.control.errors import ControlError, NotRunning
from smegmesh.control.join_client import JOIN_PORT, JoinAnswer, NobodyThere, ask_to_join
from smegmesh.declaration.applying import check
from smegmesh.declaration.change import FileChange, Places, Request, read_request
from smegmesh.declaration.meshes import LOCAL_OWNER, SUFFIX, load_meshes
from smegmesh.declaration.parse import load_agent
from smegmesh.declaration.values import Declaration, HostPort
from smegmesh.declaration.write import FileTransaction, locked
from smegmesh.identity.certificate import (
    Authority,
    CertificateError,
    NodeCertificate,
    certificate_der,
    leaf_der,
    make_request,
)
from smegmesh.identity.enrolled import chain
from smegmesh.identity.joining import Join, check_answers, read_join, write_fingerprint
from smegmesh.identity.token import Token
from smegmesh.store.keys import ensure_keys

PAUSE = 15.0  # seconds between two times that a host asks; a peer takes one in 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. `authority` is the directory of the certificates, `content` the declaration but for the peer.

    `expected`: the fingerprint of the authority, if somebody knows it beforehand.
    """

    peer: HostPort
    mesh: str
    authority: str
    content: dict[str, Any]
    expected: bytes | None = None
    token: Token | None = None
    renew: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """How far it is: `state` is pending or joined. `authority` is its fingerprint, `running`: an agent took it over."""

    state: str
    join: Join
    authority: str
    running: bool = False


class Joiner:
    """One host that asks. `confirm(authority)` says whether somebody has compared that fingerprint."""

    def __init__(self, etc: Path, state: Path, client: Client, wanted: Wanted, confirm: Callable[[str], bool]) -> None:
        """Makes the host's keys if it has none. Raises DeclarationError or StoreError; Failed for what forbids it."""
        self._places = Places(etc, state / "local.d")
        self._client = client
        self._wanted = wanted
        self._confirm = confirm
        name = load_agent(etc / "agent.yml").node_name
        self._declared = self._read_declared()
        self._directory = etc / "authorities" / (self._declared or wanted).authority
        keys, _made = ensure_keys(state)
        self.join = read_join(wanted.mesh, make_request(keys.identity, name, keys.node_key))

    def ask(self) -> Step:
        """Ask once, and join if the certificate is there. Raises ControlError, OSError, Failed and as `apply` does.

        Unless it joins, nothing is changed.
        """
        peer, token = self._wanted.peer, self._wanted.token
        signed = token.sign(self.join.fingerprint) if token is not None else b""
        answer = ask_to_join(peer.host, peer.port or JOIN_PORT, self._wanted.mesh, signed + self.join.pem)
        if answer.state == "refused":
            raise Failed(f"{peer.host} refuses: {plain(answer.reason)}", plain(answer.fix) or "ask who runs that host")
        authority = self._read_authority(answer)
        fingerprint = write_fingerprint(authority.fingerprint)
        peer_name = self._check_peer(authority, answer).grant.node_name
        if answer.state == "pending":
            return Step("pending", self.join, fingerprint)
        self._check_certificate(authority, answer)
        compared = self._wanted.expected is not None or self._known_authority() is not None
        if not compared and not self._confirm(fingerprint):
            raise Failed("that authority is not the one; nothing was changed", "find out who answered there")
        running = self._install(answer, self._request(peer_name, answer.link_port))
        return Step("joined", self.join, fingerprint, running)

    def _read_declared(self) -> Declaration | None:
        """How the mesh is declared here by hand already; DeclarationError if Ansible or something else forbids it."""
        mesh = self._wanted.mesh
        if not (self._places.local / f"{mesh}{SUFFIX}").exists():
            check(self._request("peer", 1), self._places)
            return None
        if not self._wanted.renew:
            raise Failed(f"mesh {mesh} is declared here already", "ask with --renew for another certificate")
        return next(each for each in load_meshes(self._places.etc, self._places.local) if each.mesh == mesh)

    def _request(self, peer_name: str, link_port: int) -> Request:
        """The declaration with the peer to begin with, as `smegctl apply` takes it."""
        wanted = self._wanted
        address = HostPort(wanted.peer.host, link_port).text(link_port)
        content = {
            "owner": LOCAL_OWNER,
            "mesh": wanted.mesh,
            "authority": wanted.authority,
            "bootstrap": [{"name": peer_name, "address": address}],
            **wanted.content,
        }
        return read_request({"declarations": [content]})

    def _known_authority(self) -> Authority | None:
        try:
            return Authority((self._directory / "authority.pem").read_bytes())
        except FileNotFoundError:
            return None
        except CertificateError as error:
            raise Failed(f"{self._directory / 'authority.pem'}: {error}", "mend or remove it") from None

    def _read_authority(self, answer: JoinAnswer) -> Authority:
        try:
            certificate_der(answer.authority)  # one: of two that take over from each other only one would be compared
            authority = Authority(answer.authority)
        except CertificateError as error:
            fix = "ask again when its authority is not just being replaced"
            raise Failed(f"the authority that {self._wanted.peer.host} names: {error}", fix) from None
        theirs = write_fingerprint(authority.fingerprint)
        if self._wanted.expected not in (None, authority.fingerprint):
            raise Failed(f"the authority there is {theirs}, not the expected one", "find out who answered there")
        known = self._known_authority()
        if known is not None and authority.fingerprint not in known.fingerprints:
            what = f"{self._directory} is of authority {write_fingerprint(known.fingerprint)}, the peer of {theirs}"
            raise Failed(what, "give another name with --authority, if that is meant")
        return authority

    def _check_peer(self, authority: Authority, answer: JoinAnswer) -> NodeCertificate:
        """Who answered is a node of that authority, in that mesh."""
        try:
            node = authority.verify(answer.shown)
            if not node.grant.allows_mesh(self._wanted.mesh):
                raise CertificateError(f"{node.grant.node_name!r} is not admitted to mesh {self._wanted.mesh}")
        except CertificateError as error:
            what = f"{self._wanted.peer.host} is no member of what it speaks for: {error}"
            raise Failed(what, "find out who answers there") from None
        return node

    def _check_certificate(self, authority: Authority, answer: JoinAnswer) -> None:
        """It is for this host, and takes nothing away that its certificate of now grants."""
        try:
            certificate = authority.verify(leaf_der(answer.certificate))
            check_answers(certificate, self.join)
        except CertificateError as error:
            raise Failed(f"the certificate that came: {error}", "have the request rejected and ask anew") from None
        try:
            before = authority.verify(leaf_der((self._directory / "node.pem").read_bytes())).grant
        except (FileNotFoundError, CertificateError):
            return
        grant = certificate.grant
        lost = [
            *(f"--mesh {mesh}" for mesh in before.meshes if not grant.allows_mesh(mesh)),
            *(f"--bridge {mesh}" for mesh in before.bridges if not grant.allows_bridge(mesh)),
            *(f"--prefix {prefix}" for prefix in before.prefixes if not grant.allows_prefix(prefix)),
        ]
        if lost:
            what = "the certificate that came lacks what this host's certificate of now grants"
            raise Failed(what, f"have it approved with {' '.join(lost)}")

    def _install(self, answer: JoinAnswer, request: Request) -> bool:
        """Certificates and declaration, all or nothing; whether the agent runs and has taken them."""
        with ExitStack() as stack:
            stack.enter_context(locked(self._directory))
            changes = [
                self._change("authority.pem", answer.authority if self._known_authority() is None else None),
                self._change("node.pem", chain(leaf_der(answer.certificate))),
            ]
            files = stack.enter_context(FileTransaction([each for each in changes if each.before != each.after]))
            files.apply()
            try:
                if self._declared is None:
                    return apply.apply(request, self._places, self._client)[1]
                return self._reload()
            except BaseException:
                files.roll_back()
                apply.reload_again(self._client)
                raise

    def _change(self, name: str, content: bytes | None) -> FileChange:
        """A file of the directory with another content, None for the one it has."""
        path = self._directory / name
        before = path.read_text("utf-8", "replace") if path.exists() else None
        return FileChange(path, before, before if content is None else content.decode("ascii"))

    def _reload(self) -> bool:
        try:
            problems = self._client.reload().get("problems") or {}
        except NotRunning:
            return False
        if self._wanted.mesh in problems:
            what = f"mesh {self._wanted.mesh}: {problems[self._wanted.mesh]}; nothing was changed"
            raise ControlError(what, "mend that, and ask again")
        return True


def ask_until(joiner: Joiner, end: float, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> Step:
    """Ask, and while nobody has approved it ask again until `end`. Raises as `Joiner.ask`.

    Where nobody is at the first time the peer is mistyped; one that has answered is rather being started anew.
    """
    answered = False
    while True:
        try:
            step = joiner.ask()
            answered = True
            if step.state != "pending" or monotonic() + PAUSE > end:
                return step
        except ControlError as error:
            if monotonic() + PAUSE > end or (isinstance(error, NobodyThere) and not answered):
                raise
        sleep(PAUSE)
