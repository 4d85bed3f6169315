"""Mesh ids, and the addresses that follow from them and from node keys.

A mesh's prefix and a node's address are hashes, so that nobody hands them out
and nobody can claim another's.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

from smegmesh.identity.keys import KEY_LENGTH

PREFIX_LENGTH = 64
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_MAX_MESH_ID = 253
#: The members of a large mesh; beyond that it costs hashes.
_REMEMBERED = 16_384


def check_mesh_id(mesh_id: str) -> str:
    """Return a valid mesh id unchanged; ValueError says what is wrong and how to mend it.

    A mesh id is sent as the TLS server name, so it is a DNS name in lower case.
    Names ending in a number are refused: TLS sends no server name for what
    reads as an IPv4 address.
    """
    if not isinstance(mesh_id, str) or not mesh_id:
        raise _mesh_id_error(mesh_id, "is empty or not text")
    if len(mesh_id) > _MAX_MESH_ID:
        raise _mesh_id_error(mesh_id, f"has more than {_MAX_MESH_ID} characters")
    labels = mesh_id.split(".")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise _mesh_id_error(mesh_id, f"has the bad label {label!r}")
    if labels[-1].isdigit():
        raise _mesh_id_error(mesh_id, "ends in a label of digits alone, as an IPv4 address does")
    return mesh_id


def _mesh_id_error(mesh_id: object, what: str) -> ValueError:
    return ValueError(
        f"mesh id {mesh_id!r} {what}: use a name like 'prod' or 'prod.example.org', of labels of a-z, 0-9 and '-' "
        "(1 to 63 characters, no '-' at either end) with dots between them"
    )


@lru_cache
def mesh_prefix(mesh_id: str) -> IPv6Network:
    """The /64 of a mesh: `fd`, then the first 7 bytes of SHA-256("smegmesh/mesh" NUL mesh id)."""
    digest = hashlib.sha256(b"smegmesh/mesh\0" + check_mesh_id(mesh_id).encode()).digest()
    return IPv6Network((b"\xfd" + digest[:7] + bytes(8), PREFIX_LENGTH))


def node_hash(node_key: bytes) -> bytes:
    """SHA-256("smegmesh/node" NUL node key): its address, and its place among the nodes, follow from it."""
    return hashlib.sha256(b"smegmesh/node\0" + node_key).digest()


@lru_cache(_REMEMBERED)
def node_address(mesh_id: str, node_key: bytes) -> IPv6Address:
    """A node's address in a mesh: the mesh's prefix, then the first 8 bytes of the node's hash."""
    if len(node_key) != KEY_LENGTH:
        raise ValueError(f"a node key has {KEY_LENGTH} bytes, not {len(node_key)}: give the raw WireGuard public key")
    return IPv6Address(mesh_prefix(mesh_id).network_address.packed[:8] + node_hash(node_key)[:8])
