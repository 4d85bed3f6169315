"""Hosts that ask to join the meshes of this one: their requests, and the certificates that answer them.

An agent cannot admit anybody: it keeps what hosts ask for until somebody with the authority's key signs it. One that
the authority has made an enroller can admit those who have a one-time token.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Callable, Mapping

from smegmesh.control import types
from smegmesh.control.errors import Rejected
from smegmesh.daemon.host import Host
from smegmesh.daemon.join_server import join_server
from smegmesh.daemon.joins import Joins, Limits, Pace, Pending
from smegmesh.daemon.mesh import Mesh
from smegmesh.daemon.tokens import Tokens
from smegmesh.identity.certificate import Authority, CertificateError, NodeCertificate, certificate_der, check_time
from smegmesh.identity.enrolled import Enroller, read_enroller
from smegmesh.identity.enroller import enroll
from smegmesh.identity.fields import certificate_ders
from smegmesh.identity.joining import Join, check_answers, read_fingerprint, read_join, write_fingerprint
from smegmesh.identity.keys import decode_key, encode_key, same_key
from smegmesh.identity.token import Signed, split
from smegmesh.names.register import goes_by

_log = logging.getLogger(__name__)
_VERSION = 1
ENROLLER_FILE = "enroller.pem"  # beside authority.pem and node.pem
_LIMITS = Limits()


class Joining:
    """Takes requests at `listen`; `meshes` are those that run."""

    def __init__(self, listen: str, host: Host, meshes: Callable[[], Mapping[str, Mesh]]) -> None:
        self._host = host
        self._meshes = meshes
        self._joins = Joins(_LIMITS)
        self._tokens = Tokens()
        pace = Pace(_LIMITS.pause, _LIMITS.sources)
        self.server = join_server(
            listen, host.links.accept_context, lambda address: pace.admit(address, host.clock()), self._answer
        )

    def listing(self) -> list[types.Join]:
        """The requests that are kept, the oldest first."""
        now = self._host.clock()
        running = self._meshes()
        return [
            self._report(each, running[each.join.mesh], now)
            for each in self._joins.pending(now)
            if each.join.mesh in running
        ]

    def approve(self, pem: bytes) -> list[types.Join]:
        """Keep certificates for the hosts whose requests they answer; these requests. Rejected if one answers none."""
        try:
            ders = certificate_ders(pem, _LIMITS.pending)
            answered = [(self._answered_by(der), der) for der in ders]
        except CertificateError as error:
            raise Rejected(str(error), "give what `smegctl approve` made for the requests that wait here") from error
        done = set()
        for requests, der in answered:
            for each, certificate in requests:
                self._joins.approve(each.join.fingerprint, ssl.DER_cert_to_PEM_cert(der).encode("ascii"))
                done.add(each.join.fingerprint)
                name = certificate.grant.node_name
                _log.info("mesh=%s: the certificate for %s is here, to be fetched", each.join.mesh, name)
        return [each for each in self.listing() if read_fingerprint(each.fingerprint) in done]

    def reject(self, fingerprint: str) -> types.Join:
        """Drop a request and take it no more; Rejected if there is none of that fingerprint."""
        try:
            wanted = read_fingerprint(fingerprint)
        except ValueError as error:
            raise Rejected(str(error), "see `smegctl joins`") from error
        found = next((each for each in self.listing() if read_fingerprint(each.fingerprint) == wanted), None)
        if found is None:
            raise Rejected("no request of this fingerprint waits here", "see `smegctl joins`")
        self._joins.reject(wanted)
        return found

    def invite(self, mesh: Mesh, token: types.NewToken) -> types.Invited:
        """Let who has a token join the mesh, once; Rejected where this host may admit nobody to it."""
        self._enroller(mesh)
        try:
            self._tokens.add(mesh.mesh_id, decode_key(token.key), token.seconds, self._host.clock())
        except ValueError as error:
            raise Rejected(str(error), "make it with `smegctl token`") from error
        authority = write_fingerprint(mesh.credentials.authority.fingerprint)
        return types.Invited(mesh=mesh.mesh_id, seconds=token.seconds, authority=authority)

    def _answer(self, mesh_id: str, pem: bytes, address: str) -> bytes:
        """What the host at an address is told, as a line of JSON."""
        mesh = self._meshes().get(mesh_id)
        try:
            if mesh is None:
                raise Rejected(f"mesh {mesh_id} does not run here any more", "ask another peer")
            pending = self._take(mesh, pem, address)
        except Rejected as error:
            return _line({"state": "refused", "reason": str(error), "fix": error.fix})
        told = {"authority": _pem(mesh.credentials.authority), "link_port": self._host.link_port}
        if pending.certificate is None:
            return _line({"state": "pending", **told})
        return _line({"state": "approved", **told, "certificate": pending.certificate.decode("ascii")})

    def _take(self, mesh: Mesh, message: bytes, address: str) -> Pending:
        try:
            signed, pem = split(message)
            join = read_join(mesh.mesh_id, pem)
        except ValueError as error:
            raise Rejected(str(error), "ask with `smegctl mesh join`") from error
        _check_keys(join, mesh)
        now = self._host.clock()
        if signed is not None and not self._joins.approved(join.fingerprint, now):
            return self._enroll(mesh, join, signed, address, now)
        self._joins.keep(self._meshes())
        pending, new = self._joins.ask(join, address, now)
        if new:
            name, fingerprint = join.request.node_name, write_fingerprint(join.fingerprint)
            _log.info("mesh=%s: %s at %s asks to join, fingerprint %s", mesh.mesh_id, name, address, fingerprint)
        return pending

    def _enroll(self, mesh: Mesh, join: Join, signed: Signed, address: str, now: float) -> Pending:
        """The certificate for a host that has a token; Rejected if the token is not good, or is not the host's."""
        if not self._tokens.holds(mesh.mesh_id, signed.public, now) or not signed.of(join.fingerprint):
            raise Rejected("the token is not good here: it was used, is over, or is of another peer", "get another")
        if _has_namesake(join, mesh):
            name = join.request.node_name
            raise Rejected(f"another member is called {name}", "give the host another node_name in its agent.yml")
        try:
            pem = enroll(self._enroller(mesh), self._host.keys.identity, join, now=self._wall(mesh))
        except CertificateError as error:
            raise Rejected(str(error), "have the peer made an enroller again") from error
        self._tokens.use(mesh.mesh_id, signed.public)
        _log.warning("mesh=%s: let in %s at %s by a token", mesh.mesh_id, join.request.node_name, address)
        return self._joins.enrolled(join, address, now, pem)

    def _enroller(self, mesh: Mesh) -> Enroller:
        """As what this host may admit hosts to a mesh; Rejected if it may not."""
        file = mesh.credentials.certificate_file.with_name(ENROLLER_FILE)
        fix = "see `smegctl appoint`"
        try:
            enroller = mesh.credentials.authority.read(certificate_der(file.read_bytes()), read_enroller)
        except FileNotFoundError:
            raise Rejected(f"this host is no enroller: there is no {file}", fix) from None
        except OSError as error:
            raise Rejected(f"{file} cannot be read: {error.strerror}", fix) from None
        except CertificateError as error:
            raise Rejected(f"{file}: {error}", fix) from None
        if not same_key(enroller.key, self._host.keys.identity.public):
            raise Rejected(f"{file} is not for this host's identity key", fix)
        if mesh.mesh_id not in enroller.meshes:
            raise Rejected(f"{file} admits to {', '.join(enroller.meshes)}, not to {mesh.mesh_id}", fix)
        try:
            check_time(enroller, self._wall(mesh))
        except CertificateError as error:
            raise Rejected(f"{file}: {error}", fix) from None
        return enroller

    def _wall(self, mesh: Mesh) -> float:
        return self._host.clock_of(mesh.credentials.authority).now()

    def _answered_by(self, der: bytes) -> list[tuple[Pending, NodeCertificate]]:
        """The requests that a certificate is for; CertificateError if there is none."""
        answered = []
        why = "no request waits here"
        for each in self._joins.pending(self._host.clock()):
            mesh = self._meshes().get(each.join.mesh)
            if mesh is None:
                continue
            try:
                certificate = mesh.credentials.authority.verify(der)
                check_answers(certificate, each.join)
            except CertificateError as error:
                why = str(error)
            else:
                answered.append((each, certificate))
        if not answered:
            raise CertificateError(f"no request that waits here is answered by the certificate ({why})")
        return answered

    def _report(self, pending: Pending, mesh: Mesh, now: float) -> types.Join:
        join, authority = pending.join, mesh.credentials.authority
        return types.Join(
            mesh=join.mesh,
            name=join.request.node_name,
            node_key=encode_key(join.request.node_key),
            fingerprint=write_fingerprint(join.fingerprint),
            authority=write_fingerprint(authority.fingerprint),
            source=pending.source,
            age=now - pending.since,
            state="pending" if pending.certificate is None else "approved",
            note=_note(join, mesh),
            request=join.pem.decode("ascii"),
        )


def _check_keys(join: Join, mesh: Mesh) -> None:
    """Rejected for keys that are another's, or out of the mesh for good: no certificate would mend that.

    A member is not shut out by what another says of static peers.
    """
    node_key = join.request.node_key
    if mesh.engine.revoked(node_key):
        raise Rejected(f"the node key is revoked in mesh {mesh.mesh_id}", "give the host new keys")
    identity = mesh.engine.identity_of(node_key)
    if identity is not None and not same_key(identity, join.request.identity_key):
        raise Rejected("the node key is that of another node, which has another identity key", "give the host new keys")
    if identity is not None:
        return
    members = mesh.view().members.values()
    if any(same_key(key, node_key) for each in members for key in each.entry.static_peers.values()):
        what = "the node key, and the address that follows from it, is that of a static peer of the mesh"
        raise Rejected(what, "give the host new keys, or take the static peer out first")


def _note(join: Join, mesh: Mesh) -> str | None:
    """What whoever approves should know."""
    if _has_namesake(join, mesh):
        return "another member has this name"
    return "it is a member already: a renewal" if join.request.node_key in mesh.view().members else None


def _has_namesake(join: Join, mesh: Mesh) -> bool:
    """A certified name beats what others go by, so it is nobody's alias either."""
    request, members = join.request, mesh.view().members
    return any(key != request.node_key and goes_by(request.node_name, key, each.entry) for key, each in members.items())


def _pem(authority: Authority) -> str:
    """Its certificate, and while it takes over from another that one's, too."""
    others = [authority.other.der] if authority.other is not None else []
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in (authority.der, *others))


def _line(answer: Mapping[str, object]) -> bytes:
    return json.dumps({"version": _VERSION, **answer}).encode("ascii") + b"\n"
