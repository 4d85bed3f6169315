# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a host's certificate is issued again, and what it then says. Pure but for the randomness of serials."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import typing as t

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import identity

DAY = 86400
# A host whose clock is a little behind the controller's accepts its new certificate at once.
BACKDATE = 300


class CertificateProblem(Exception):
    """A certificate cannot be issued or judged: what is wrong, where, what to do."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The grants that a host's certificate should hold."""

    node_name: str
    meshes: tuple[str, ...]
    bridges: tuple[str, ...]
    prefixes: tuple[str, ...]

    def grant(self, node_key: bytes) -> t.Any:
        """As the identity package's Grant; CertificateProblem if a value is not one it takes."""
        try:
            return identity.load("certificate").Grant(
                self.node_name, node_key, self.meshes, self.bridges, self.prefixes
            )
        except ValueError as error:
            raise CertificateProblem(f"host {self.node_name}: {error}") from error


def read_authority(pem: bytes, where: str) -> t.Any:
    """The authority of a certificate in PEM."""
    certificate = identity.load("certificate")
    try:
        return certificate.Authority(pem)
    except certificate.CertificateError as error:
        raise CertificateProblem(f"{where}: {error}") from error


def split_authorities(content: bytes) -> list[bytes]:
    """The certificates of an authority's file, one or two, each as it is there."""
    end = b"-----END CERTIFICATE-----\n"
    return [block + end for block in content.split(end) if block.strip()]


def read_request(pem: str, wanted: Wanted) -> t.Any:
    """The host's signing request, verified."""
    certificate = identity.load("certificate")
    try:
        request = certificate.read_request(pem.encode("ascii", "replace"))
    except certificate.CertificateError as error:
        raise CertificateProblem(f"the request of host {wanted.node_name}: {error}") from error
    if request.node_name != wanted.node_name:
        raise CertificateProblem(
            f"the request of host {wanted.node_name} is for node {request.node_name!r}: "
            "set node_name in its agent.yml to the same name"
        )
    return request


def read_node_key(text: str) -> bytes:
    """A node key as results show it."""
    try:
        return t.cast(bytes, identity.load("keys").decode_key(text))
    except ValueError as error:
        raise CertificateProblem(f"node_key: {error}") from error


def read_certificate(authority: t.Any, pem: str) -> t.Any:
    """The certificate that the host has, None if it has none of this authority or it is damaged."""
    certificate = identity.load("certificate")
    try:
        return authority.verify(_der(pem))
    except certificate.CertificateError:
        return None


def reason_to_issue(
    authority: t.Any, current: t.Any, pem: str, request: t.Any, wanted: Wanted, now: float
) -> str | None:
    """Why the host needs another certificate than C(current); None if it is good."""
    if not pem:
        return "there is none"
    if current is None:
        return "it is damaged or of another authority"
    if not authority.issued(current.der):
        return "another authority takes over"
    if current.identity_key != request.identity_key:
        return "the host's identity key changed"
    if current.grant.node_key != request.node_key:
        return "the host's node key changed"
    if current.grant != wanted.grant(request.node_key):
        return "the grants changed"
    return reason_to_renew(current, now)


def reason_to_renew(current: t.Any, now: float) -> str | None:
    """Why a certificate is renewed for its time; None if it has enough of it."""
    if now > current.not_after:
        return "it is expired"
    if current.not_after - now < (current.not_after - current.not_before) / 3:
        return "less than a third of its time is left"
    return None


def check_alive(authority: t.Any, now: float) -> None:
    """CertificateProblem if the authority has ended, so that what it signs now would be worth nothing."""
    if authority.not_after <= now:
        raise CertificateProblem(
            f"the authority {authority.name!r} expired on {date(authority.not_after)}: "
            "renew it with the role smegmesh_authority"
        )


def sign(authority: t.Any, key_pem: bytes, request: t.Any, wanted: Wanted, *, days: int, now: float) -> str:
    """A new certificate in PEM, signed in this process."""
    certificate = identity.load("certificate")
    check_alive(authority, now)
    try:
        pem = certificate.issue(
            authority.pem,
            key_pem,
            request,
            wanted.grant(request.node_key),
            not_before=now - BACKDATE,
            not_after=min(now + days * DAY, authority.not_after),
        )
    except certificate.CertificateError as error:
        raise CertificateProblem(f"host {wanted.node_name}: {error}") from error
    return t.cast(bytes, pem).decode("ascii")


def revoke(key_pem: bytes, mesh: str, node_key: str, purpose: str) -> bytes:
    """A revocation of a node key in a mesh, signed in this process. C(purpose) is for CertificateProblem."""
    try:
        key = identity.load("keys").decode_key(node_key)
        return t.cast(bytes, identity.load("revocation").make_revocation(key_pem, mesh, key))
    except ValueError as error:
        raise CertificateProblem(f"{purpose}: {error}") from error


def describe(authority: t.Any, certificate: t.Any) -> dict[str, t.Any]:
    """What a certificate says, for people; keys as fingerprints or public text."""
    return {
        "node_name": certificate.grant.node_name,
        "node_key": base64.b64encode(certificate.grant.node_key).decode("ascii"),
        "meshes": list(certificate.grant.meshes),
        "bridges": list(certificate.grant.bridges),
        "prefixes": list(certificate.grant.prefixes),
        "not_after": date(certificate.not_after),
        "fingerprint": certificate.fingerprint.hex()[:32],
        "authority": authority.fingerprint.hex()[:16],
    }


def _der(pem: str) -> bytes:
    """The bytes inside PEM; nothing at all if that is not what it is."""
    body = "".join(line for line in pem.splitlines() if line and not line.startswith("-----"))
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        return b""


def date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
