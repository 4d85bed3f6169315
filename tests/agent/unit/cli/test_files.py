"""What smegctl writes to a file is whole, or as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from smegmesh.cli import graph
from smegmesh.cli.errors import Failed

SOURCE = Path(__file__).parents[4] / "roles" / "smegmesh" / "files" / "smegmesh" / "src"


@pytest.mark.parametrize(
    "written", ["graph import write; write", "static_peers import write_secret; write_secret"], ids=["graph", "secret"]
)
def test_where_there_is_no_room_no_part_stays(written: str, tmp_path: Path) -> None:
    lines = [
        "import pathlib, resource",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))",
        f"from smegmesh.cli.{written}(pathlib.Path({str(tmp_path / 'file')!r}), 'much too long')",
    ]
    program = "\n".join(lines)
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_one_and_a_file_keeps_nothing_of_before(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("what was there before, and longer")
    link.symlink_to(target)
    graph.write(link, "new")
    assert (link.is_symlink(), target.read_text()) == (True, "new")
    with pytest.raises(Failed, match="cannot be written"):
        graph.write(tmp_path / "none" / "file", "new")
