"""What commands about joining have in common: meshes and fingerprints as given, and questions to who compares.

Questions go to standard error, so that they are in no file into which the answer is written.
"""

from __future__ import annotations

import sys

from smegmesh.cli.errors import BadInput
from smegmesh.identity.address import check_mesh_id
from smegmesh.identity.errors import split_fix
from smegmesh.identity.joining import read_fingerprint


def says_yes(question: str, fix: str) -> bool:
    """Ask on the terminal; BadInput where there is none."""
    if not sys.stdin.isatty():
        raise BadInput("standard input", "is no terminal, so nobody can be asked to compare fingerprints", fix)
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def read_mesh(where: str, text: str) -> str:
    """A mesh id; BadInput."""
    try:
        return check_mesh_id(text)
    except ValueError as error:
        raise BadInput(where, *split_fix(error)) from None


def read_option(where: str, text: str) -> bytes:
    """A fingerprint; BadInput."""
    try:
        return read_fingerprint(text)
    except ValueError as error:
        raise BadInput(where, *split_fix(error)) from None
