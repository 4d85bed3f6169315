# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dependency wheels for a kind of host, chosen by the controller for a Python that is not its own."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import subprocess
import sys


class WheelhouseError(Exception):
    """Wheels could not be had: what pip said, and what to do."""


@dataclasses.dataclass(frozen=True)
class Platform:
    """What decides which wheel fits: Python C(3.11), machine C(x86_64), libc C(glibc 2.36) or C(musl 1.2)."""

    python: str
    machine: str
    libc: str

    @property
    def key(self) -> str:
        """A name for a directory."""
        return f"cp{self.python}-{self.machine}-{self.libc.replace(' ', '-')}"

    @property
    def tags(self) -> list[str]:
        """Platform tags that fit, the newest first (PEP 600, PEP 656)."""
        kind, _space, version = self.libc.partition(" ")
        major, minor = (int(part) for part in version.split(".")[:2])
        if kind == "musl":
            return [f"musllinux_{major}_{step}_{self.machine}" for step in range(minor, -1, -1)]
        tags = [f"manylinux_{major}_{step}_{self.machine}" for step in range(minor, 4, -1)]
        return [*tags, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]

    @property
    def markers(self) -> dict[str, str]:
        """The environment of PEP 508 on such a host, as far as a lock file looks at it."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": self.python + ".0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


def requirements_for(lock: str, platform: Platform) -> str:
    """The lines of a hash-locked requirements file that count on such a host, without their markers.

    pip judges markers by the Python that runs it, which is the controller's.
    """
    from packaging.requirements import Requirement  # a dependency of ansible-core, which not every tool here has

    chosen = []
    for block in re.sub(r"\\\n\s*", " ", lock).splitlines():
        line = block.split("#", 1)[0].strip()
        if not line:
            continue
        requirement, *hashes = line.split(" --hash=")
        parsed = Requirement(requirement)
        if parsed.marker is None or parsed.marker.evaluate(platform.markers):
            pinned = [f"{parsed.name}{parsed.specifier}", *(f"--hash={item.strip()}" for item in hashes)]
            chosen.append(" ".join(pinned))
    return "\n".join(chosen) + "\n"


def download(requirements: pathlib.Path, platform: Platform, target: pathlib.Path, source: str | None) -> None:
    """Fetch the wheels of a requirements file into C(target), from the index or a directory C(source).

    Raises WheelhouseError with pip's own last words.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement", str(requirements)]
    command += ["--dest", str(target), "--implementation", "cp", "--python-version", platform.python]
    command += ["--abi", "cp" + platform.python.replace(".", ""), "--abi", "abi3", "--abi", "none"]
    for tag in platform.tags:
        command += ["--platform", tag]
    if source:
        command += ["--no-index", "--find-links", source]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WheelhouseError(
            f"no wheels for Python {platform.python} on {platform.machine} ({platform.libc}): "
            f"{(done.stderr or done.stdout).strip()[-800:]}\n"
            "On a controller without a package index, set smegmesh_wheelhouse to a directory with the wheels of "
            "roles/smegmesh/files/requirements.txt; or set smegmesh_install_method: index to let the hosts fetch them"
        )
