# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an authority has issued to whom, and the revocations that wait for a member to take them.

Both are kept on the controller beside the authority's certificate, in directories named after the authority's
fingerprint, so that several authorities may lie in one place and a new one begins with nothing:
C(issued/FINGERPRINT/NODE-NAME.json) and C(revocations/FINGERPRINT/MESH-KEY). Nothing in them is secret.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import typing as t
from collections.abc import Iterable, Mapping

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, controller_files, identity

ANY_MESH = "*"
_FINGERPRINT = 16  # digits, as results show it
_SUFFIX = ".json"

Keys = Mapping[str, t.List[str]]


@dataclasses.dataclass(frozen=True)
class Record:
    """The node keys that were certified under one node name, each with all meshes that it was ever granted.

    C(replaced) are those whose revocation was signed because another one came; they never come back.
    """

    issued: Keys = dataclasses.field(default_factory=dict)
    replaced: Keys = dataclasses.field(default_factory=dict)

    def granted(self, node_key: bytes, meshes: Iterable[str]) -> Record:
        """With the meshes of another certificate of a key."""
        text = _text(node_key)
        united = sorted({*self.issued.get(text, ()), *meshes})
        return dataclasses.replace(self, issued={**self.issued, text: united})

    def granted_by(self, certificate: t.Any, node_name: str) -> Record:
        """With what a certificate grants, if there is one and of this node name: it may be older than the record."""
        if certificate is None or certificate.grant.node_name != node_name:
            return self
        grant = certificate.grant
        return self if _text(grant.node_key) in self.replaced else self.granted(grant.node_key, grant.meshes)

    def predecessors(self, node_key: bytes | None) -> Keys:
        """The keys that a certificate for C(node_key) replaces, none if it is one of them. None: a key yet to come."""
        return {} if node_key is not None and _text(node_key) in self.issued else self.issued

    def without(self, keys: Keys) -> Record:
        """With these keys replaced."""
        left = {key: meshes for key, meshes in self.issued.items() if key not in keys}
        return Record(left, {**self.replaced, **keys})

    def moved(self, node_key: bytes) -> Record:
        """Without a key that another node name has now: the host was renamed, and nothing of it is replaced."""
        return dataclasses.replace(self, issued={key: at for key, at in self.issued.items() if key != _text(node_key)})

    def names(self, node_key: bytes) -> bool:
        """Whether the key was certified under this node name, and it has it still."""
        return _text(node_key) in self.issued

    def encode(self) -> bytes:
        return (json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n").encode("ascii")


def decode(content: bytes, where: str) -> Record:
    """A record as C(Record.encode) wrote it; CertificateProblem for anything else."""
    try:
        parts = json.loads(content)
        return Record(*({str(key): list(parts[part][key]) for key in parts[part]} for part in ("issued", "replaced")))
    except (ValueError, TypeError, KeyError) as error:
        raise certificates.CertificateProblem(
            f"{where} is damaged: restore it from a backup, or remove it and revoke by hand what it may have named"
        ) from error


def check(record: Record, node_name: str, node_key: bytes) -> None:
    """CertificateProblem for a host that has a key which was replaced: the others do not let it in any more."""
    text = _text(node_key)
    if text in record.replaced:
        meshes = ", ".join(record.replaced[text])
        raise certificates.CertificateProblem(
            f"host {node_name} has the node key {text}, which was replaced and is revoked for good in: {meshes}: "
            "give it new keys, with the playbooks uninstall and site"
        )


@dataclasses.dataclass(frozen=True)
class Waiting:
    """A revocation that no member has taken yet."""

    path: str
    mesh: str
    node_key: str
    line: str


class Book:
    """The records and the waiting revocations of one authority."""

    def __init__(self, loader: t.Any, certificate: str, authority: t.Any) -> None:
        here = os.path.dirname(loader.path_dwim(certificate))
        name = authority.fingerprint.hex()[:_FINGERPRINT]
        self._loader = loader
        self._authority = authority
        self._issued = os.path.join(here, "issued", name)
        self._revocations = os.path.join(here, "revocations", name)

    def read(self, node_name: str) -> Record:
        path = self._path(node_name)
        content = controller_files.read(self._loader, path)
        return Record() if content is None else decode(content, path)

    def write(self, node_name: str, record: Record) -> None:
        """OSError if it cannot be written."""
        os.makedirs(self._issued, mode=0o700, exist_ok=True)
        controller_files.write(self._path(node_name), record.encode(), 0o644)

    def others(self, node_name: str, node_key: bytes) -> dict[str, Record]:
        """The records under other node names that a key is in; CertificateProblem for a damaged one of them."""
        key = _text(node_key).encode("ascii")
        found = sorted(os.listdir(self._issued)) if os.path.isdir(self._issued) else []
        names = [name[: -len(_SUFFIX)] for name in found if name.endswith(_SUFFIX)]
        return {name: self.read(name) for name in names if name != node_name and _holds(self._path(name), key)}

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """For what reads and then writes; OSError if there can be no lock. Forks of a run certify hosts at once."""
        return controller_files.lock(self._issued)

    def keep(self, mesh: str, node_key: str, line: bytes) -> None:
        """Have a revocation wait; OSError if it cannot be written."""
        os.makedirs(self._revocations, mode=0o700, exist_ok=True)
        name = f"{mesh}-{identity.load('keys').decode_key(node_key).hex()}"
        controller_files.write(os.path.join(self._revocations, name), line, 0o644)

    def waiting(self, meshes: Iterable[str]) -> list[Waiting]:
        """What waits for a member of these meshes; CertificateProblem for a file that is no revocation."""
        if not os.path.isdir(self._revocations):
            return []
        names = sorted(name for name in os.listdir(self._revocations) if name.rpartition("-")[0] in meshes)
        found = [self._read(os.path.join(self._revocations, name)) for name in names]
        return [each for each in found if each is not None]

    def discard(self, waiting: Waiting) -> None:
        """A member has taken it, and tells the others."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(waiting.path)

    def _read(self, path: str) -> Waiting | None:
        line = controller_files.read(self._loader, path)
        if line is None:
            return None  # taken meanwhile
        try:
            found = identity.load("revocation").read_revocation(self._authority, line)
        except ValueError as error:
            raise certificates.CertificateProblem(
                f"{path}: {error}: remove it, and revoke the node that it names with the playbook revoke"
            ) from error
        return Waiting(path, found.mesh_id, _text(found.node_key), line.decode("ascii"))

    def _path(self, node_name: str) -> str:
        return os.path.join(self._issued, node_name + _SUFFIX)


def _holds(path: str, text: bytes) -> bool:
    """Found without decoding: there may be thousands of records, and a damaged one holds up its own host alone."""
    with open(path, "rb") as file:
        return text in file.read()


def _text(node_key: bytes) -> str:
    return t.cast(str, identity.load("keys").encode_key(node_key))
