"""Preshared keys of pairs of members: one file of mode 0600, as Ansible last said, with the keys that were replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from smegmesh.crdt.entry_codec import MAX_PAIRS
from smegmesh.identity.keys import decode_key, encode_key
from smegmesh.store.errors import StoreError
from smegmesh.store.keys import KEYS_DIRECTORY, read_secret, write_secret

FILE = "pairs.json"
_MAX_SIZE = 1 << 20
_KEPT = 2  # the newest, and the one before it: the other host of the pair may not have the newest yet

Keys = Mapping[str, Mapping[str, tuple[bytes, ...]]]  # by mesh id and name of the other node, newest first


def load_pair_keys(state: Path) -> Keys:
    """What was written last, nothing if that was never; StoreError if it cannot be read."""
    path = _path(state)
    if not path.exists():
        return {}
    try:
        meshes = json.loads(read_secret(path, _MAX_SIZE))
        return {
            mesh: {other: tuple(map(decode_key, keys)) for other, keys in pairs.items()}
            for mesh, pairs in meshes.items()
        }
    except (ValueError, TypeError, AttributeError):
        raise StoreError(f"{path}: is damaged", "remove it, and run the playbook again") from None


def renew_pair_keys(before: Keys, wanted: Mapping[str, Mapping[str, bytes]]) -> Keys:
    """What to hold from now on: the keys that are wanted, each before the one that it replaces. Pure.

    StoreError if there are more than a node can speak of.
    """
    held: dict[str, dict[str, tuple[bytes, ...]]] = {}
    for mesh, pairs in wanted.items():
        if len(pairs) > MAX_PAIRS:
            raise StoreError(f"mesh {mesh}: {len(pairs)} preshared keys of one host", f"{MAX_PAIRS} are the most")
        for other, key in pairs.items():
            old = before.get(mesh, {}).get(other, ())
            renewed = old if old[:1] == (key,) else (key, *(each for each in old if each != key))
            held.setdefault(mesh, {})[other] = renewed[:_KEPT]
    return held


def save_pair_keys(state: Path, keys: Keys) -> None:
    """Write them durably; the file belongs to the agent, whoever writes it. OSError if that fails."""
    texts = {
        mesh: {other: list(map(encode_key, each)) for other, each in pairs.items()} for mesh, pairs in keys.items()
    }
    write_secret(_path(state), state.stat(), f"{json.dumps(texts, indent=2, sort_keys=True)}\n".encode(), os.replace)


def _path(state: Path) -> Path:
    return state / KEYS_DIRECTORY / FILE
