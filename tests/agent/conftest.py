"""The agent's tests import the package from the role's files."""

import shutil
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "roles" / "smegmesh" / "files" / "smegmesh" / "src"
sys.path.insert(0, str(SOURCE))


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own checker."""
    found = shutil.which("promtool") or str(Path(__file__).parents[2] / ".cache" / "promtool")
    assert Path(found).exists(), "no promtool here: run scripts/promtool"
    return found
