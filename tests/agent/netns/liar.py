"""An agent that says of itself whatever a file tells it to, whether its certificate allows it or not.

Its arguments are smegd's, after the file: pickled attributes of its entry.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path

from smegmesh.crdt import statement
from smegmesh.crdt.entry import Entry
from smegmesh.daemon.__main__ import main
from smegmesh.daemon.mesh import Mesh

LIE = Path(sys.argv.pop(1))
_honest = Mesh._entry


def _lying(mesh: Mesh) -> Entry:
    lie = pickle.loads(LIE.read_bytes()) if LIE.exists() else {}
    return replace(_honest(mesh), **lie)


statement._check_grant = lambda *_arguments: None
Mesh._entry = _lying  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
