# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent's wheel, written from the role's own files (PEP 427, PEP 643).

The package is pure Python, so a wheel is its files and three of metadata in a zip.
Written here, it needs no build tool on the controller and no network, and the same
source always gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import pathlib
import re
import zipfile
from collections.abc import Iterator

NAME = "smegmesh"
# What the package is made of, by suffix; whatever else lies about in the tree stays out.
KINDS = (".py", ".json", ".typed", ".html", ".css", ".js", ".svg", ".txt")
# The zip format's own beginning of time, so that the wheel does not depend on when it is made.
EPOCH = (1980, 1, 1, 0, 0, 0)
TAGS = b"Wheel-Version: 1.0\nGenerator: smegmesh.wireguard\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def package_version(source: pathlib.Path) -> str:
    """The version in the package's pyproject.toml; ValueError if there is none."""
    found = re.search(r'^version = "([^"]+)"$', (source / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    if not found:
        raise ValueError(f"{source / 'pyproject.toml'} names no version: install the collection again")
    return found.group(1)


def package_files(source: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """The files that belong into the wheel, by their name in it, sorted."""
    root = source / "src"
    for path in sorted((root / NAME).rglob("*")):
        if path.suffix in KINDS and "__pycache__" not in path.parts:
            yield path.relative_to(root).as_posix(), path.read_bytes()


def write_wheel(source: pathlib.Path, version: str, directory: pathlib.Path) -> pathlib.Path:
    """Write the wheel of the package in C(source) as C(version) into C(directory); returns its path."""
    info = f"{NAME}-{version}.dist-info"
    files = list(package_files(source))
    files += [
        (f"{info}/METADATA", _metadata(source, version)),
        (f"{info}/WHEEL", TAGS),
        (f"{info}/entry_points.txt", _entry_points(source)),
    ]
    files.append((f"{info}/RECORD", _record(files, f"{info}/RECORD")))
    path = directory / f"{NAME}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as wheel:
        for name, content in files:
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            wheel.writestr(entry, content)
    return path


def _section(source: pathlib.Path, start: str, end: str) -> list[str]:
    """The lines of pyproject.toml between two, which the package's own tests keep in this form."""
    text = (source / "pyproject.toml").read_text("utf-8")
    found = re.search(rf"^{start}$\n(.*?)^{end}$", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for line in found.group(1).splitlines() if line.strip()] if found else []


def _metadata(source: pathlib.Path, version: str) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {NAME}", f"Version: {version}", "Requires-Python: >=3.10"]
    for line in _section(source, r"dependencies = \[", r"\]"):
        lines.append("Requires-Dist: " + line.strip('",'))
    return ("\n".join(lines) + "\n").encode()


def _entry_points(source: pathlib.Path) -> bytes:
    lines = ["[console_scripts]"]
    for line in _section(source, r"\[project\.scripts\]", r""):
        name, target = (part.strip().strip('"') for part in line.split("="))
        lines.append(f"{name} = {target}")
    return ("\n".join(lines) + "\n").encode()


def _record(files: list[tuple[str, bytes]], own_name: str) -> bytes:
    lines = []
    for name, content in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return ("\n".join([*lines, f"{own_name},,"]) + "\n").encode()
