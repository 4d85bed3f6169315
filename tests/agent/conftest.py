"""The agent's tests import the package from the role's files."""

import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "roles" / "smegmesh" / "files" / "smegmesh" / "src"
sys.path.insert(0, str(SOURCE))
