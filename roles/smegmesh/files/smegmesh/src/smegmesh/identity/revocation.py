"""Revocation: the authority takes a node out of a mesh for good.

One line of text, so that it can be a file which any agent imports:

    smegmesh-revocation-1 MESH NODE-KEY SIGNATURE

key and signature in base64, the signature by the authority's Ed25519 key over
"smegmesh/revocation" NUL mesh id NUL node key (32 bytes).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from smegmesh.identity.address import check_mesh_id
from smegmesh.identity.certificate import Authority
from smegmesh.identity.keys import IdentityKey, decode_key, encode_key

_MAGIC = "smegmesh-revocation-1"
_MAX_LENGTH = 512
_NONE = f"not a revocation: expected one line '{_MAGIC} MESH NODE-KEY SIGNATURE'"


@dataclass(frozen=True, slots=True)
class Revocation:
    """A node that the authority has taken out of a mesh."""

    mesh_id: str
    node_key: bytes


def make_revocation(authority_key_pem: bytes, mesh_id: str, node_key: bytes) -> bytes:
    """Sign a revocation; ValueError for a bad key, mesh id or node key."""
    message = _message(check_mesh_id(mesh_id), encode_key(node_key))
    return _line(mesh_id, encode_key(node_key), IdentityKey.from_pem(authority_key_pem).sign(message))


def read_revocation(authority: Authority, data: bytes) -> Revocation:
    """Read and verify a revocation; ValueError says what is wrong with it."""
    magic, mesh_id, key, signature_text = _parts(data)
    try:
        signature = base64.b64decode(signature_text.rstrip("\n"), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(_NONE) from None
    if magic != _MAGIC:
        raise ValueError(f"not a revocation that this program knows: it begins with {magic!r}, not {_MAGIC!r}")
    revocation = Revocation(check_mesh_id(mesh_id), decode_key(key))
    if _line(mesh_id, key, signature) != data:
        raise ValueError("the revocation is not in its canonical form: one line, ended by a newline")
    if not authority.verify_signature(signature, _message(mesh_id, key)):
        raise ValueError(f"the revocation is not signed by the authority {authority.name!r}")
    return revocation


def mesh_named(data: bytes) -> str:
    """The mesh that a revocation is for, as it says, unverified; ValueError if it is none."""
    return _parts(data)[1]


def _parts(data: bytes) -> tuple[str, str, str, str]:
    try:
        magic, mesh_id, key, signature = data[: _MAX_LENGTH + 1].decode("ascii").split(" ")
    except ValueError:
        raise ValueError(_NONE) from None
    return magic, mesh_id, key, signature


def _message(mesh_id: str, key: str) -> bytes:
    return b"smegmesh/revocation\0" + mesh_id.encode("ascii") + b"\0" + decode_key(key)


def _line(mesh_id: str, key: str, signature: bytes) -> bytes:
    return f"{_MAGIC} {mesh_id} {key} {base64.b64encode(signature).decode()}\n".encode("ascii")
