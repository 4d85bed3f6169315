"""Writing declarations: the directory that is written to is the one that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from smegmesh.declaration import write
from smegmesh.declaration.write import locked


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    with locked(tmp_path / "meshes.d"):
        assert (tmp_path / "meshes.d").is_dir()


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "local.d").symlink_to(elsewhere)
    with pytest.raises(OSError, match="local"), locked(tmp_path / "local.d"):
        pass


def test_who_never_lets_go_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "_PATIENCE", 0.0)
    with locked(tmp_path), pytest.raises(OSError, match="others have had it locked"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
