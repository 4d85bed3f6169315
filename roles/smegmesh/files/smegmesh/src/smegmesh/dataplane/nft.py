"""The program nft: rulesets as text in, listings as text out."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from smegmesh.dataplane.plane import PlaneError

PROGRAM = "nft"
_TIMEOUT = 10.0


def nft(arguments: list[str], text: str = "", what: str = "") -> str:
    """Run it on a text; what it prints. PlaneError, about `what`, if it refuses."""
    done = run(arguments, text)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise PlaneError(f"nft refused {what or ' '.join(arguments)}: {said[0] if said else 'it said nothing'}")
    return done.stdout


def listed(arguments: list[str]) -> dict[str, Any]:
    """What it lists, as JSON (libnftables-json(5)). PlaneError if it refuses."""
    try:
        found: dict[str, Any] = json.loads(nft(["-j", *arguments]))
    except ValueError:
        raise PlaneError(f"nft {' '.join(arguments)}: the answer is no JSON") from None
    return found


def run(arguments: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run it, whatever its exit status. PlaneError if it is not there or does not answer."""
    try:
        return subprocess.run(
            [PROGRAM, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise PlaneError("nft is not installed: install the package nftables") from error
    except subprocess.TimeoutExpired as error:
        raise PlaneError(f"nft did not answer within {_TIMEOUT:g} s") from error
