"""Preshared keys of static peers: made once, read by nobody else, gone when nobody declares them."""

from __future__ import annotations

from pathlib import Path

import pytest

from smegmesh.store.errors import StoreError
from smegmesh.store.keys import ensure_keys, load_keys
from smegmesh.store.static_keys import drop_static_keys, ensure_static_key, load_static_key

PHONE, TABLET = b"p" * 32, b"t" * 32


def files(state: Path) -> list[Path]:
    return sorted((state / "keys").glob("static-*"))


def test_a_key_is_made_once_for_each_mesh_and_peer(tmp_path: Path) -> None:
    ensure_keys(tmp_path)
    made = {(mesh, peer): ensure_static_key(tmp_path, mesh, peer) for mesh in ("a", "a-b") for peer in (PHONE, TABLET)}
    assert len({*made.values()}) == 4
    assert all(len(key) == 32 and key != bytes(32) for key in made.values())
    for (mesh, peer), key in made.items():
        assert ensure_static_key(tmp_path, mesh, peer) == load_static_key(tmp_path, mesh, peer) == key
    assert {path.stat().st_mode & 0o777 for path in files(tmp_path)} == {0o600}


def test_what_is_not_declared_any_more_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ensure_keys(tmp_path)
    kept, other = ensure_static_key(tmp_path, "a", PHONE), ensure_static_key(tmp_path, "a-b", TABLET)
    ensure_static_key(tmp_path, "a", TABLET)
    drop_static_keys(tmp_path, "a", [PHONE])
    assert len(files(tmp_path)) == 2
    assert (load_static_key(tmp_path, "a", PHONE), load_static_key(tmp_path, "a-b", TABLET)) == (kept, other)
    load_keys(tmp_path)


def test_a_file_that_holds_no_key_is_one_clear_error_without_what_it_holds(tmp_path: Path) -> None:
    ensure_keys(tmp_path)
    ensure_static_key(tmp_path, "a", PHONE)
    (file,) = files(tmp_path)
    file.write_text("almost a secret")
    with pytest.raises(StoreError, match="holds no key: remove it") as raised:
        ensure_static_key(tmp_path, "a", PHONE)
    assert "almost" not in str(raised.value)
    file.chmod(0o640)
    with pytest.raises(StoreError, match="open to others"):
        load_static_key(tmp_path, "a", PHONE)
