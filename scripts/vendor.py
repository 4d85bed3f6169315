"""Bring in the page's libraries from npm again, as roles/.../ui/vendor/packages.json pins them.

Each file is taken unchanged out of a package whose integrity is the one that is written down. To take another version,
change version and integrity (`npm view NAME@VERSION dist.integrity`), run this by `python scripts/vendor.py`, and
`make test-page`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

VENDOR = Path(__file__).parents[1] / "roles/smegmesh/files/smegmesh/src/smegmesh/control/ui/vendor"


def main() -> int:
    for package in json.loads((VENDOR / "packages.json").read_text()):
        fetch(**package)
    return 0


def fetch(name: str, version: str, integrity: str, files: dict[str, str]) -> None:
    """Write `files`, by their names within the package; SystemExit if it is not the package that is meant."""
    with TemporaryDirectory() as directory:
        subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=directory, check=True, capture_output=True)
        (tarball,) = Path(directory).iterdir()
        found = "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
        if found != integrity:
            sys.exit(f"vendor: {name} {version} is {found}, not {integrity}: find out why before you take it")
        with tarfile.open(tarball) as archive:
            for member, target in files.items():
                with archive.extractfile(f"package/{member}") as content:
                    (VENDOR / target).write_bytes(content.read())
    print(f"vendor: {name} {version}")


if __name__ == "__main__":
    sys.exit(main())
