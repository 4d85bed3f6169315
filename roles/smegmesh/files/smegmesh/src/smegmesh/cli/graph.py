"""`smegctl graph`: a picture by Graphviz, and files for either."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from smegmesh.cli.errors import Failed, writing

_PROGRAMS = ("sfdp", "dot")  # the former is made for large graphs


def draw(dot: str) -> str:
    """The picture of a graph, SVG, by the first program of Graphviz that is installed. Raises Failed."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise Failed("there is no Graphviz on this host", "install the package graphviz, or leave out --format svg")
    done = subprocess.run([program, "-Tsvg"], input=dot, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout:
        said = " ".join(done.stderr.split())[:200] or f"exit status {done.returncode}"
        raise Failed(f"{program} makes no picture: {said}", "leave out --format svg, and draw the text elsewhere")
    return done.stdout


def write(path: Path, text: str) -> None:
    """A file with this text, in the place of one that is there; whole, or as it was. Raises Failed, PermissionError."""
    with writing("name a file in a directory that is there and has room"):
        try:
            _write(path, text)
        except OSError as error:
            error.filename = str(path)
            raise


def _write(path: Path, text: str) -> None:
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")  # /dev/stdout and the like stay what they are
        return
    path = Path(os.path.realpath(path))
    mask = os.umask(0)
    os.umask(mask)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, 0o666 & ~mask)
            stream.write(text)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
