"""`smegctl approve`: sign requests to join where the authority's key is.

What was asked for is read from the requests themselves, never from what a peer says of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smegmesh.cli.errors import BadInput
from smegmesh.cli.output import plain
from smegmesh.identity.certificate import Authority, CertificateError, Grant, Request, issue
from smegmesh.identity.enroller import issue_enroller
from smegmesh.identity.errors import split_fix
from smegmesh.identity.joining import Join, read_join, write_fingerprint

DAY = 86400
_BACKDATE = 300  # seconds: a host whose clock is a little behind accepts its certificate at once


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what the peer has to say of it, which may be a lie."""

    join: Join
    note: str


@dataclass(frozen=True, slots=True)
class Grants:
    """What a certificate grants beyond the mesh that was asked for, and for how long."""

    meshes: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    days: int = 730

    def grant(self, join: Join) -> Grant:
        """For a request; ValueError for a mesh or prefix that is none."""
        request = join.request
        return Grant(request.node_name, request.node_key, (join.mesh, *self.meshes), self.bridges, self.prefixes)


class Signer:
    """An authority with its key."""

    def __init__(self, directory: Path, key_file: Path | None) -> None:
        """Reads DIR/authority.pem and the key, DIR/authority.key if no file is given; BadInput."""
        certificate, key_file = directory / "authority.pem", key_file or directory / "authority.key"
        self._pem, self._key = _read(certificate), _read(key_file)
        if self._key.startswith(b"$ANSIBLE_VAULT"):
            fix = "give it with --key <(ansible-vault view authority.key)"
            raise BadInput(str(key_file), "is encrypted with ansible-vault", fix)
        try:
            self.authority = Authority(self._pem)
        except CertificateError as error:
            raise BadInput(str(certificate), str(error), "give the directory of the authority") from None

    @property
    def fingerprint(self) -> str:
        """As the host that asks shows it."""
        return write_fingerprint(self.authority.fingerprint)

    def sign(self, join: Join, grants: Grants, now: float) -> bytes:
        """The certificate (PEM) that a request asks for, no longer than the authority's; BadInput if that cannot be."""
        if self.authority.not_after <= now:
            raise BadInput("--authority", "the authority is expired", "renew it with the role smegmesh_authority")
        try:
            return issue(
                self._pem,
                self._key,
                join.request,
                grants.grant(join),
                not_before=now - _BACKDATE,
                not_after=min(now + grants.days * DAY, self.authority.not_after),
            )
        except ValueError as error:
            raise BadInput("", str(error), "see `smegctl approve --help`") from None

    def appoint(self, request: Request, meshes: Iterable[str], days: int, now: float) -> bytes:
        """The certificate (PEM) that makes the node of a request an enroller; BadInput if that cannot be."""
        try:
            start = now - _BACKDATE
            return issue_enroller(self._pem, self._key, request, meshes, not_before=start, not_after=start + days * DAY)
        except ValueError as error:
            raise BadInput("", str(error), "see `smegctl appoint --help`") from None


def read_joins(listed: Iterable[object], path: str) -> list[Asked]:
    """The requests that nobody has approved yet, as `smegctl joins --json` lists them; BadInput."""
    joins = []
    for index, each in enumerate(listed):
        try:
            if not isinstance(each, Mapping):
                raise ValueError("is no request")
            if each.get("state") == "pending":
                join = read_join(str(each.get("mesh")), str(each.get("request")).encode("ascii", "replace"))
                joins.append(Asked(join, str(each.get("note") or "")))
        except ValueError as error:
            raise BadInput(path, f"request {index + 1}: {error}", "give what `smegctl joins --json` prints") from None
    return joins


def read_file(path: Path) -> list[Asked]:
    """The same of a file."""
    fix = "give what `smegctl joins --json` prints"
    try:
        data: Any = json.loads(_read(path))
    except (ValueError, RecursionError):
        raise BadInput(str(path), "is not JSON", fix) from None
    if not isinstance(data, list):
        raise BadInput(str(path), "holds no list of requests", fix)
    return read_joins(data, str(path))


def describe(asked: Asked, grants: Grants) -> str:
    """What would be signed, for who decides."""
    join = asked.join
    try:
        grant = grants.grant(join)
    except ValueError as error:
        raise BadInput("", *split_fix(error)) from None
    lines = [
        f"{grant.node_name} asks to join mesh {join.mesh}",
        f"  fingerprint  {write_fingerprint(join.fingerprint)}",
        f"  meshes       {', '.join(grant.meshes)}",
    ]
    lines += [f"  bridges      {', '.join(grant.bridges)}"] if grant.bridges else []
    lines += [f"  prefixes     {', '.join(grant.prefixes)}"] if grant.prefixes else []
    lines += [f"  the peer says: {plain(asked.note)}"] if asked.note else []
    return "\n".join(lines)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except PermissionError:
        raise
    except OSError as error:
        raise BadInput(str(path), f"cannot be read: {error.strerror}", "give the right path") from None
