"""Preshared keys of static peers: a file of mode 0600 each, made on this host and shown to root alone."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from smegmesh.identity.keys import KEY_LENGTH, decode_key, encode_key
from smegmesh.store.errors import StoreError
from smegmesh.store.keys import KEYS_DIRECTORY, make_secret, read_secret


def ensure_static_key(state: Path, mesh_id: str, public_key: bytes) -> bytes:
    """The preshared key of a static peer (32 bytes), made where it is missing. Raises StoreError, OSError."""
    make_secret(_path(state, mesh_id, public_key), state.stat(), _new_key)
    return load_static_key(state, mesh_id, public_key)


def load_static_key(state: Path, mesh_id: str, public_key: bytes) -> bytes:
    """The preshared key of a static peer (32 bytes); StoreError if there is none, or none that can be read."""
    path = _path(state, mesh_id, public_key)
    try:
        return decode_key(read_secret(path).decode("ascii", "replace").strip())
    except ValueError:
        raise StoreError(f"{path}: holds no key", "remove it, and the agent makes another") from None


def drop_static_keys(state: Path, mesh_id: str, kept: Collection[bytes]) -> None:
    """Remove those of a mesh but for the static peers `kept`: one that is declared again gets a new one."""
    wanted = {_path(state, mesh_id, key) for key in kept}
    for path in (state / KEYS_DIRECTORY).glob(f"{_prefix(mesh_id)}*"):
        if path not in wanted:
            path.unlink(missing_ok=True)


def _path(state: Path, mesh_id: str, public_key: bytes) -> Path:
    return state / KEYS_DIRECTORY / f"{_prefix(mesh_id)}{public_key.hex()}.key"


def _prefix(mesh_id: str) -> str:
    return f"static-{mesh_id}_"  # no mesh id has such a line in it


def _new_key() -> bytes:
    return f"{encode_key(os.urandom(KEY_LENGTH))}\n".encode()
