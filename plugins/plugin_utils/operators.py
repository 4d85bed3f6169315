# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When an operator's certificate is issued again, and what it then says. Pure but for random keys and serials."""

from __future__ import annotations

import typing as t

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, identity


def check_name(name: str) -> None:
    """CertificateProblem unless it may be an operator's, and so a part of a file name."""
    try:
        identity.load("operator").check_operator_name(name)
    except ValueError as error:
        raise certificates.CertificateProblem(str(error)) from error


def read_certificate(authority: t.Any, pem: bytes) -> t.Any:
    """The operator's certificate, None if it is none of this authority or damaged."""
    certificate = identity.load("certificate")
    try:
        return identity.load("operator").verify_operator(authority, certificate.certificate_der(pem))
    except certificate.CertificateError:
        return None


def make_key() -> bytes:
    """A new private key in PEM."""
    return t.cast(bytes, identity.load("keys").IdentityKey.generate().to_pem())


def public_key(pem: bytes, where: str) -> bytes:
    """The public half of an operator's private key; no error shows a part of it."""
    try:
        return t.cast(bytes, identity.load("keys").IdentityKey.from_pem(pem).public)
    except ValueError as error:
        raise certificates.CertificateProblem(
            f"{where}: {error}: remove it, and a new one is made with its certificate"
        ) from error


def reason_to_issue(
    authority: t.Any, current: t.Any, pem: bytes | None, name: str, key: bytes | None, now: float
) -> str | None:
    """Why the operator needs another certificate than C(current); None if it is good.

    C(key) is the public key of the file, None if the operator has taken it away.
    """
    if pem is None:
        return "there is none"
    if current is None:
        return "it is damaged or of another authority"
    if not authority.issued(current.der):
        return "another authority takes over"
    if current.name != name:
        return "it is of another name"
    if key is not None and current.key != key:
        return "the operator's key changed"
    return certificates.reason_to_renew(current, now)


def sign(authority: t.Any, key_pem: bytes, name: str, key: bytes, *, days: int, now: float) -> bytes:
    """A new certificate in PEM for a public key, signed in this process."""
    certificates.check_alive(authority, now)
    try:
        pem = identity.load("operator").issue_operator(
            authority.pem,
            key_pem,
            name,
            key,
            not_before=now - certificates.BACKDATE,
            not_after=min(now + days * certificates.DAY, authority.not_after),
        )
    except ValueError as error:
        raise certificates.CertificateProblem(f"operator {name!r}: {error}") from error
    return t.cast(bytes, pem)


def describe(authority: t.Any, certificate: t.Any) -> dict[str, t.Any]:
    """What an operator's certificate says, for people."""
    return {
        "name": certificate.name,
        "not_after": certificates.date(certificate.not_after),
        "fingerprint": certificate.fingerprint.hex()[:32],
        "authority": authority.fingerprint.hex()[:16],
    }
