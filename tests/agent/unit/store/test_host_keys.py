"""The host's keys: made once, readable by their owner alone, shown by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from smegmesh.identity.keys import encode_key, public_key
from smegmesh.store import StoreError
from smegmesh.store.keys import ensure_keys, load_keys


def test_keys_are_made_once(tmp_path: Path) -> None:
    keys, made = ensure_keys(tmp_path)
    assert made
    assert ensure_keys(tmp_path) == (keys, False)
    assert load_keys(tmp_path) == keys
    assert keys.node_key == public_key(keys.tunnel_private)
    files = sorted((tmp_path / "keys").iterdir())
    assert [path.name for path in files] == ["identity.key", "tunnel.key"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_key_that_is_missing_is_made_and_the_other_stays(tmp_path: Path) -> None:
    keys, _ = ensure_keys(tmp_path)
    (tmp_path / "keys" / "identity.key").unlink()
    with pytest.raises(StoreError, match="smegctl request"):
        load_keys(tmp_path)
    again, made = ensure_keys(tmp_path)
    assert made and again.node_key == keys.node_key and again.identity != keys.identity


def test_keys_are_in_no_repr(tmp_path: Path) -> None:
    keys, _ = ensure_keys(tmp_path)
    shown = repr(keys)
    assert encode_key(keys.tunnel_private) not in shown and repr(keys.tunnel_private) not in shown


@pytest.mark.parametrize("name", ["identity.key", "tunnel.key"])
def test_bad_key_files(tmp_path: Path, name: str) -> None:
    ensure_keys(tmp_path)
    path = tmp_path / "keys" / name
    content = path.read_text()
    path.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        load_keys(tmp_path)
    path.chmod(0o600)
    path.write_text(content[:20])
    with pytest.raises(StoreError, match="restore both files") as caught:
        ensure_keys(tmp_path)
    assert content[:20] not in str(caught.value)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match="not a regular file"):
        load_keys(tmp_path)


def test_no_key_goes_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "keys").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link"):
        ensure_keys(tmp_path)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_state_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        ensure_keys(tmp_path / "none")
