"""The host's keys: made once, readable by their owner alone, shown by nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smegmesh.identity.keys import encode_key, generate_private_key, public_key
from smegmesh.identity.possession import proves
from smegmesh.store import StoreError
from smegmesh.store.keys import ensure_keys, load_keys, put_first_tunnel_key, rotate_tunnel_key


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


def test_a_rotation_keeps_who_the_host_is(tmp_path: Path) -> None:
    before, _ = ensure_keys(tmp_path)
    first = rotate_tunnel_key(tmp_path)
    second = rotate_tunnel_key(tmp_path)
    for keys in (first, second):
        assert (keys.node_key, keys.identity) == (before.node_key, before.identity)
        assert keys.proof is not None and proves(keys.proof, keys.node_key, keys.tunnel_key)
    assert len({keys.tunnel_key for keys in (before, first, second)}) == 3
    assert (first.former, second.former) == ((before.node_key,), (before.node_key, first.tunnel_key))
    assert encode_key(before.tunnel_private) not in "".join(path.read_text() for path in (tmp_path / "keys").iterdir())


@pytest.mark.parametrize("rotations", [0, 1])
def test_a_crash_within_a_rotation_leaves_keys_that_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotations: int
) -> None:
    ensure_keys(tmp_path)
    for _ in range(rotations):
        rotate_tunnel_key(tmp_path)
    before, replace = load_keys(tmp_path), os.replace

    def crash(source: Path, target: Path) -> None:
        if target.name == "tunnel.key":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(StoreError, match="No space left"):
        rotate_tunnel_key(tmp_path)
    after = load_keys(tmp_path)
    assert (after.node_key, after.tunnel_key, after.proof) == (before.node_key, before.tunnel_key, before.proof)


def test_a_host_is_who_it_was_if_another_key_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_keys(tmp_path)
    before = rotate_tunnel_key(tmp_path)

    def refuse(_source: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(StoreError, match="No space left"):
        put_first_tunnel_key(tmp_path, generate_private_key())
    assert load_keys(tmp_path) == before


def test_who_lost_a_rotated_key_is_another_node(tmp_path: Path) -> None:
    before, _ = ensure_keys(tmp_path)
    rotate_tunnel_key(tmp_path)
    (tmp_path / "keys" / "tunnel.key").unlink()
    again, made = ensure_keys(tmp_path)
    assert made and again.former == () and again.node_key not in (before.node_key,)


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
    with pytest.raises(StoreError, match="restore its files") as caught:
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
